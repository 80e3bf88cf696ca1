package museum

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

func waiting() []Exhibit {
	return []Exhibit{
		{Name: "ended-context", Run: endedContext,
			What: "A caller whose context had ended before it asked gets nothing, although something is idle."},
		{Name: "expired-waiter", Issues: []string{"vitess#20310", "vitess#20308"}, Run: expiredWaiter,
			What: "A waiter whose context had ended before a release does not get what is released."},
		{Name: "leaving-waiter", Issues: []string{"reactor-pool#124"}, Run: leavingWaiter,
			What: "Nothing is lost when a waiter leaves just as something is released."},
		{Name: "late-timeout", Issues: []string{"vitess#16896", "vitess#16897"}, Run: tries(3, lateTimeout),
			What: "Fifty waiters whose contexts end together are told within 100 ms."},
		{Name: "lost-wakeup", Issues: []string{"vitess#17662", "vitess#17675", "vitess#18713", "vitess#20081"}, Run: most(3, lostWakeup), alone: true,
			What: "Two goroutines on one item: nobody waits for 20 ms while nobody holds it."},
	}
}

func endedContext(_ context.Context, k peer.Kind) (Finding, error) {
	const rounds = 100
	s, err := open(k, &works{}, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	l, err := s.take() // so that it is made
	if err != nil {
		return broken("Acquire", err)
	}
	l.Release()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	served := 0
	for range rounds {
		l, err := call(soon, func() (peer.Lease, error) { return s.Acquire(ended) })
		if err == nil {
			served++
			l.Release()
		}
	}
	if served > 0 {
		return fails("served %d of %d times", served, rounds)
	}
	return passes()
}

// expiredWaiter runs on one processor: the waiter cannot have left before the
// release, and it is the releaser that finds it there.
func expiredWaiter(_ context.Context, k peer.Kind) (Finding, error) {
	const rounds = 100
	s, err := open(k, &works{}, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	runtime.GOMAXPROCS(1)
	served := 0
	for i := range rounds {
		l, err := s.take()
		if err != nil {
			return fails("lost after %d rounds", i)
		}
		ctx, cancel := context.WithCancel(context.Background())
		got := s.ask(ctx)
		time.Sleep(time.Millisecond)
		cancel()
		l.Release()
		switch g := await(got, soon); g.err {
		case nil:
			served++
			g.lease.Release()
		case errLate:
			return fails("not told in round %d", i)
		}
	}
	if served > 0 {
		return fails("served %d of %d times", served, rounds)
	}
	return passes()
}

func leavingWaiter(_ context.Context, k peer.Kind) (Finding, error) {
	const rounds = 300
	s, err := open(k, &works{}, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	for i := range rounds {
		l, err := s.take()
		if err != nil {
			return fails("lost after %d rounds", i)
		}
		ctx, cancel := context.WithCancel(context.Background())
		got := s.ask(ctx)
		time.Sleep(time.Duration(i%10) * 50 * time.Microsecond)
		var both sync.WaitGroup
		both.Go(cancel)
		both.Go(l.Release)
		both.Wait()
		switch g := await(got, soon); g.err {
		case nil:
			g.lease.Release()
		case errLate:
			return fails("not told in round %d", i)
		}
	}
	return passes()
}

func lateTimeout(_ context.Context, k peer.Kind) (Finding, error) {
	const callers = 50
	s, err := open(k, &works{}, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	if _, err := s.take(); err != nil {
		return broken("Acquire", err)
	}
	end := time.Now().Add(50 * time.Millisecond)
	ctx, cancel := context.WithDeadline(context.Background(), end)
	defer cancel()
	var asked []<-chan grant
	for range callers {
		asked = append(asked, s.ask(ctx))
	}
	var last time.Duration
	for i, got := range asked {
		g := await(got, soon)
		if g.err == nil {
			return fails("two holders")
		}
		if g.err == errLate {
			return fails("%d of %d not told", callers-i, callers)
		}
		last = max(last, g.at.Sub(end))
	}
	return judge(last < 100*time.Millisecond, "%s late", ms(last))
}
