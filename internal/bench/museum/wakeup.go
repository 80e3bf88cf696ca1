package museum

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

// A pair is two goroutines on one item.
type pair struct {
	waiting atomic.Int64 // how many are in Acquire
	rounds  atomic.Int64 // that have ended
	failed  atomic.Bool
}

// lostWakeup has an observer look every millisecond whether both goroutines wait.
// One that holds the item and was stopped by the system is not waiting, and while
// the whole process is stopped nobody looks.
func lostWakeup(_ context.Context, k peer.Kind) (Finding, error) {
	s, err := open(k, &works{}, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	var p pair
	end := time.Now().Add(800 * time.Millisecond)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() { p.loop(s, end) })
	}
	over := make(chan struct{})
	go func() { all.Wait(); close(over) }()
	longest, often := p.observe(over, end.Add(soon))
	select {
	case <-over:
	default:
		return fails("both wait for ever")
	}
	if p.failed.Load() {
		return fails("Acquire fails")
	}
	return judge(often == 0, "%d in %d, longest %d ms", often, p.rounds.Load(), longest)
}

func (p *pair) loop(s stage, end time.Time) {
	for i := 0; time.Now().Before(end); i++ {
		p.waiting.Add(1)
		l, err := s.Acquire(context.Background())
		p.waiting.Add(-1)
		if err != nil {
			p.failed.Store(true)
			return
		}
		if i%4 == 0 {
			runtime.Gosched() // so that the other comes to wait
		}
		l.Release()
		p.rounds.Add(1)
	}
}

// observe returns for how many looks at most both waited with no round between,
// and how often that was for 20 or more.
func (p *pair) observe(over <-chan struct{}, limit time.Time) (longest, often int) {
	t := time.NewTicker(time.Millisecond)
	defer t.Stop()
	stuck, before := 0, int64(0)
	for time.Now().Before(limit) {
		select {
		case <-t.C:
		case <-over:
			return longest, often
		}
		rounds := p.rounds.Load()
		if p.waiting.Load() == 2 && rounds == before {
			stuck++
		} else {
			stuck = 0
		}
		before = rounds
		longest = max(longest, stuck)
		if stuck == 20 {
			often++
		}
	}
	return longest, often
}
