package resource_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// outage is callers on an empty pool whose makes fail.
type outage struct {
	callers, max int
	failAfter    time.Duration
}

type outageResult struct {
	makes int           // begun in the first second
	last  time.Duration // when the last caller failed
	errs  []error
}

func (o outage) run(t *testing.T) (r outageResult) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := start(t, o.max, func(h *harness) {
			h.auto = func(m *makeCall) { time.Sleep(o.failAfter); m.fail(errDown) }
		})
		began := time.Now()
		var wg sync.WaitGroup
		var mu sync.Mutex
		for range o.callers {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				_, err := h.p.Acquire(ctx)
				mu.Lock()
				defer mu.Unlock()
				r.errs = append(r.errs, err)
				r.last = max(r.last, time.Since(began))
			})
		}
		time.Sleep(time.Second)
		r.makes = h.begun()
		wg.Wait()
		t.Logf("%+v: %d makes in the first second, the last failed after %v", o, r.makes, r.last)
	})
	return r
}

// A dead factory is tried a few times, not once for each caller, and every caller
// fails soon, with the cause.
func TestOutage_Storm(t *testing.T) {
	r := outage{callers: 200, max: 10, failAfter: 100 * time.Millisecond}.run(t)
	if r.makes > 15 {
		t.Errorf("%d makes in the first second, want at most 15", r.makes)
	}
	if r.last > 250*time.Millisecond {
		t.Errorf("the last failed after %v, want at most 250ms", r.last)
	}
	var later, outages int
	for _, err := range r.errs {
		e := wantAcquireError(t, err, errDown)
		if errors.Is(e, resource.ErrOutage) {
			outages++
		}
		if e.RetryAfter > 0 {
			later++
		}
		if !errors.Is(e.LastMake, errDown) {
			t.Errorf("LastMake is %v", e.LastMake)
		}
	}
	if outages < 185 || later < outages {
		t.Errorf("%d of 200 failed by the outage, %d have a RetryAfter", outages, later)
	}
}

// down makes n makes fail, one after the other, each for a caller that fails with
// it.
func (h *harness) down(n int) {
	h.t.Helper()
	for range n {
		c := h.acquire()
		h.wantMakeWithin(time.Minute).fail(errDown)
		h.settle()
		if c.poll() == nil { // something is leased that may come back to it
			c.cancel()
			c.wantErr(context.Canceled)
			continue
		}
		c.wantErr(errDown)
	}
}

// Each of the first failures fails one waiter, at once; the others still wait.
func TestOutage_OneFailureOneWaiter(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		c1, c2 := h.acquire(), h.acquire()
		h.wantMake().fail(errDown)
		e := c1.wantErr(errDown)
		if errors.Is(e, resource.ErrOutage) {
			t.Errorf("one failure is an outage: %v", e)
		}
		h.wantWaiting(c2)
		h.wantMakeWithin(time.Minute).finish()
		c2.wantLease()
		if s := h.p.Stats(); s.Outage || s.LastMake != nil || s.Failed != 1 {
			t.Errorf("after a success: outage %t, last make %v, %d failed", s.Outage, s.LastMake, s.Failed)
		}
	})
}

// After three in a row a caller without anything to wait for fails fast, until the
// next try is due.
func TestOutage_FailFast(t *testing.T) {
	var events []error
	trace := func(h *harness) {
		h.cfg.Trace = &resource.Trace{Outage: func(cause error) { events = append(events, cause) }}
	}
	script(t, 2, trace, func(h *harness) {
		h.down(3)
		if s := h.p.Stats(); !s.Outage || !errors.Is(s.LastMake, errDown) || s.Failed != 3 {
			t.Fatalf("outage %t, last make %v, %d failed", s.Outage, s.LastMake, s.Failed)
		}
		if len(events) != 1 || !errors.Is(events[0], errDown) {
			t.Errorf("Trace.Outage got %v", events)
		}
		e := h.acquire().wantErr(resource.ErrOutage)
		if !errors.Is(e, errDown) || e.RetryAfter <= 0 || e.Waited != 0 {
			t.Errorf("%+v: want the cause, a RetryAfter and no wait", e)
		}
		h.wantNoMake()

		time.Sleep(e.RetryAfter)
		c := h.acquire() // it sees the next try, or fails once more
		h.wantMakeWithin(time.Minute).finish()
		h.settle()
		if o := c.poll(); o != nil && o.err != nil {
			c = h.acquire()
		}
		c.wantLease()
		if s := h.p.Stats(); s.Outage || s.LastMake != nil {
			t.Errorf("after a success: outage %t, last make %v", s.Outage, s.LastMake)
		}
		if len(events) != 2 || events[1] != nil {
			t.Errorf("Trace.Outage got %v", events)
		}
	})
}

// A caller that a leased resource may serve waits for it, outage or not.
func TestOutage_LeasedIsRecoverable(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		l := h.lend()
		it := l.Value()
		h.down(3)
		c := h.acquire()
		h.wantWaiting(c)
		l.Release()
		c.wantItem(it)
	})
}

// Idle resources are lent as ever.
func TestOutage_IdleIsLent(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		it := h.stock(1)[0]
		l := h.acquire().wantItem(it)
		h.down(3)
		l.Release()
		h.acquire().wantItem(it)
	})
}

// KeepWaiting: no caller fails before its own context ends, and then its error has
// the cause; a caller that stays is served at recovery.
func TestOutage_KeepWaiting(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.Outage = resource.KeepWaiting
		h.auto = func(m *makeCall) { m.fail(errDown) }
	}
	script(t, 2, edit, func(h *harness) {
		short, long := h.acquireFor(5*time.Second), h.acquireFor(5*time.Minute)
		time.Sleep(4 * time.Second)
		h.wantWaiting(short, long)
		if !h.p.Stats().Outage {
			t.Errorf("no outage after %d failures", h.p.Stats().Failed)
		}
		time.Sleep(time.Second)
		e := short.wantErr(context.DeadlineExceeded)
		if !errors.Is(e.LastMake, errDown) || e.Waited != 5*time.Second {
			t.Errorf("%+v: want the last failure and 5s", e)
		}
		if n := h.begun(); n > 30 {
			t.Errorf("%d makes in 5 seconds of outage", n)
		}
		h.answer(func(m *makeCall) { m.finish() })
		long.wantLeaseWithin(2 * time.Minute)
	})
}

// While it lasts one make at a time tries, further and further apart.
func TestOutage_OneProber(t *testing.T) {
	var begun []time.Time
	most := 0
	edit := func(h *harness) {
		h.cfg.Outage = resource.KeepWaiting
		h.auto = func(m *makeCall) {
			h.mu.Lock()
			begun = append(begun, m.began)
			n := 0
			for _, other := range h.makes {
				if !other.ended {
					n++
				}
			}
			if len(begun) > 10 { // the first ten began before anyone knew
				most = max(most, n)
			}
			h.mu.Unlock()
			time.Sleep(10 * time.Millisecond)
			m.fail(errDown)
		}
	}
	script(t, 10, edit, func(h *harness) {
		for range 50 {
			h.acquire()
		}
		time.Sleep(10 * time.Minute)
		h.settle()
		if len(begun) < 12 || len(begun) > 500 {
			t.Fatalf("%d makes in 10 minutes", len(begun))
		}
		if most != 1 {
			t.Errorf("%d makes at once during the outage, want 1", most)
		}
		first, last := begun[11].Sub(begun[10]), begun[len(begun)-1].Sub(begun[len(begun)-2])
		if last < 2*first {
			t.Errorf("the first two probes are %v apart, the last two %v: no backoff", first, last)
		}
	})
}

// Recovery does not burst: 1, then 2, then 4 at once, then as many as there
// is need for.
func TestOutage_Ramp(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.Outage = resource.KeepWaiting
		h.auto = func(m *makeCall) { m.fail(errDown) }
	}
	script(t, 20, edit, func(h *harness) {
		for range 20 {
			h.acquire()
		}
		time.Sleep(5 * time.Second)
		h.answer(nil)
		round := []*makeCall{h.wantMakeWithin(time.Minute)}
		for _, next := range []int{2, 4} {
			for _, m := range round {
				m.finish()
			}
			time.Sleep(200 * time.Millisecond) // time alone does not start more
			round = h.wantMakes(next)
		}
		for _, m := range round {
			m.finish()
		}
		time.Sleep(time.Second)
		if n := h.begun() - h.claimed; n < 8 || n > 13 {
			t.Errorf("%d makes after the fourth step, want 8 to 13", n)
		}
		h.wantMakes(h.begun() - h.claimed)
	})
}

// A failure on the way up begins the outage anew.
func TestOutage_RelapseOnRamp(t *testing.T) {
	edit := func(h *harness) { h.cfg.Outage = resource.KeepWaiting }
	script(t, 10, edit, func(h *harness) {
		for range 10 {
			h.acquire()
		}
		for _, m := range h.wantMakes(10) {
			m.fail(errDown)
		}
		h.wantMakeWithin(time.Minute).finish()
		for _, m := range h.wantMakes(2) {
			m.fail(errDown)
		}
		h.wantNoMake()
		m := h.wantMakeWithin(time.Minute)
		time.Sleep(200 * time.Millisecond)
		h.wantNoMake() // one at a time again
		m.finish()
	})
}

// Trap 13: with a dead factory every waiter dialled in turn, and the last of 200
// failed after 2 seconds.
func TestPuddleTrap13_OutageInTurn(t *testing.T) {
	o := outage{callers: 200, max: 10, failAfter: 100 * time.Millisecond}
	if r := o.run(t); r.last > 250*time.Millisecond {
		t.Errorf("the last failed after %v, want at most 250ms", r.last)
	}
}

// A server is down for three seconds, and 50 callers ask again when their errors
// say so: they find it within 0.4 seconds after it accepts, with 20 dials beside the
// first 50, which begin together.
func TestOutage_RecoveryIsSoon(t *testing.T) {
	for seed := range 20 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { recovery(t) })
	}
}

func recovery(t *testing.T) {
	var dials atomic.Int64
	var up atomic.Bool
	cfg := resource.Config[int]{MaxSize: 50, Make: func(context.Context) (int, error) {
		dials.Add(1)
		time.Sleep(time.Millisecond)
		if !up.Load() {
			return 0, errDown
		}
		return 1, nil
	}}
	inBubble(t, cfg, func(p *resource.Pool[int]) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		var first []time.Duration
		begin := time.Now()
		for range 50 {
			wg.Go(func() {
				for {
					l, err := p.Acquire(context.Background())
					if err == nil {
						mu.Lock()
						first = append(first, time.Since(begin))
						mu.Unlock()
						l.Release()
						return
					}
					var e *resource.AcquireError
					if !errors.As(err, &e) {
						t.Errorf("%v", err)
						return
					}
					time.Sleep(max(e.RetryAfter, 10*time.Millisecond))
				}
			})
		}
		time.Sleep(3 * time.Second)
		up.Store(true)
		before := dials.Load()
		wg.Wait()
		if at := slices.Min(first) - 3*time.Second; at > 400*time.Millisecond {
			t.Errorf("the first success came %v after the server was back", at)
		}
		if before > 70 {
			t.Errorf("%d dials while it was down", before)
		}
	})
}

// Warm during an outage ends with its context, or with what it asked for.
func TestOutage_Warm(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		h.down(3)
		h.answer(func(m *makeCall) { m.fail(errDown) })
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		done := h.warm(ctx, 2)
		time.Sleep(2 * time.Minute)
		h.wantDone(done, errDown)

		h.answer(func(m *makeCall) { m.finish() })
		done = h.warm(context.Background(), 2)
		time.Sleep(5 * time.Minute)
		h.settle()
		select {
		case err := <-done:
			if err == nil {
				h.wantLoad(resource.Load{Idle: 2})
			}
		default:
			t.Errorf("Warm has not returned: %+v", h.p.Stats().Load)
		}
	})
}

// Resources that are found dead as soon as they are made are an outage too:
// not a make, a death, a make without end.
func TestOutage_FailedEarly(t *testing.T) {
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		h.onWatch = func(it *item) { it.invalidate(errDown) }
	}
	script(t, 2, edit, func(h *harness) {
		c := h.acquireFor(time.Minute)
		time.Sleep(time.Minute)
		c.wantFailed()
		if n := h.begun(); n > 50 {
			t.Errorf("%d makes in a minute of deaths", n)
		}
	})
}

// In an outage a waiter waits for what is leased, and fails once nothing is leased.
func TestOutage_NothingRecoverable(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		l := h.lend()
		h.down(3)
		c := h.acquire()
		h.wantWaiting(c)
		l.Discard(nil)
		e := c.wantErr(resource.ErrOutage)
		if e.RetryAfter <= 0 {
			t.Errorf("RetryAfter is %v", e.RetryAfter)
		}
	})
}

// A resource that was lent before it proved itself proves itself in a later lease:
// failed makes before it are then forgotten.
func TestOutage_ProvedInALaterLease(t *testing.T) {
	dying := true
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		h.onWatch = func(it *item) {
			if dying {
				dying = it.n < 2
				it.invalidate(errDown)
			}
		}
		h.cfg.Broken = func(error) bool { return false }
	}
	script(t, 1, edit, func(h *harness) {
		l := h.lend() // after two that died at once
		l.Fail(errSick)
		h.lend().Release()
		dying = true // the next one too
		it := h.lend()
		it.Discard(nil)
		c := h.acquireFor(time.Minute)
		c.await(time.Second)
		if s := h.p.Stats(); s.Outage {
			t.Errorf("an outage, though one has done its work since: %+v", s)
		}
		dying = false
		c.wantLeaseWithin(time.Minute).Release()
	})
}

// In a full pool whose resource is too near its end the prober never got a slot,
// and an outage never ended.
func TestOutage_EndsInFullPool(t *testing.T) {
	script(t, 2, hourly, func(h *harness) {
		l := h.lend()
		time.Sleep(30 * time.Minute)
		h.answer(func(m *makeCall) { m.fail(errDown) })
		for range 3 {
			h.acquireFor(time.Second).wantFailedWithin(time.Second)
		}
		if !h.p.Stats().Outage {
			t.Fatal("no outage", h.p.Stats())
		}
		h.resize(1)
		l.Release()
		h.answer(func(m *makeCall) { m.finish() })
		time.Sleep(time.Minute)
		h.acquireRemaining(45*time.Minute, 10*time.Minute).wantLeaseWithin(10 * time.Minute)
	})
}
