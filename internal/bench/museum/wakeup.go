package museum

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

// What one of a pair is doing.
const (
	between int32 = iota // two rounds
	waits
	holds
)

// A pair is two goroutines on one item. In each round both of them get it once, so
// that nobody comes by to repair what the other one missed.
type pair struct {
	does    [2]atomic.Int32
	arrived atomic.Int64 // at the end of a round, both counted
	over    atomic.Bool
	failed  atomic.Bool
}

// lostWakeup has an observer look every millisecond. One that holds the item and
// was stopped by the system is not waiting, and while the whole process is
// stopped nobody looks.
func lostWakeup(_ context.Context, k peer.Kind) (Finding, error) {
	s, err := open(k, &works{}, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	var p pair
	var all sync.WaitGroup
	for i := range p.does {
		all.Go(func() { p.loop(s, i) })
	}
	longest, often := p.observe(800 * time.Millisecond)
	p.over.Store(true)
	if do(all.Wait) != nil {
		return fails("one waits for ever")
	}
	if p.failed.Load() {
		return fails("Acquire fails")
	}
	return judge(often == 0, "%d in %d, longest %d ms", often, p.arrived.Load()/2, longest)
}

// loop does rounds until they are over, which both find at the end of the same one.
func (p *pair) loop(s stage, me int) {
	for round := int64(1); ; round++ {
		p.does[me].Store(waits)
		l, err := s.Acquire(context.Background())
		if err != nil {
			p.failed.Store(true)
			p.over.Store(true)
		} else {
			p.does[me].Store(holds)
			if round%4 == 0 {
				runtime.Gosched() // so that the other comes to wait
			}
			l.Release()
		}
		p.does[me].Store(between)
		p.arrived.Add(1)
		for spins := 0; p.arrived.Load() < 2*round; spins++ {
			if spins > 100 {
				time.Sleep(100 * time.Microsecond) // the observer wants to run as well
			}
			if p.over.Load() && p.does[1-me].Load() == between {
				return
			}
			runtime.Gosched()
		}
		if p.over.Load() {
			return
		}
	}
}

// observe returns for how many looks at most somebody waited, nobody held it and no
// round ended, and how often that was for 20.
func (p *pair) observe(d time.Duration) (longest, often int) {
	t := time.NewTicker(time.Millisecond)
	defer t.Stop()
	stuck, before := 0, int64(0)
	for end := time.Now().Add(d); time.Now().Before(end) && !p.over.Load(); {
		<-t.C
		arrived, a, b := p.arrived.Load(), p.does[0].Load(), p.does[1].Load()
		if arrived == before && a != holds && b != holds && (a == waits || b == waits) {
			stuck++
		} else {
			stuck = 0
		}
		before = arrived
		longest = max(longest, stuck)
		if stuck == 20 {
			often++
		}
	}
	return longest, often
}
