package resource_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// What puddle v2 leaves to those who use it, numbered as in the project's own
// study of it; each test's first sentence is the trap. Trap 16, what a
// blocked acquire allocates, is beside I10.

// Trap 1: a handle kept after its release was the next holder's too, and a
// second Release gave their resource to a third.
func TestPuddleTrap01_StaleHandle(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		r1 := h.lend()
		it := r1.Value()
		r1.Release()
		r2 := h.acquire().wantItem(it)
		r1.Release()
		third := h.acquire()
		h.wantWaiting(third)
		r2.Release()
		third.wantItem(it)
	})
}

// Trap 2: after Destroy the handle still gave its value, and a Release put
// the closed resource back.
func TestPuddleTrap02_UseAfterDestroy(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		it := l.Value()
		l.Discard(nil)
		wantValuePanic(t, l)
		l.Release()
		h.wantDestroyed(it, resource.ErrDiscarded)
		h.wantLoad(resource.Load{})
		if next := h.lend(); next.Value() == it {
			t.Error("a destroyed item was lent")
		}
	})
}

// Trap 3: destroying twice killed the process, from a goroutine that nobody
// could guard.
func TestPuddleTrap03_DoubleDestroy(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		l.Discard(nil)
		l.Discard(errors.New("again"))
		h.settle()
		l.Discard(nil)
		h.wantLoad(resource.Load{})
		if n := h.p.Stats().Destroyed; n != 1 {
			t.Errorf("%d destroyed, want 1", n)
		}
	})
}

// Trap 4: releasing twice after Close panicked in the caller.
func TestPuddleTrap04_DoubleReleaseAfterClose(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		done := h.close(time.Hour)
		l.Release()
		l.Release()
		if err := <-done; err != nil {
			t.Errorf("Close: %v", err)
		}
		l.Release()
		l.Discard(nil)
	})
}

// Trap 5: the state of a handle was read without synchronisation, so that
// concurrent releases raced. The race detector watches this one.
func TestPuddleTrap05_ConcurrentDoubleRelease(t *testing.T) {
	p := newPlain(t, 2, nil)
	for range 500 {
		l := p.must(context.Background())
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(l.Release)
			wg.Go(func() { caught(func() { l.Value() }); l.Info() })
		}
		wg.Wait()
	}
	if s := p.Stats(); s.Released != 500 || s.Idle != 1 {
		t.Errorf("%d released, %v; want 500 and 1 idle", s.Released, s.Load)
	}
}

// Trap 6: a panic in the constructor killed the process.
func TestPuddleTrap06_ConstructorPanic(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		c := h.acquire()
		h.wantMake().panic("boom")
		var pe *resource.PanicError
		if e := c.wantFailed(); !errors.As(e, &pe) {
			t.Errorf("%v has no PanicError", e)
		}
		h.wantLoad(resource.Load{})
	})
}

// Trap 7: runtime.Goexit in the constructor, as t.FailNow calls it, hung the
// acquire and lost its place for ever.
func TestPuddleTrap07_ConstructorGoexit(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		c := h.acquire()
		h.wantMake().goexit()
		c.wantErr(resource.ErrGoexit)
		h.wantLoad(resource.Load{})
		time.Sleep(time.Minute)
		c = h.acquire()
		h.wantMakeWithin(time.Minute).finish()
		c.wantLease()
	})
}

// Trap 8: a panic in the destructor killed the process.
func TestPuddleTrap08_DestructorPanic(t *testing.T) {
	boom := errors.New("boom")
	edit := func(h *harness) { h.onDestroy = func(*item, error) { panic(boom) } }
	script(t, 1, edit, func(h *harness) {
		h.lend().Discard(nil)
		h.wantLoad(resource.Load{})
		h.stock(1)
		h.p.Reset(nil)
		h.wantLoad(resource.Load{})
		if s := h.p.Stats(); s.Panics != 2 || s.Destroyed != 2 {
			t.Errorf("%d panics, %d destroyed, want 2 and 2", s.Panics, s.Destroyed)
		}
	})
}

// slowDestroy makes each Destroy take a second.
func slowDestroy(h *harness) {
	h.onDestroy = func(*item, error) { time.Sleep(time.Second) }
}

// Trap 9: the place of a resource was held while its destructor ran, and
// shown as acquired. It is held here too, because more than the maximum must
// never exist (I1); but it is shown as what it is, and who discards does not
// wait for it.
func TestPuddleTrap09_PlaceHeldWhileDestroying(t *testing.T) {
	script(t, 1, slowDestroy, func(h *harness) {
		l := h.lend()
		began := time.Now()
		l.Discard(nil)
		if took := time.Since(began); took != 0 {
			t.Errorf("Discard took %v", took)
		}
		h.wantLoad(resource.Load{Destroying: 1})
		c := h.acquire()
		h.wantNoMake()
		h.wantLoad(resource.Load{Destroying: 1, Waiting: 1})
		time.Sleep(time.Second)
		h.wantMake().finish()
		c.wantLease()
	})
}

// Trap 10: on Reset the place was free before the destructor had ended: of at
// most 4, 12 were alive after three resets.
func TestPuddleTrap10_ResetExceedsMax(t *testing.T) {
	edit := func(h *harness) {
		slowDestroy(h)
		h.auto = func(m *makeCall) { m.finish() }
	}
	script(t, 4, edit, func(h *harness) {
		for range 3 {
			for range 4 {
				h.acquireFor(time.Minute)
			}
			time.Sleep(100 * time.Millisecond)
			h.p.Reset(nil)
			for _, c := range h.calls {
				if o := c.poll(); o != nil && o.err == nil {
					o.lease.Release()
				}
			}
			h.mu.Lock()
			if n := len(h.living); n > 4 {
				t.Errorf("%d alive at once, want at most 4", n)
			}
			h.mu.Unlock()
		}
		time.Sleep(time.Minute)
	})
}

// Trap 11: an acquirer waited for its own 500 ms dial although a resource was
// released after 10.
func TestPuddleTrap11_WaitsForOwnMake(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		l := h.lend()
		it := l.Value()
		c := h.acquire()
		m := h.wantMake()
		time.Sleep(10 * time.Millisecond)
		l.Release()
		c.wantItem(it)
		m.finish()
		h.wantLoad(resource.Load{Idle: 1, Leased: 1})
	})
}

// Trap 12: every miss dialled: 50 callers on 5 idle made 45, of which one was
// needed.
func TestPuddleTrap12_EveryMissMakes(t *testing.T) {
	s := spike{idle: 5, callers: 50, max: 50, making: 150 * time.Millisecond, work: 2 * time.Millisecond}
	if r := s.run(t); r.makes > 3 {
		t.Errorf("%d makes, want at most 3", r.makes)
	}
}

// Trap 13: with a dead factory every waiter dialled in turn, and the last of
// 200 was told after 2 seconds.
func TestPuddleTrap13_OutageInTurn(t *testing.T) {
	o := outage{callers: 200, max: 10, failAfter: 100 * time.Millisecond}
	if r := o.run(t); r.last > 250*time.Millisecond {
		t.Errorf("the last was told after %v, want at most 250ms", r.last)
	}
}

// Trap 14: a constructor that hung kept its place for ever, after all callers
// had left.
func TestPuddleTrap14_HungConstructor(t *testing.T) {
	edit := func(h *harness) { h.cfg.MakeTimeout = time.Second }
	script(t, 1, edit, func(h *harness) {
		c := h.acquireFor(100 * time.Millisecond)
		h.wantMake().hang()
		time.Sleep(100 * time.Millisecond)
		c.wantErr(context.DeadlineExceeded)
		time.Sleep(time.Second)
		h.wantLoad(resource.Load{Abandoned: 1})
		c = h.acquire()
		h.wantMakeWithin(time.Minute).finish()
		c.wantLease()
	})
}
