package resource_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// Trap 15: what was released lay idle while the releaser kept the CPU. Here
// the pool learns that its releasers do so, and then the waiter has run before
// Release returns. One processor, so that the waiter cannot run beside the
// releaser.
func TestPuddleTrap15_HandOffWaitsForCPU(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	// Usually it has learned after four rounds. A machine that is busy elsewhere
	// makes pauses long, and then the pool gives them up for a while. By chance,
	// when the releaser is preempted, the waiter runs first far less often.
	const enough, limit = 20, 5000
	p := newPlain(t, 1, nil)
	ran := 0
	for round := 0; ran < enough && round < limit; round++ {
		l := p.must(context.Background())
		var served atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			next, err := p.Acquire(context.Background())
			served.Store(err == nil)
			next.Release()
		})
		for p.Stats().Waiting == 0 {
			runtime.Gosched()
		}
		compute(100 * time.Microsecond)
		l.Release()
		if served.Load() {
			ran++
		}
		compute(200 * time.Microsecond)
		wg.Wait()
	}
	if ran < enough {
		t.Errorf("in %d of %d rounds the waiter had run when Release returned", ran, limit)
	}
}

// compute keeps the processor for d.
func compute(d time.Duration) {
	for began := time.Now(); time.Since(began) < d; {
	}
}

// Trap 17: the maximum was fixed for the life of a pool.
func TestPuddleTrap17_FixedMaxSize(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		h.lend()
		c := h.acquire()
		h.wantNoMake()
		h.resize(2)
		h.wantMake().finish()
		c.wantLease()
	})
}

// Trap 18: the health check took everything idle at once, and whoever came
// meanwhile dialled or waited.
func TestPuddleTrap18_CheckTakesEverything(t *testing.T) {
	slow := func(h *harness) {
		h.cfg.SweepInterval = time.Second
		h.cfg.Health = checkFunc(func(ctx context.Context, it *item, i resource.Info) error {
			if ctx.Value(classKey{}) == nil { // in the sweep
				time.Sleep(500 * time.Millisecond)
			}
			return nil
		})
	}
	script(t, 5, slow, func(h *harness) {
		ctx := context.WithValue(context.Background(), classKey{}, "caller")
		cs := make([]*call, 5)
		for i := range cs {
			cs[i] = h.acquireCtx(ctx, resource.Request{})
		}
		for _, m := range h.wantMakes(5) {
			m.finish()
		}
		for _, c := range cs {
			c.wantLease().Release()
		}
		time.Sleep(1100 * time.Millisecond) // the sweep has begun
		h.wantLoad(resource.Load{Idle: 5})
		for range 4 {
			h.acquireCtx(ctx, resource.Request{}).wantLease()
		}
		h.wantNoMake()
	})
}

// Trap 19: the health check put what it had taken back in the wrong order, so
// that the one used last became the one used first, and back, at each sweep.
func TestPuddleTrap19_CheckReversesOrder(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.SweepInterval = time.Second
		h.cfg.Health = checkFunc(func(context.Context, *item, resource.Info) error { return nil })
	}
	script(t, 5, edit, func(h *harness) {
		its := h.stock(5)
		var seen []int
		for range 5 {
			time.Sleep(1500 * time.Millisecond)
			l := h.lend()
			seen = append(seen, l.Value().n)
			l.Release()
		}
		if want := slices.Repeat([]int{its[4].n}, 5); !slices.Equal(seen, want) {
			t.Errorf("lent %v, want %v", seen, want)
		}
	})
}

// Trap 20: a resource that was being made when Reset was called was lent
// afterwards.
func TestPuddleTrap20_MakeRacesReset(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		c := h.acquire()
		m := h.wantMake()
		m.hang()
		h.p.Reset(nil)
		old := m.finish()
		h.wantDestroyed(old, resource.ErrReset)
		it := h.wantMakeWithin(time.Second).finish()
		c.wantItem(it)
	})
}

// Trap 21: a resource that was being made when Close was called was counted as
// idle for ever.
func TestPuddleTrap21_MakeRacesClose(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		h.acquire()
		m := h.wantMake()
		m.hang()
		done := h.close(time.Hour)
		m.finish()
		if err := <-done; err != nil {
			t.Errorf("Close: %v", err)
		}
		h.wantLoad(resource.Load{})
	})
}

// Trap 22: Close did not wake those who waited, and without a bound waited
// itself for a lease that nobody ended.
func TestPuddleTrap22_CloseWakesNobody(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		h.lend()
		c := h.acquire()
		done := h.close(time.Second)
		c.wantErr(resource.ErrClosed)
		var ce *resource.CloseError
		if err := <-done; !errors.As(err, &ce) || ce.Load.Leased != 1 {
			t.Errorf("Close: %v, want a CloseError with 1 leased", err)
		}
	})
}

// Trap 23: the cost of Stat grew with the number of resources, under the lock
// that everyone needed.
func TestPuddleTrap23_StatCost(t *testing.T) {
	cost := func(n int) time.Duration {
		p := newPlain(t, n, nil)
		if err := p.Warm(context.Background(), n); err != nil {
			t.Fatalf("Warm: %v", err)
		}
		if got := p.Stats().Idle; got != n {
			t.Fatalf("%d idle, want %d", got, n)
		}
		best := time.Hour
		for range 50 {
			began := time.Now()
			for range 1000 {
				p.Stats()
			}
			best = min(best, time.Since(began))
		}
		return best
	}
	few, many := cost(10), cost(5000)
	if many > 5*few {
		t.Errorf("1000 Stats cost %v with 10 resources and %v with 5000", few, many)
	}
}

// Trap 24: nobody could see how many waited, nor for how long.
func TestPuddleTrap24_WaitersUncounted(t *testing.T) {
	var events []resource.WaitEvent
	edit := func(h *harness) {
		h.cfg.Trace = &resource.Trace{Waited: func(_ context.Context, e resource.WaitEvent) { events = append(events, e) }}
	}
	script(t, 1, edit, func(h *harness) {
		l := h.lend()
		events = nil
		before := h.p.Stats()
		c := h.acquire()
		h.wantLoad(resource.Load{Leased: 1, Waiting: 1})
		time.Sleep(time.Second)
		l.Release()
		c.wantLease()
		s := h.p.Stats()
		if n, d := s.Waited-before.Waited, s.WaitTime-before.WaitTime; n != 1 || d != time.Second {
			t.Errorf("%d waited for %v, want 1 for 1s", n, d)
		}
		if len(events) != 1 || events[0].Waited != time.Second {
			t.Errorf("the events are %v, want one of 1s", events)
		}
	})
}

// Trap 25: the line of waiters had no bound and no order but its own.
func TestPuddleTrap25_NoPriority(t *testing.T) {
	urgent := &listQueue{less: func(a, b *resource.Waiter) bool { return a.Request.Priority > b.Request.Priority }}
	script(t, 1, func(h *harness) { h.cfg.Queue = urgent }, func(h *harness) {
		l := h.lend()
		low := h.acquireWith(resource.Request{Priority: 1})
		high := h.acquireWith(resource.Request{Priority: 2})
		l.Release()
		high.wantLease().Release()
		low.wantLease()
		h.acquireWith(resource.Request{NoWait: true}).wantErr(resource.ErrNoneIdle)
	})
}

// Trap 26: a dial in the background ran with the context of the caller that
// had set it off, and died with it.
func TestPuddleTrap26_CallerContextKillsMake(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		ctx := context.WithValue(context.Background(), classKey{}, "mine")
		c := h.acquireCtx(ctx, resource.Request{})
		m := h.wantMake()
		c.cancel()
		c.wantErr(context.Canceled)
		if m.ctx.Err() != nil {
			t.Error("the make's context ended with the caller's")
		}
		if m.ctx.Value(classKey{}) != "mine" {
			t.Error("the make's context does not have the caller's values")
		}
		it := m.finish()
		h.acquire().wantItem(it)
	})
}

// Trap 27: only the top of the stack could be reached; no single idle
// resource could be ended.
func TestPuddleTrap27_OnlyTheTop(t *testing.T) {
	var old atomic.Uint64
	edit := func(h *harness) {
		h.cfg.SweepInterval = time.Second
		h.cfg.Eviction = evictFunc(func(i resource.Info) error {
			if i.ID == old.Load() {
				return errors.New("chosen")
			}
			return nil
		})
	}
	script(t, 5, edit, func(h *harness) {
		ls, its := h.lendN(5)
		chosen := ls[2].Info().ID
		for _, l := range ls {
			l.Release()
		}
		h.settle()
		died := errors.New("died")
		its[1].invalidate(died)
		h.wantLoad(resource.Load{Idle: 4})
		h.wantDestroyed(its[1], died)
		old.Store(chosen)
		time.Sleep(1500 * time.Millisecond)
		h.wantGone(its[2])
		h.wantAlive(its[0], its[3], its[4])
		h.wantLoad(resource.Load{Idle: 3})
	})
}
