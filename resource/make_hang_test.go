package resource_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

// Once makes are known to be fast, a make that hangs is replaced sooner.
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
		if c.poll() != nil { // it failed by the outage, and retries
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

// MakeTimeout bounds a make that does not return by itself.

func oneSecond(h *harness) { h.cfg.MakeTimeout = time.Second }

// A make that obeys its context ends at MakeTimeout, and its waiter's error is the
// timeout.
func TestMakeHang_EndsWithContext(t *testing.T) {
	script(t, 1, oneSecond, func(h *harness) {
		c := h.acquire()
		m := h.wantMake()
		time.Sleep(time.Second - 1)
		if m.ctx.Err() != nil {
			t.Error("the make's context has ended too early")
		}
		time.Sleep(time.Nanosecond)
		e := c.wantErr(resource.ErrMakeTimeout)
		if e.Waited != time.Second {
			t.Errorf("waited %v, want 1s", e.Waited)
		}
		if n := h.p.Stats().Failed; n != 1 {
			t.Errorf("%d failed, want 1", n)
		}
	})
}

// A make that ignores its context is abandoned a tenth later: the waiter fails and
// the slot is free, though the make still runs.
func TestMakeHang_IgnoresContext(t *testing.T) {
	script(t, 1, oneSecond, func(h *harness) {
		c1, c2 := h.acquire(), h.acquire()
		m := h.wantMake()
		m.hang()
		time.Sleep(1099 * time.Millisecond)
		h.wantLoad(resource.Load{Making: 1, Waiting: 2})
		time.Sleep(time.Millisecond)
		c1.wantErr(resource.ErrMakeTimeout)
		h.wantWaiting(c2)
		h.wantMakeWithin(time.Minute).finish()
		c2.wantLease()
		h.wantLoad(resource.Load{Leased: 1, Abandoned: 1})
		it := m.finish()
		h.wantGone(it)
		h.wantLoad(resource.Load{Leased: 1})
	})
}

// The grace is at most a second.
func TestMakeHang_Grace(t *testing.T) {
	edit := func(h *harness) { h.cfg.MakeTimeout = time.Minute }
	script(t, 1, edit, func(h *harness) {
		c := h.acquire()
		h.wantMake().hang()
		time.Sleep(60999 * time.Millisecond)
		h.wantWaiting(c)
		time.Sleep(time.Millisecond)
		c.wantErr(resource.ErrMakeTimeout)
	})
}

// Zero is the default, never for ever.
func TestMakeHang_DefaultTimeout(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		c := h.acquire()
		h.wantMake()
		time.Sleep(resource.DefaultMakeTimeout)
		c.wantErr(resource.ErrMakeTimeout)
	})
}

// The error of an abandoned make is not reported any more.
func TestMakeHang_AbandonedFails(t *testing.T) {
	for name, end := range map[string]func(m *makeCall){
		"error":  func(m *makeCall) { m.fail(errors.New("late")) },
		"panic":  func(m *makeCall) { m.panic("late") },
		"goexit": func(m *makeCall) { m.goexit() },
	} {
		t.Run(name, func(t *testing.T) {
			script(t, 1, oneSecond, func(h *harness) {
				c := h.acquire()
				m := h.wantMake()
				m.hang()
				time.Sleep(1100 * time.Millisecond)
				c.wantErr(resource.ErrMakeTimeout)
				h.wantLoad(resource.Load{Abandoned: 1})
				end(m)
				h.wantLoad(resource.Load{})
				if n := h.p.Stats().Failed; n != 1 {
					t.Errorf("%d failed, want 1", n)
				}
			})
		})
	}
}

// A factory that hangs again and again is an outage like any other: makes do
// not pile up without end.
func TestMakeHang_Outage(t *testing.T) {
	edit := func(h *harness) {
		oneSecond(h)
		h.auto = func(m *makeCall) { m.hang() }
	}
	script(t, 4, edit, func(h *harness) {
		for range 20 {
			h.acquireFor(time.Hour)
		}
		time.Sleep(30 * time.Second)
		h.settle()
		s := h.p.Stats()
		if !s.Outage || s.Waiting != 0 {
			t.Errorf("outage %t, %v; want every caller to have failed", s.Outage, s.Load)
		}
		for _, c := range h.calls {
			c.wantErr(resource.ErrMakeTimeout)
		}
		if s.Abandoned > 10 {
			t.Errorf("%d abandoned makes piled up", s.Abandoned)
		}
	})
}

// A server that accepts and hangs up at once is tried at the pace of an outage,
// though each make succeeds: makes that began before the outage do not end it.
func TestOutage_AcceptsAndHangsUp(t *testing.T) {
	hungUp := errors.New("hung up")
	for _, c := range []struct {
		size        int
		make, lives time.Duration
	}{{8, time.Millisecond, 0}, {8, time.Millisecond, time.Millisecond}, {8, 20 * time.Millisecond, time.Millisecond}, {2, 20 * time.Millisecond, time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			around := func(d time.Duration) time.Duration {
				if d == 0 {
					return 0
				}
				return d/2 + rand.N(d)
			}
			var dials atomic.Int64
			p := newPool(t, resource.Config[int]{
				MaxSize: c.size, MinIdle: c.size,
				Make: func(context.Context) (int, error) {
					dials.Add(1)
					time.Sleep(around(c.make))
					return 1, nil
				},
				Watch: func(_ int, invalidate func(error)) { time.AfterFunc(around(c.lives), func() { invalidate(hungUp) }) },
			})
			time.Sleep(2 * time.Minute)
			if n := dials.Load(); n > 20*120 { // 20 a second; without a bound it is up to 3,000
				t.Errorf("%+v: %d dials in two minutes", c, n)
			}
			closeAll(t, p)
			time.Sleep(time.Second) // the timers of Watch
		})
	}
}

// Trap 14: a constructor that hung kept its slot for ever, after all callers had
// left.
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
