package resource_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// If a MakeGate or Quota refuses and does not say for how long, the pool backs off. A permit
// that comes back to the policy ends the backoff: the creation is tried at once.

// permitGate admits up to limit at once and refuses the others without a RetryAfter,
// as policy.Limit does.
type permitGate struct {
	limit int

	mu      sync.Mutex
	used    int
	asked   int
	refused int
	answer  func() // if not nil, runs between the refusal and its return
}

var errAllOut = errors.New("every permit is out")

func (g *permitGate) Admit(context.Context, resource.Request) (resource.Done, error) {
	g.mu.Lock()
	g.asked++
	if g.used < g.limit {
		g.used++
		g.mu.Unlock()
		return func(resource.Outcome) {
			g.mu.Lock()
			g.used--
			g.mu.Unlock()
		}, nil
	}
	g.refused++
	answer := g.answer
	g.mu.Unlock()
	if answer != nil {
		answer()
	}
	return nil, errAllOut
}

func (g *permitGate) times() (asked int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked
}

// withQuota runs f with a pool of 2 that has a Quota of 1.
func withQuota(t *testing.T, edit func(h *harness), f func(h *harness, q *permitGate)) {
	t.Helper()
	q := &permitGate{limit: 1}
	script(t, 2, func(h *harness) {
		h.cfg.Quota = q
		if edit != nil {
			edit(h)
		}
	}, func(h *harness) { f(h, q) })
}

// holdTimes reach every length of the backoff.
var holdTimes = []time.Duration{
	10 * time.Millisecond, 60 * time.Millisecond, 200 * time.Millisecond, time.Second, 2 * time.Second, 17 * time.Second,
}

// The waiter is served at once, however the resource that had the permit ends.
func TestQuotaReturned(t *testing.T) {
	for name, end := range map[string]func(h *harness, l resource.Lease[*item]){
		"discard":    func(_ *harness, l resource.Lease[*item]) { l.Discard(nil) },
		"hijack":     func(h *harness, l resource.Lease[*item]) { h.hijack(l) },
		"invalidate": func(_ *harness, l resource.Lease[*item]) { l.Value().invalidate(nil); l.Release() },
	} {
		t.Run(name, func(t *testing.T) {
			for _, hold := range holdTimes {
				withQuota(t, nil, func(h *harness, q *permitGate) {
					l := h.lend()
					c := h.acquire()
					h.wantWaiting(c)
					time.Sleep(hold)
					h.wantWaiting(c)
					end(h, l)
					it := h.wantMake().finish()
					c.wantItem(it)
				})
			}
		})
	}
}

// The permit comes back when Destroy has returned, and not before. A caller that comes
// meanwhile waits for it, even if its deadline comes before the next try.
func TestQuotaReturned_SlowDestroy(t *testing.T) {
	edit := func(h *harness) { h.onDestroy = func(*item, error) { time.Sleep(3 * time.Second) } }
	for _, hold := range holdTimes {
		withQuota(t, edit, func(h *harness, q *permitGate) {
			l := h.lend()
			waits := h.acquire()
			time.Sleep(hold)
			l.Discard(nil)
			h.settle()
			time.Sleep(time.Second)
			soon, fresh := h.acquireFor(100*time.Millisecond), h.acquireWith(fresh)
			h.wantWaiting(waits, soon, fresh)
			time.Sleep(100 * time.Millisecond)
			soon.wantErr(context.DeadlineExceeded)
			time.Sleep(1900*time.Millisecond - time.Nanosecond)
			h.wantNoMake()
			time.Sleep(time.Nanosecond)
			waits.wantItem(h.wantMake().finish())
		})
	}
}

// The Quota is not asked again because Trace.Destroyed has returned, long after the permit has: the
// backoff of a refusal in between stands.
func TestQuotaReturned_SlowTrace(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.Trace = &resource.Trace{Destroyed: func(resource.DestroyEvent) { time.Sleep(20 * ms) }} // in the bubble of withQuota
	}
	withQuota(t, edit, func(h *harness, q *permitGate) {
		q.limit = 2
		ls, _ := h.lendN(2)
		q.mu.Lock()
		q.limit = 0
		q.mu.Unlock()
		before := q.times()
		ls[0].Discard(nil)
		h.settle()
		c := h.acquire()    // the other one may come back, so it waits whatever the Quota says
		time.Sleep(10 * ms) // in the bubble of withQuota
		asked := q.times()
		time.Sleep(20 * ms) // likewise
		if n := q.times(); asked != before+1 || n != asked {
			t.Errorf("the Quota was asked %d times in 10 ms and %d times in 30 ms, want once", asked-before, n-before)
		}
		h.wantWaiting(c)
		ls[1].Release()
		c.wantLease()
	})
}

// If the Quota refuses again after Destroy has returned, the caller is refused.
func TestQuotaReturned_RefusedAgain(t *testing.T) {
	edit := func(h *harness) { h.onDestroy = func(*item, error) { time.Sleep(3 * time.Second) } }
	withQuota(t, edit, func(h *harness, q *permitGate) {
		l := h.lend()
		l.Discard(nil)
		c := h.acquire()
		h.wantWaiting(c)
		q.mu.Lock()
		q.limit = 0
		q.mu.Unlock()
		time.Sleep(3 * time.Second)
		c.wantErr(errAllOut)
	})
}

// A caller that comes when the permit is back does not get the error of the earlier refusal.
func TestQuotaReturned_NewCaller(t *testing.T) {
	withQuota(t, nil, func(h *harness, q *permitGate) {
		l := h.lend()
		waits := h.acquireFor(2 * time.Second)
		time.Sleep(2 * time.Second)
		waits.wantErr(context.DeadlineExceeded)
		l.Discard(nil)
		h.settle()
		c := h.acquireFor(100 * time.Millisecond)
		c.wantItem(h.wantMake().finish())
	})
}

// A creation that fails gives its permit back too. An abandoned one does so when its Make
// returns.
func TestQuotaReturned_FailedMake(t *testing.T) {
	withQuota(t, nil, func(h *harness, q *permitGate) {
		c1 := h.acquire()
		m := h.wantMake()
		c2 := h.acquire()
		h.wantWaiting(c1, c2)
		time.Sleep(time.Second)
		m.fail(errDown)
		h.wantWaiting(c2)
		c2.wantItem(h.wantMake().finish())
	})
	edit := func(h *harness) { h.cfg.MakeTimeout, h.cfg.Outage = time.Second, resource.KeepWaiting }
	withQuota(t, edit, func(h *harness, q *permitGate) {
		c := h.acquire()
		m := h.wantMake()
		m.hang()
		time.Sleep(10 * time.Second) // it is abandoned, and has its permit
		h.wantNoMake()

		m.fail(errDown)
		c.wantItem(h.wantMake().finish())
	})
}

// The permit of a MakeGate comes back when a creation ends.
func TestMakeGateReturned(t *testing.T) {
	for _, hold := range holdTimes {
		g := &permitGate{limit: 1}
		script(t, 3, func(h *harness) { h.cfg.MakeGate = g }, func(h *harness) {
			c1 := h.acquire()
			m := h.wantMake()
			c2 := h.acquire()
			h.wantWaiting(c1, c2)
			time.Sleep(hold)
			h.wantNoMake()
			c1.wantItem(m.finish())
			c2.wantItem(h.wantMake().finish())
		})
	}
}

// A permit that comes back between the refusal and its arrival at the pool is not missed, and
// no caller gets the error of that refusal.
func TestQuotaReturned_WhileRefusing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &permitGate{limit: 1}
		q.answer = func() { time.Sleep(time.Second) }
		h := start(t, 2, func(h *harness) { h.cfg.Quota = q })
		l := h.lend()
		c := h.acquireFor(time.Minute) // it is refused, and that takes a second
		l.Discard(nil)
		h.wantWaiting(c)
		h.wantNoMake()
		time.Sleep(time.Second)
		c.wantItem(h.wantMake().finish())
	})
}

// A Quota that refuses although its permits came back, since other pools have them, is asked
// once for each, and the backoff continues to grow.
func TestQuotaReturned_NoStorm(t *testing.T) {
	q := &permitGate{limit: 20}
	script(t, 40, func(h *harness) {
		h.cfg.Quota, h.cfg.Outage = q, resource.KeepWaiting
		h.auto = func(m *makeCall) { m.finish() }
	}, func(h *harness) {
		ls, _ := h.lendN(20)
		var cs []*call
		for range 20 {
			cs = append(cs, h.acquire())
		}
		time.Sleep(10 * time.Second)
		q.mu.Lock()
		q.limit = 0 // other pools get the permits that come back
		q.mu.Unlock()
		before := q.times()
		for _, l := range ls[:10] {
			l.Discard(nil)
			h.settle()
		}
		if n := q.times() - before; n != 10 {
			h.t.Errorf("asked %d times, want once for each permit that came back", n)
		}
		before = q.times()
		time.Sleep(16 * time.Second)
		if n := q.times() - before; n < 9 || n > 11 {
			h.t.Errorf("asked %d times in 16 s, want every 1.6 s", n)
		}
		h.wantWaiting(cs...)
	})
}

// A RetryAfter that the policy gave holds, even if permits come back.
func TestQuotaReturned_RetryAfter(t *testing.T) {
	s := &turnstile{time: 10 * time.Second}
	withQuota(t, func(h *harness) {
		h.cfg.Quota = admitFunc(func(ctx context.Context, r resource.Request) (resource.Done, error) {
			_, err := s.Admit(ctx, r)
			return func(resource.Outcome) {}, err
		})
	}, func(h *harness, _ *permitGate) {
		l := h.lend()
		s.shut.Store(true)
		c := h.acquire()
		h.wantWaiting(c)
		s.shut.Store(false)
		l.Discard(nil)
		h.wantNoMake()
		time.Sleep(10*time.Second - time.Nanosecond)
		h.wantNoMake()
		time.Sleep(time.Nanosecond)
		c.wantItem(h.wantMake().finish())
	})
}

// A caller that is refused because a Quota or MakeGate refused its creation is reported
// to Trace.Rejected, and the creation to Trace.Refused.
func TestTrace_RejectedForAMake(t *testing.T) {
	for name, set := range map[string]func(h *harness, a resource.Admission){
		"gate":  func(h *harness, a resource.Admission) { h.cfg.MakeGate = a },
		"quota": func(h *harness, a resource.Admission) { h.cfg.Quota = a },
	} {
		t.Run(name, func(t *testing.T) {
			rejected, refused, failed := 0, 0, 0
			edit := func(h *harness) {
				set(h, &permitGate{})
				h.cfg.Trace = &resource.Trace{
					Rejected: func(_ context.Context, err error) {
						rejected++
						if !errors.Is(err, resource.ErrMakeRefused) || !errors.Is(err, errAllOut) {
							t.Errorf("Rejected was called with %v", err)
						}
					},
					Refused: func(context.Context, error) { refused++ },
					Failed:  func(context.Context, *resource.AcquireError) { failed++ },
				}
			}
			script(t, 1, edit, func(h *harness) {
				h.acquire().wantErr(errAllOut)
				if rejected != 1 || refused != 1 || failed != 1 {
					t.Errorf("%d rejected, %d refused, %d failed; want one each", rejected, refused, failed)
				}
			})
		})
	}
}

// A Warm whose creations are refused says by what.
func TestWarm_Refused(t *testing.T) {
	withQuota(t, nil, func(h *harness, q *permitGate) {
		q.limit = 0
		ctx, cancel := context.WithTimeout(h.t.Context(), time.Second)
		defer cancel()
		err := h.p.Warm(ctx, 1)
		var we *resource.WarmError
		if !errors.As(err, &we) || !errors.Is(we.LastMake, errAllOut) {
			t.Errorf("%+v, want a WarmError with the refusal", err)
		}
	})
}
