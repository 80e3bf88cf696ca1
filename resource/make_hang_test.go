package resource_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// hangs has the makes for which hang is true hang until their context ends, and
// all others take 50 ms. Makes count from 1.
func hangs(h *harness, hang func(n int) bool) {
	h.auto = func(m *makeCall) {
		if !hang(m.number) {
			m.finishAfter(50 * time.Millisecond)
		}
	}
}

// The first make hangs, and callers come one by one: the second is served by
// another make (HikariCP#2186, #2161, #2327).
func TestI11_FirstMakeHangs(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.MakeTimeout = 8 * time.Second
		hangs(h, func(n int) bool { return n == 1 })
	}
	script(t, 10, edit, func(h *harness) {
		for i := range 40 {
			c := h.acquireFor(time.Second)
			time.Sleep(time.Second)
			switch {
			case i > 0:
				c.wantLease().Release()
			case c.poll() != nil && c.got.err == nil:
				t.Fatal("the first caller was served by a make that hangs")
			default:
				c.wantErr(context.DeadlineExceeded)
			}
		}
		if n := h.begun(); n != 2 {
			t.Errorf("%d makes, want the one that hangs and another", n)
		}
	})
}

// Once makes are known to be fast, one that hangs is replaced sooner.
func TestI11_HangAfterFastMakes(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.MakeTimeout = time.Minute
		hangs(h, func(n int) bool { return n == 2 })
	}
	script(t, 10, edit, func(h *harness) {
		h.acquire().wantLeaseWithin(time.Second)
		h.acquire().wantLeaseWithin(400 * time.Millisecond)
	})
}

// If all makes hang, another begins for each that is overdue, until half of the
// maximum hangs. Then the pool waits, and each MakeTimeout is a failure.
func TestI11_AllMakesHang(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.MakeTimeout = 20 * time.Second
		hangs(h, func(int) bool { return true })
	}
	script(t, 10, edit, func(h *harness) {
		c := h.acquire()
		for n := 1; n <= 6; n++ {
			h.settle()
			if got := h.begun(); got != n {
				t.Fatalf("after %d s %d makes, want %d", n-1, got, n)
			}
			time.Sleep(time.Second + 1)
		}
		time.Sleep(10 * time.Second)
		if n := h.begun(); n != 6 {
			t.Errorf("%d makes hang, want five and the one that is waited for", n)
		}
		h.wantWaiting(c)
		time.Sleep(10 * time.Second)
		c.wantErr(resource.ErrMakeTimeout)
	})
}

// In a pool of one there is no room for another; with two, there is.
func TestI11_SmallPools(t *testing.T) {
	for max, want := range map[int]int{1: 1, 2: 2, 3: 2} {
		script(t, max, func(h *harness) { hangs(h, func(int) bool { return true }) }, func(h *harness) {
			h.acquire()
			time.Sleep(10 * time.Second)
			if n := h.begun(); n != want {
				t.Errorf("maximum %d: %d makes hang, want %d", max, n, want)
			}
		})
	}
}

// A prober that hangs is followed by another.
func TestI11_ProberHangs(t *testing.T) {
	script(t, 4, func(h *harness) { h.cfg.MakeTimeout = time.Hour }, func(h *harness) {
		h.down(3)
		c := h.acquireFor(time.Minute)
		h.settle()
		if c.poll() != nil { // it was told of the outage, and comes again
			time.Sleep(time.Second)
			h.acquireFor(time.Minute)
		}
		h.wantMakeWithin(time.Second).hang()
		h.wantMakeWithin(1100 * time.Millisecond).finish()
		h.settle()
		h.acquire().wantLease()
	})
}

// A make that hangs does not keep MinIdle and Warm from being made.
func TestI11_HangAheadOfDemand(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.MinIdle = 2
		hangs(h, func(n int) bool { return n == 1 })
	}
	script(t, 10, edit, func(h *harness) {
		time.Sleep(2 * time.Second)
		h.wantLoad(resource.Load{Idle: 2, Making: 1})
		done := h.warm(context.Background(), 4)
		time.Sleep(time.Second)
		h.wantDone(done, nil)
	})
}

// Reset cancels the makes that run: a caller of before and a new one are served by
// makes that begin after it, and hear nothing of the failure of the others
// (mongo-python-driver#2010).
func TestReset_WhileMakesHang(t *testing.T) {
	moved := errors.New("moved")
	script(t, 10, nil, func(h *harness) {
		before := h.acquire()
		m := h.wantMake()
		time.Sleep(500 * time.Millisecond)
		h.p.Reset(moved)
		h.wantMake().finish()
		before.wantLease()
		if !errors.Is(context.Cause(m.ctx), moved) {
			t.Errorf("the make's context ended with %v", context.Cause(m.ctx))
		}
		after := h.acquire()
		h.wantMake().finish()
		after.wantLease()
		if s := h.p.Stats(); s.Failed != 1 || s.LastMake != nil || s.Making != 0 {
			t.Errorf("%v", s)
		}
	})
}

// A make that ignores that its context has ended holds its slot for a moment
// longer.
func TestReset_WhileADeafMakeHangs(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		c := h.acquire()
		m := h.wantMake()
		m.hang()
		h.p.Reset(nil)
		time.Sleep(999 * time.Millisecond)
		h.wantNoMake()
		time.Sleep(time.Millisecond)
		h.wantMake().finish()
		c.wantLease()
		h.wantLoad(resource.Load{Leased: 1, Abandoned: 1})
		h.wantGone(m.finish())
	})
}

// A Reset says nothing about the server: the makes that it cancels are no outage.
func TestReset_CanceledMakesAreNoOutage(t *testing.T) {
	script(t, 10, nil, func(h *harness) {
		var cs []*call
		for range 5 {
			cs = append(cs, h.acquire())
		}
		h.wantMakes(5)
		h.p.Reset(nil)
		for _, m := range h.wantMakes(5) {
			m.finish()
		}
		for _, c := range cs {
			c.wantLease()
		}
		if s := h.p.Stats(); s.Outage {
			t.Errorf("%v", s)
		}
	})
}

// Resets that come more often than a make takes still let callers be served
// (puddle served 1,820 in such a run).
func TestReset_MoreOftenThanAMakeTakes(t *testing.T) {
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finishAfter(150 * time.Millisecond) }
	}
	script(t, 10, edit, func(h *harness) {
		stop := make(chan struct{})
		served := make(chan int)
		const callers = 10
		for range callers {
			go func() {
				n := 0
				for {
					select {
					case <-stop:
						served <- n
						return
					default:
					}
					ctx, cancel := context.WithTimeout(context.Background(), time.Second)
					if l, err := h.p.Acquire(ctx); err == nil {
						n++
						time.Sleep(10 * time.Millisecond)
						l.Release()
					}
					cancel()
				}
			}()
		}
		for range 200 {
			time.Sleep(100 * time.Millisecond)
			h.p.Reset(nil)
		}
		close(stop)
		sum := 0
		for range callers {
			sum += <-served
		}
		if sum < 1000 {
			t.Errorf("%d served in 20 s", sum)
		}
	})
}

// What a Reset spared is lent once, and not at all if nobody waits for it.
func TestReset_SparedIsLentOnce(t *testing.T) {
	script(t, 10, nil, func(h *harness) {
		c := h.acquire()
		first := h.wantMake()
		h.p.Reset(nil)
		second := h.wantMake()
		time.Sleep(10 * time.Millisecond)
		h.p.Reset(nil)
		if first.ctx.Err() == nil || second.ctx.Err() != nil {
			t.Errorf("the contexts ended with %v and %v", first.ctx.Err(), second.ctx.Err())
		}
		it := second.finish()
		l := c.wantItem(it)
		h.wantNoMake()
		l.Release()
		h.wantDestroyed(it, resource.ErrReset)

		c = h.acquire()
		m := h.wantMake()
		h.p.Reset(nil) // soon after the last one, so it spares m
		c.cancel()
		c.wantErr(context.Canceled)
		h.wantDestroyed(m.finish(), resource.ErrReset)
	})
}
