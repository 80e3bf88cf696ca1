package resource_test

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/internal/poolbridge"
	"github.com/respool/respool/resource"
)

// While a MakeGate or Quota lets no make begin for a time that it said.

// turnstile refuses for that long while it is shut.
type turnstile struct {
	shut atomic.Bool
	time time.Duration
}

var errRefusing = errors.New("the turnstile is shut")

func (s *turnstile) Admit(context.Context, resource.Request) (resource.Done, error) {
	if s.shut.Load() {
		return nil, &resource.Rejection{Policy: "turnstile", RetryAfter: s.time, Err: errRefusing}
	}
	return nil, nil
}

// whileRefusing begins each of a MakeGate and a Quota that is shut for 10 s.
func whileRefusing(t *testing.T, max int, mode resource.OutageMode, f func(h *harness, s *turnstile)) {
	t.Helper()
	for name, set := range map[string]func(h *harness, a resource.Admission){
		"gate":           func(h *harness, a resource.Admission) { h.cfg.MakeGate = a },
		"quota":          func(h *harness, a resource.Admission) { h.cfg.Quota = a },
		"gate and queue": func(h *harness, a resource.Admission) { h.cfg.MakeGate, h.cfg.Queue = a, &listQueue{} },
	} {
		t.Run(name, func(t *testing.T) {
			s := &turnstile{time: 10 * time.Second}
			s.shut.Store(true)
			script(t, max, func(h *harness) {
				h.cfg.Outage = mode
				set(h, s)
			}, func(h *harness) { f(h, s) })
		})
	}
}

// wantBackedOff checks that c failed with the refusal, and with the rest of its time.
func (c *call) wantBackedOff(after, left time.Duration) {
	c.h.t.Helper()
	e := c.wantErr(resource.ErrRejected)
	var r *resource.Rejection
	if !errors.Is(e, errRefusing) || !errors.As(e, &r) || r.Policy != "turnstile" {
		c.h.t.Errorf("%v: want the refusal", e)
	}
	if e.RetryAfter != left {
		c.h.t.Errorf("RetryAfter is %v, want %v", e.RetryAfter, left)
	}
	if c.got.after != after {
		c.h.t.Errorf("failed after %v, want %v", c.got.after, after)
	}
}

// A caller that cannot be served in time fails at once, when it arrives or when the
// gate refuses; one that can be served waits, and is served.
func TestBackoff_Deadline(t *testing.T) {
	whileRefusing(t, 2, resource.FailFast, func(h *harness, s *turnstile) {
		h.acquireFor(5*time.Second).wantBackedOff(0, 10*time.Second)
		long, open := h.acquireFor(20*time.Second), h.acquire()
		time.Sleep(4 * time.Second)
		h.acquireFor(3*time.Second).wantBackedOff(0, 6*time.Second)
		late := h.acquireFor(7 * time.Second) // beyond it
		h.wantWaiting(long, open, late)
		if r := h.p.Stats().Rejected; r != 2 {
			h.t.Errorf("%d rejected, want 2", r)
		}
		s.shut.Store(false)
		time.Sleep(6 * time.Second)
		for _, m := range h.wantMakes(2) {
			m.finish()
		}
		long.wantLease().Release()
		open.wantLease().Release()
		late.wantLease().Release()
	})
}

// Each refusal counts for the present waiters.
func TestBackoff_RefusedAgain(t *testing.T) {
	whileRefusing(t, 2, resource.FailFast, func(h *harness, s *turnstile) {
		short, long := h.acquireFor(15*time.Second), h.acquireFor(25*time.Second)
		h.wantWaiting(short, long)
		time.Sleep(10 * time.Second)
		short.wantBackedOff(10*time.Second, 10*time.Second)
		h.wantWaiting(long)
		time.Sleep(10 * time.Second)
		long.wantBackedOff(20*time.Second, 10*time.Second)
	})
}

// While something leased may be released all may wait; when it is gone they fail.
func TestBackoff_NothingRecoverable(t *testing.T) {
	whileRefusing(t, 2, resource.FailFast, func(h *harness, s *turnstile) {
		s.shut.Store(false)
		l := h.lend()
		s.shut.Store(true)
		c1, c2 := h.acquireFor(5*time.Second), h.acquireFor(5*time.Second)
		h.wantWaiting(c1, c2)
		time.Sleep(time.Second)
		l.Release()
		l = c1.wantLease()
		h.wantWaiting(c2)
		l.Discard(nil)
		c2.wantBackedOff(time.Second, 9*time.Second)
	})
}

// A Fresh caller does not wait for what is leased.
func TestBackoff_Fresh(t *testing.T) {
	whileRefusing(t, 2, resource.FailFast, func(h *harness, s *turnstile) {
		s.shut.Store(false)
		l := h.lend()
		s.shut.Store(true)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		h.acquireCtx(ctx, fresh).wantBackedOff(0, 10*time.Second)
		c := h.acquireFor(5 * time.Second)
		h.wantWaiting(c)
		l.Release()
		c.wantLease()
	})
}

// A make that runs may serve waiters.
func TestBackoff_BesideRunningMake(t *testing.T) {
	whileRefusing(t, 2, resource.FailFast, func(h *harness, s *turnstile) {
		s.shut.Store(false)
		c1 := h.acquire()
		m := h.wantMake()
		s.shut.Store(true)
		c2 := h.acquireFor(5 * time.Second)
		c3 := h.acquireFor(5 * time.Second) // comes when it is barred
		h.wantWaiting(c1, c2, c3)
		m.fail(errDown)
		c1.wantErr(errDown)
		c2.wantBackedOff(0, 10*time.Second)
		c3.wantBackedOff(0, 10*time.Second)
	})
}

// In KeepWaiting each waits for its own context.
func TestBackoff_KeepWaiting(t *testing.T) {
	whileRefusing(t, 2, resource.KeepWaiting, func(h *harness, s *turnstile) {
		c := h.acquireFor(5 * time.Second)
		time.Sleep(5*time.Second - time.Millisecond)
		h.wantWaiting(c)
		time.Sleep(time.Millisecond)
		c.wantErr(context.DeadlineExceeded)
	})
}

// Callers that back off are reported to the Trace, as others that a policy refuses.
func TestBackoff_Trace(t *testing.T) {
	var seen atomic.Int32
	s := &turnstile{time: 10 * time.Second}
	s.shut.Store(true)
	edit := func(h *harness) {
		h.cfg.MakeGate = s
		h.cfg.Trace = &resource.Trace{Rejected: func(_ context.Context, err error) {
			if errors.Is(err, errRefusing) {
				seen.Add(1)
			}
		}}
	}
	script(t, 2, edit, func(h *harness) {
		h.acquireFor(time.Second).wantBackedOff(0, 10*time.Second) // waited when it was refused
		h.acquireFor(time.Second).wantBackedOff(0, 10*time.Second) // came after
		if n := seen.Load(); n != 2 {
			t.Errorf("the Trace reported %d", n)
		}
	})
}

// A release makes no room for a new resource while none may be made.
func TestBackoff_MakesNoRoom(t *testing.T) {
	whileRefusing(t, 2, resource.FailFast, func(h *harness, s *turnstile) {
		s.shut.Store(false)
		l := h.lend()
		s.shut.Store(true)
		c := h.acquireWith(fresh)
		h.resize(1)
		behind := h.acquire()
		h.wantWaiting(c, behind)
		used := l.Value()
		l.Release()
		behind.wantItem(used)
		h.wantWaiting(c)
	})
}

// A refusal without a RetryAfter fails a Fresh caller at once, whatever is leased,
// and no caller that a leased resource may serve.
func TestBackoff_FreshNotReported(t *testing.T) {
	whileRefusing(t, 2, resource.FailFast, func(h *harness, s *turnstile) {
		s.shut.Store(false)
		l := h.lend()
		s.time = 0
		s.shut.Store(true)
		c := h.acquireWith(fresh)
		c.wantErr(errRefusing)
		hopes := h.acquire()
		h.wantWaiting(hopes)
		l.Release()
		hopes.wantLease()
	})
}

// One burst of refusals counted as many in a row, and backed makes off for long.
func TestMakeGate_RefusalBurst(t *testing.T) {
	var n atomic.Int32
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		h.cfg.Outage = resource.KeepWaiting
		h.cfg.MakeGate = gate(func() error {
			if n.Add(1) <= 8 {
				time.Sleep(time.Millisecond) // so that all are refused at one instant
				return &resource.Rejection{Policy: "x", RetryAfter: 10 * time.Millisecond}
			}
			return nil
		})
	}
	script(t, 8, edit, func(h *harness) {
		var cs [8]*call
		for i := range cs {
			cs[i] = h.acquire()
		}
		for _, c := range cs {
			c.wantSoon(200 * time.Millisecond)
		}
	})
}

// After one refusal nothing was tried as long as a slow make ran.
func TestMakeGate_RefusalBesideSlowMake(t *testing.T) {
	var n atomic.Int32
	edit := func(h *harness) {
		h.cfg.MakeTimeout = time.Minute
		h.auto = func(m *makeCall) { m.finishAfter(20 * time.Second) }
		h.cfg.MakeGate = gate(func() error {
			if n.Add(1) == 2 {
				time.Sleep(time.Millisecond)
				return &resource.Rejection{Policy: "x", RetryAfter: 100 * time.Millisecond}
			}
			return nil
		})
	}
	script(t, 4, edit, func(h *harness) {
		c1, c2 := h.acquire(), h.acquire()
		c1.wantSoon(21 * time.Second)
		c2.wantSoon(21 * time.Second)
	})
}

// In a full pool whose resource is too near its end nothing was tried again when
// a refusal had ended.
func TestMakeGate_RefusalEndsInFullPool(t *testing.T) {
	var n atomic.Int32
	edit := func(h *harness) {
		hourly(h)
		h.auto = func(m *makeCall) { m.finish() }
		h.cfg.MakeGate = gate(func() error {
			if n.Add(1) == 2 {
				time.Sleep(2 * time.Second) // its caller has left by then
				return &resource.Rejection{Policy: "x", RetryAfter: 10 * time.Second}
			}
			return nil
		})
	}
	script(t, 2, edit, func(h *harness) {
		l := h.lend()
		time.Sleep(30 * time.Minute)
		h.acquireFor(time.Second).wantFailedWithin(time.Second)
		time.Sleep(2 * time.Second)
		h.resize(1)
		l.Release()
		h.acquireRemaining(45*time.Minute, 10*time.Minute).wantLeaseWithin(10 * time.Minute)
	})
}

// The longest RetryAfter overflowed, and the gate was asked in a loop without
// a pause.
func TestMakeGate_LongestRetryAfter(t *testing.T) {
	var asked atomic.Int64
	edit := func(h *harness) {
		h.cfg.MakeGate = admitFunc(func(ctx context.Context, r resource.Request) (resource.Done, error) {
			if asked.Add(1) > 1000 { // so that the test ends
				<-ctx.Done()
			}
			return nil, &resource.Rejection{RetryAfter: math.MaxInt64}
		})
	}
	script(t, 1, edit, func(h *harness) {
		time.Sleep(time.Second)
		c := h.acquireFor(time.Millisecond)
		time.Sleep(time.Millisecond)
		c.wantFailed()
		if n := asked.Load(); n < 1 || n > 2 {
			t.Errorf("the gate was asked %d times in 1ms", n)
		}
	})
}

// A gate that lets one make through at a time refused a caller while another's make
// was under way, though that make was about to serve it.
func TestMakeGate_OfOneRefusesNoCaller(t *testing.T) {
	var busy atomic.Bool
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finishAfter(100 * time.Millisecond) }
		h.cfg.MakeGate = admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
			if !busy.CompareAndSwap(false, true) {
				return nil, errors.New("one at a time")
			}
			return func(resource.Outcome) { busy.Store(false) }, nil
		})
	}
	script(t, 2, edit, func(h *harness) {
		c1, c2 := h.acquire(), h.acquire()
		c1.wantLeaseWithin(time.Minute)
		c2.wantLeaseWithin(time.Minute)
	})
}

// Makes that wait at the gate do not all begin when it opens, if the maximum is
// smaller by then.
func TestMakeGate_OpensAfterShrink(t *testing.T) {
	var now, most atomic.Int64
	var open chan struct{}
	edit := func(h *harness) {
		open = make(chan struct{})
		h.auto = func(m *makeCall) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			m.finishAfter(time.Second)
		}
		h.cfg.MakeGate = admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
			<-open
			return nil, nil
		})
	}
	script(t, 4, edit, func(h *harness) {
		var cs []*call
		for range 4 {
			cs = append(cs, h.acquire())
		}
		h.resize(1)
		close(open)
		for _, c := range cs {
			c.wantLeaseWithin(time.Minute).Release()
		}
		if n := most.Load(); n != 1 {
			t.Errorf("%d makes at once, all begun after Resize(1)", n)
		}
	})
}

// A pool that turns all away refuses those that wait and those that come, in each line, though it is
// full and its leases go on; a caller that has another line waits there. Later callers wait again.
func TestTurnAway(t *testing.T) {
	for _, queued := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			k := newKeyed(t, resource.KeyedConfig[string, int]{
				Config: func(string) (resource.Config[int], error) {
					cfg := resource.Config[int]{Make: makeOne, MaxSize: 1}
					if queued {
						cfg.Queue = &listQueue{}
					}
					return cfg, nil
				},
				MaxTotal: 4,
			})
			defer closeAll(t, k)
			a, err := k.Acquire(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			b, err := k.Acquire(t.Context(), "b")
			if err != nil {
				t.Fatal(err)
			}
			p, err := k.Pool("a")
			if err != nil {
				t.Fatal(err)
			}
			left := errors.New("left")
			results := make(chan error, 100)
			wait := func(n int, keys ...string) {
				for range n {
					go func() {
						_, l, err := k.AcquireAny(t.Context(), keys, resource.Request{})
						l.Release()
						results <- err
					}()
				}
				synctest.Wait()
			}
			want := func(n int, reason error) {
				t.Helper()
				synctest.Wait()
				if len(results) != n {
					t.Fatalf("%d callers have returned, want %d", len(results), n)
				}
				for range n {
					if err := <-results; !errors.Is(err, reason) || reason != nil && !errors.Is(err, resource.ErrMakeRefused) {
						t.Errorf("%v, want %v", err, reason)
					}
				}
			}
			wait(40, "a")
			wait(1, "b", "a")
			wait(1, "a", "b")
			poolbridge.TurnAway(p, left)
			want(40, left)
			wait(1, "a")
			want(1, left)
			wait(1, "b", "a")
			want(0, nil)
			b.Release()
			want(3, nil)
			poolbridge.TurnAway(p, nil)
			wait(1, "a")
			want(0, nil)
			a.Release()
			want(1, nil)
		})
	}
}
