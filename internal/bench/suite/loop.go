package suite

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/respool/respool/internal/bench/peer"
)

// shared has g goroutines do l, n times in all. If own, each has a context of
// its own that can be cancelled, as the callers of a server have; else all have
// the same, and meet at its Done channel when they wait, whatever the pool.
func shared(g int, own bool, l peer.Loop) peer.Loop {
	if g == 1 {
		return l
	}
	return func(ctx context.Context, n int) error {
		errs := make([]error, g)
		var wg sync.WaitGroup
		for i := range g {
			part := n / g
			if i < n%g {
				part++
			}
			wg.Go(func() {
				ctx := ctx
				if own {
					var cancel context.CancelFunc
					ctx, cancel = context.WithCancel(ctx)
					defer cancel()
				}
				errs[i] = l(ctx, part)
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	}
}

// A crew is who does the loops of one row, and on how many resources.
type crew struct {
	name       string
	goroutines int
	resources  int
	yield      bool // runtime.Gosched while holding
	own        bool // each goroutine has a context of its own
}

func crews() []crew {
	return []crew{
		{name: "alone", goroutines: 1, resources: 1},
		{name: "per-core", goroutines: runtime.GOMAXPROCS(0), resources: 64, own: true},
		{name: "64-on-4", goroutines: 64, resources: 4, yield: true},
		{name: "64-on-4-own-ctx", goroutines: 64, resources: 4, yield: true, own: true},
	}
}

// loop is what the crew does on l.
func (c crew) loop(l peer.Loops) peer.Loop {
	body := l.Plain
	if c.yield {
		body = l.Yield
	}
	return shared(c.goroutines, c.own, body)
}
