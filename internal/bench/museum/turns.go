package museum

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

func turns() []Exhibit {
	return []Exhibit{
		{Name: "starvation", Issues: []string{"sqlalchemy#7679"}, Run: starvation,
			What: "Fifty goroutines on two items: who has fewest leases has a quarter of the most, or more."},
		{Name: "random-order", Issues: []string{"golang/go#31708", "golang/go#50358"}, Run: tries(3, randomOrder),
			What: "Who came first is served first."},
		{Name: "slow-handoff", Issues: []string{"puddle#46"}, Run: slowHandoff, alone: true,
			What: "Who waits gets what is released before the releaser, who keeps the CPU, has used up its 10 ms of it."},
	}
}

func starvation(_ context.Context, k peer.Kind) (Finding, error) {
	const callers, most = 50, 2
	s, err := open(k, &works{}, most, nil)
	if err != nil {
		return Finding{}, err
	}
	counts := make([]int64, callers)
	ctx, cancel := context.WithTimeout(context.Background(), 600*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for ctx.Err() == nil {
				l, err := s.Acquire(ctx)
				if err != nil {
					return
				}
				time.Sleep(200 * time.Microsecond)
				l.Release()
				counts[i]++
			}
		})
	}
	if err := do(all.Wait); err != nil {
		return broken("Acquire", err)
	}
	fewest, top := slices.Min(counts), slices.Max(counts)
	return judge(top > 0 && fewest*4 >= top, "%d to %d", fewest, top)
}

func randomOrder(_ context.Context, k peer.Kind) (Finding, error) {
	const callers = 16
	s, err := open(k, &works{}, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	l, err := s.take()
	if err != nil {
		return broken("Acquire", err)
	}
	served := make(chan int, callers)
	for i := range callers {
		go func() {
			l, err := s.Acquire(context.Background())
			if err != nil {
				served <- -1
				return
			}
			served <- i
			l.Release()
		}()
		time.Sleep(settle)
	}
	l.Release()
	overtakes, first := 0, 0
	for i := range callers {
		select {
		case n := <-served:
			if i == 0 {
				first = n
			}
			if n != i {
				overtakes++
			}
		case <-time.After(soon):
			return fails("only %d of %d served", i, callers)
		}
	}
	if overtakes > 0 {
		return fails("%d of %d out of turn, number %d first", overtakes, callers, first+1)
	}
	return passes()
}

// slowHandoff runs on one processor, which the releaser keeps. It says nothing of an
// acquire that the server has to answer, as its goroutine must run for that.
func slowHandoff(_ context.Context, k peer.Kind) (Finding, error) {
	if k.Trip {
		return Finding{}, errors.ErrUnsupported
	}
	s, err := open(k, &works{}, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	runtime.GOMAXPROCS(1)
	var waits []time.Duration
	for range 9 {
		l, err := s.take()
		if err != nil {
			return broken("Acquire", err)
		}
		var at atomic.Int64
		done := make(chan error, 1)
		go func() {
			l, err := s.Acquire(context.Background())
			at.Store(time.Now().UnixNano())
			if err == nil {
				l.Release()
			}
			done <- err
		}()
		time.Sleep(2 * time.Millisecond)
		began := time.Now()
		l.Release()
		for time.Since(began) < 30*time.Millisecond {
		}
		if err := <-done; err != nil {
			return Finding{}, err
		}
		waits = append(waits, time.Duration(at.Load()-began.UnixNano()))
	}
	slices.Sort(waits)
	usual := waits[len(waits)/2]
	return judge(usual < 5*time.Millisecond, "%.1f ms", float64(usual.Microseconds())/1000)
}
