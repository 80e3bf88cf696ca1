package resource_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// warm begins a Warm.
func (h *harness) warm(ctx context.Context, n int) <-chan error {
	done := make(chan error, 1)
	go func() { done <- h.p.Warm(ctx, n) }()
	h.settle()
	return done
}

// wantPending checks that nothing came from done yet.
func (h *harness) wantPending(done <-chan error) {
	h.t.Helper()
	h.settle()
	select {
	case err := <-done:
		h.t.Fatalf("has returned: %v", err)
	default:
	}
}

// wantDone checks that what came from done matches target.
func (h *harness) wantDone(done <-chan error, target error) {
	h.t.Helper()
	h.settle()
	select {
	case err := <-done:
		if !errors.Is(err, target) {
			h.t.Fatalf("returned %v, want %v", err, target)
		}
	default:
		h.t.Fatalf("has not returned: %v", h.p.Stats().Load)
	}
}

func TestWarm(t *testing.T) {
	script(t, 5, nil, func(h *harness) {
		done := h.warm(context.Background(), 3)
		ms := h.wantMakes(3)
		ms[0].finish()
		ms[1].finish()
		h.wantPending(done)
		ms[2].finish()
		h.wantDone(done, nil)
		h.wantLoad(resource.Load{Idle: 3})

		// Existing resources count, leased or not.
		h.lend()
		h.wantDone(h.warm(context.Background(), 3), nil)
		h.wantNoMake()
		h.wantDone(h.warm(context.Background(), 0), nil)

		// No more than there is room for.
		done = h.warm(context.Background(), 100)
		for _, m := range h.wantMakes(2) {
			m.finish()
		}
		h.wantDone(done, nil)
		h.wantLoad(resource.Load{Idle: 4, Leased: 1})
	})
}

func TestWarm_Fails(t *testing.T) {
	boom := errors.New("boom")
	script(t, 5, nil, func(h *harness) {
		done := h.warm(context.Background(), 2)
		ms := h.wantMakes(2)
		ms[0].fail(boom)
		h.wantPending(done)
		h.wantNoMake() // after a failure fewer run at once
		ms[1].finish()
		h.wantPending(done)
		h.wantMake().finish()
		h.wantDone(done, nil)
		h.wantLoad(resource.Load{Idle: 2})
	})
}

// When its context ends Warm says how many there are, and why not more.
func TestWarm_FailsOn(t *testing.T) {
	boom := errors.New("boom")
	script(t, 5, nil, func(h *harness) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		done := h.warm(ctx, 3)
		h.wantMakes(3)[0].finish()
		h.answer(func(m *makeCall) { m.fail(boom) })
		for _, m := range h.makes[1:3] {
			m.fail(boom)
		}
		time.Sleep(time.Minute)
		h.settle()
		err := <-done
		var e *resource.WarmError
		if !errors.As(err, &e) || !errors.Is(err, boom) || !errors.Is(err, context.DeadlineExceeded) || e.Have != 1 || e.Want != 3 {
			t.Errorf("Warm: %+v", err)
		}
		// The first three, and 54 probes if each delay is the shortest that internal/outage draws.
		if n := h.begun(); n < 10 || n > 57 {
			t.Errorf("%d makes in a minute", n)
		}
	})
}

func TestWarm_Context(t *testing.T) {
	script(t, 5, nil, func(h *harness) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		done := h.warm(ctx, 2)
		ms := h.wantMakes(2)
		time.Sleep(time.Second)
		h.wantDone(done, context.DeadlineExceeded)
		for _, m := range ms {
			m.finish() // goes on
		}
		h.wantLoad(resource.Load{Idle: 2})
	})
}

func TestWarm_Closed(t *testing.T) {
	script(t, 5, nil, func(h *harness) {
		done := h.warm(context.Background(), 2)
		h.wantMakes(2)
		h.close(time.Minute)
		h.wantDone(done, resource.ErrClosed)
		h.wantDone(h.warm(context.Background(), 2), resource.ErrClosed)
	})
}

// What Warm makes serves the waiters.
func TestWarm_ServesWaiters(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		done := h.warm(context.Background(), 2)
		c := h.acquire()
		ms := h.wantMakes(2)
		it := ms[0].finish()
		c.wantItem(it)
		ms[1].finish()
		h.wantDone(done, nil)
	})
}

// MinIdle are made from New on, and again when one is gone.
func TestMinIdle(t *testing.T) {
	script(t, 5, func(h *harness) { h.cfg.MinIdle = 2 }, func(h *harness) {
		its := make([]*item, 2)
		for i, m := range h.wantMakes(2) {
			its[i] = m.finish()
		}
		h.wantLoad(resource.Load{Idle: 2})
		its[0].invalidate(nil)
		h.wantDestroyed(its[0], resource.ErrInvalidated)
		h.wantMakeWithin(time.Second).finish()
		h.wantLoad(resource.Load{Idle: 2})
		h.p.Reset(nil)
		h.settle()
		for range 2 {
			h.wantAnyMake(time.Second).finish()
		}
		h.wantLoad(resource.Load{Idle: 2})
	})
}

// wantAnyMake is wantMakeWithin where more than one may have begun.
func (h *harness) wantAnyMake(d time.Duration) *makeCall {
	h.t.Helper()
	for end := time.Now().Add(d); h.begun() == h.claimed; time.Sleep(time.Millisecond) {
		if !time.Now().Before(end) {
			h.t.Fatalf("no make has begun within %v", d)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.claimed++
	return h.makes[h.claimed-1]
}

// The sweep sees to MinIdle too: what is leased is not idle.
func TestMinIdle_Sweep(t *testing.T) {
	edit := func(h *harness) { h.cfg.MinIdle, h.cfg.SweepInterval = 2, time.Second }
	script(t, 5, edit, func(h *harness) {
		for _, m := range h.wantMakes(2) {
			m.finish()
		}
		c1, c2 := h.acquire(), h.acquire()
		c1.wantLease()
		c2.wantLease()
		for range 2 {
			h.wantAnyMake(2 * time.Second).finish()
		}
		h.wantLoad(resource.Load{Idle: 2, Leased: 2})
		time.Sleep(5 * time.Second)
		h.wantNoMake()
	})
}

// The maximum goes before MinIdle.
func TestMinIdle_AtMax(t *testing.T) {
	edit := func(h *harness) { h.cfg.MinIdle, h.cfg.SweepInterval = 2, time.Second }
	script(t, 2, edit, func(h *harness) {
		for _, m := range h.wantMakes(2) {
			m.finish()
		}
		l := h.acquire().wantLease()
		time.Sleep(5 * time.Second)
		h.wantNoMake()
		h.wantLoad(resource.Load{Idle: 1, Leased: 1})
		l.Discard(nil)
		h.wantMakeWithin(time.Second).finish()
		h.wantLoad(resource.Load{Idle: 2})
	})
}

// A failing factory is not asked for MinIdle without a pause.
func TestMinIdle_Outage(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.MinIdle, h.cfg.SweepInterval = 2, time.Second
		h.auto = func(m *makeCall) { m.fail(errDown) }
	}
	script(t, 2, edit, func(h *harness) {
		time.Sleep(10 * time.Second)
		if n := h.begun(); n < 2 || n > 40 {
			t.Errorf("%d makes in 10 seconds of outage, want 2 to 40", n)
		}
		h.answer(func(m *makeCall) { m.finish() })
		time.Sleep(5 * time.Minute)
		h.wantLoad(resource.Load{Idle: 2})
	})
}

// Warm makes at most 50 at once, as every other burst.
func TestWarm_IsBounded(t *testing.T) {
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finishAfter(100 * time.Millisecond) }
	}
	script(t, 1000, edit, func(h *harness) {
		done := h.warm(context.Background(), 500)
		most := 0
		for len(done) == 0 {
			most = max(most, h.running())
			time.Sleep(10 * time.Millisecond)
		}
		h.wantDone(done, nil)
		if most != 50 {
			t.Errorf("%d makes at once, want 50", most)
		}
		h.wantLoad(resource.Load{Idle: 500})
	})
}

// Warm does not wait for what the pool had room for when it was called and has
// none for now.
func TestWarm_Shrink(t *testing.T) {
	var hang chan struct{}
	edit := func(h *harness) {
		hang = make(chan struct{})
		h.auto = func(m *makeCall) { m.finish() }
		h.onDestroy = func(*item, error) { <-hang }
	}
	script(t, 2, edit, func(h *harness) {
		h.wantDone(h.warm(context.Background(), 2), nil)
		h.lend().Discard(nil)
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		done := h.warm(ctx, 2)
		h.wantPending(done) // the one being destroyed has the slot
		h.resize(1)
		close(hang)
		h.wantDone(done, nil)
	})
}

// Without a waiter, a gate that refuses was asked for MinIdle over and over.
func TestMinIdle_UnderARefusingGate(t *testing.T) {
	var asked atomic.Int64
	edit := func(h *harness) {
		h.cfg.MinIdle = 100
		h.cfg.MakeGate = admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
			asked.Add(1)
			return nil, errors.New("no")
		})
	}
	script(t, 100, edit, func(h *harness) {
		time.Sleep(10 * time.Second)
		h.settle()
		if n := asked.Load(); n < 1 || n > 1000 {
			t.Errorf("the gate was asked %d times in 10s", n)
		}
	})
}

// one calls MakeOne in the background.
func (h *harness) one(ctx context.Context) <-chan error {
	done := make(chan error, 1)
	go func() { done <- h.p.MakeOne(ctx) }()
	return done
}

func TestMakeOne(t *testing.T) {
	script(t, 3, nil, func(h *harness) {
		done := h.one(context.Background())
		h.wantMake().finish()
		h.wantDone(done, nil)
		h.wantLoad(resource.Load{Idle: 1})

		done = h.one(context.Background()) // whatever is idle
		h.wantMake().fail(errDown)
		h.wantDone(done, errDown)

		ctx, cancel := context.WithCancel(context.Background())
		done = h.one(ctx)
		m := h.wantMake()
		cancel()
		h.wantDone(done, context.Canceled)
		m.finish() // goes on
		h.wantLoad(resource.Load{Idle: 2})
		h.wantDone(h.one(ctx), context.Canceled)
		h.wantNoMake()

		a, b := h.acquire(), h.acquire()
		c := h.acquire()
		a.wantLease()
		b.wantLease()
		m = h.wantMake()
		h.wantDone(h.one(context.Background()), resource.ErrFull)
		c.wantItem(m.finish())
	})
}

// What MakeOne makes serves a waiter, also while makes for waiters fail.
func TestMakeOne_ServesAWaiter(t *testing.T) {
	script(t, 3, func(h *harness) { h.cfg.Outage = resource.KeepWaiting }, func(h *harness) {
		c := h.acquire()
		for range 3 {
			h.wantMakeWithin(time.Second).fail(errDown)
		}
		h.wantNoMake()
		done := h.one(context.Background())
		c.wantItem(h.wantMake().finish())
		h.wantDone(done, nil)
	})
}

func TestMakeOne_RefusedAndClosed(t *testing.T) {
	refused := errors.New("not now")
	edit := func(h *harness) {
		h.cfg.MakeGate = refusing(refused)
	}
	script(t, 3, edit, func(h *harness) {
		done := h.one(context.Background())
		h.settle()
		if err := <-done; !errors.Is(err, refused) || !errors.Is(err, resource.ErrRejected) {
			t.Errorf("%v", err)
		}
		h.close(time.Minute)
		h.wantDone(h.one(context.Background()), resource.ErrClosed)
	})
}

// Creations that wait at a MakeGate or Quota are withdrawn when the caller of MakeOne, or of Warm, has
// given up: they would accumulate, each with a slot.
func TestMakeOne_GivesUpAtAGate(t *testing.T) {
	waits := admitFunc(func(ctx context.Context, _ resource.Request) (resource.Done, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	for _, call := range []func(h *harness, ctx context.Context) <-chan error{
		func(h *harness, ctx context.Context) <-chan error { return h.one(ctx) },
		func(h *harness, ctx context.Context) <-chan error { return h.warm(ctx, 2) },
	} {
		for _, edit := range []func(h *harness){
			func(h *harness) { h.cfg.MakeGate = waits },
			func(h *harness) { h.cfg.Quota = waits },
		} {
			script(t, 5, edit, func(h *harness) {
				for range 3 {
					ctx, cancel := context.WithCancel(context.Background())
					done := call(h, ctx)
					h.settle()
					cancel()
					h.wantDone(done, context.Canceled)
				}
				time.Sleep(2 * time.Second) // Warm: the pool looks once a second
				h.wantLoad(resource.Load{})
				if s := h.p.Stats(); s.Withdrawn == 0 {
					h.t.Errorf("%+v", s)
				}
			})
		}
	}
}

// In a Keyed MakeOne takes no slot of the total from another key.
func TestMakeOne_Keyed(t *testing.T) {
	keyed(t, 2, 5, func(h *keyedHarness) { h.makeTime = time.Millisecond }, func(h *keyedHarness) {
		if err := h.pool("a").MakeOne(h.t.Context()); err != nil {
			t.Error(err)
		}
		h.acquire("b").Release()
		if err := h.pool("c").MakeOne(h.t.Context()); !errors.Is(err, resource.ErrFull) {
			t.Errorf("with the total used up: %v, want ErrFull", err)
		}
		h.wantPreempted()
	})
}
