package resource_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// A NoWait request fails where it would wait, and takes what is idle.
func TestNoWait(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		noWait := resource.Request{NoWait: true}
		it := h.stock(1)[0]
		l := h.acquireWith(noWait).wantItem(it)
		e := h.acquireWith(noWait).wantErr(resource.ErrNoneIdle)
		if e.Waited != 0 || e.Load.Leased != 1 {
			t.Errorf("%+v: want no wait and 1 leased", e)
		}
		c := h.acquire()
		h.acquireWith(noWait).wantErr(resource.ErrNoneIdle)
		l.Release()
		c.wantItem(it)
		if _, ok := h.p.TryAcquire(); ok {
			t.Error("TryAcquire lent what is leased")
		}
		h.wantNoMake()
	})
}

// TryAcquire lends what is idle. If it finds nothing one is made for later calls,
// however many there are.
func TestTryAcquire(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		if _, ok := h.p.TryAcquire(); ok {
			t.Error("an empty pool lent something")
		}
		m := h.wantMake()
		if _, ok := h.p.TryAcquire(); ok {
			t.Error("lent what is being made")
		}
		h.wantNoMake()
		it := m.finish()
		h.settle()
		l, ok := h.p.TryAcquire()
		if !ok || l.Value() != it {
			t.Fatalf("TryAcquire: %t", ok)
		}
		if _, ok := h.p.TryAcquire(); ok {
			t.Error("lent twice")
		}
		h.wantMake().fail(errDown)
		h.wantNoMake() // until it is called again
		l.Release()
		h.wantLoad(resource.Load{Idle: 1})
	})
}

// On a pool without policies TryAcquire lends what Acquire would lend, and counts why it does not.
func TestTryAcquire_Plain(t *testing.T) {
	script(t, 3, nil, func(h *harness) {
		h.stock(3)
		time.Sleep(time.Second) // in the bubble of script
		var ls []resource.Lease[*item]
		for i := range 3 {
			l, ok := h.p.TryAcquire()
			if !ok {
				t.Fatalf("no lease, and %d of 3 are idle", 3-i)
			}
			info := l.Info()
			if info.Idle != time.Second || info.Leases != 2 || l.Waited() != 0 {
				t.Errorf("lease %d of a resource that was idle for %v, want the second after 1s", info.Leases, info.Idle)
			}
			ls = append(ls, l)
		}
		h.wantLoad(resource.Load{Leased: 3})
		if _, ok := h.p.TryAcquire(); ok {
			t.Error("a lease, and none is idle")
		}
		want := resource.AcquireFailures{NoneIdle: 1}
		if s := h.p.Stats(); s.Failures != want || s.Acquired != 6 || s.Released != 3 {
			t.Errorf("%+v; %d acquired, %d released; want one failed, 6 acquired and 3 released", s.Failures, s.Acquired, s.Released)
		}

		dead := ls[1].Value()
		dead.invalidate(nil)
		for _, l := range ls {
			l.Release()
		}
		h.settle()
		for i := range 2 {
			if l, ok := h.p.TryAcquire(); !ok || l.Value() == dead {
				t.Errorf("TryAcquire %d of the two resources left: %t", i, ok)
			} else {
				defer l.Release()
			}
		}
		if _, ok := h.p.TryAcquire(); ok {
			t.Error("lent an invalidated resource")
		}
		h.wantMake().fail(errDown) // for the next TryAcquire, since there is room now
	})
}

// TryAcquire lends nothing while a caller waits, even one that cannot use what is idle.
func TestTryAcquire_CallerWaits(t *testing.T) {
	script(t, 3, nil, func(h *harness) {
		h.stock(3)
		c := h.acquireWith(resource.Request{Fresh: true})
		m := h.wantMake() // in the place of one of them
		if _, ok := h.p.TryAcquire(); ok {
			t.Error("TryAcquire overtakes a caller")
		}
		m.finish()
		c.wantLease().Release()
		l, ok := h.p.TryAcquire()
		if !ok {
			t.Fatal("no caller waits, and TryAcquire lends nothing")
		}
		l.Release()
	})
}

// On a closed pool TryAcquire fails for that reason.
func TestTryAcquire_Closed(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		h.stock(1)
		<-h.close(time.Second)
		if _, ok := h.p.TryAcquire(); ok {
			t.Error("a closed pool lent something")
		}
		if got, want := h.p.Stats().Failures, (resource.AcquireFailures{Closed: 1}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		h.wantNoMake()
	})
}

// tryIn is how long a TryAcquire takes in virtual time, and what it returns.
func (h *harness) tryIn() (l resource.Lease[*item], ok bool, took time.Duration) {
	h.t.Helper()
	began := time.Now()
	l, ok = h.p.TryAcquire()
	return l, ok, time.Since(began)
}

// An acquire that must not wait gives a check 10 ms; the check continues without
// it, and the resource is available to others when it has passed.
func TestNoWait_CheckTakesLong(t *testing.T) {
	w := newScriptedHealth()
	script(t, 1, w.in(time.Hour), func(h *harness) {
		it := h.stock(1)[0]
		w.delay(5 * time.Millisecond)
		l, ok, took := h.tryIn()
		if !ok || l.Value() != it || took != 5*time.Millisecond {
			t.Errorf("TryAcquire: %t after %v, want a lease after 5 ms", ok, took)
		}
		l.Release()
		w.delay(time.Second)
		if _, ok, took := h.tryIn(); ok || took > 10*time.Millisecond {
			t.Errorf("TryAcquire: %t after %v, want none after 10 ms", ok, took)
		}
		if _, ok, took := h.tryIn(); ok || took != 0 {
			t.Errorf("TryAcquire while it is checked: %t after %v", ok, took)
		}
		h.wantLoad(resource.Load{Idle: 1})
		began := time.Now()
		_, err := h.p.AcquireWith(context.Background(), resource.Request{NoWait: true})
		wantAcquireError(t, err, resource.ErrNoneIdle)
		if took := time.Since(began); took != 0 {
			t.Errorf("AcquireWith with NoWait took %v", took)
		}
		h.wantNoMake()
		time.Sleep(time.Second)
		w.delay(0)
		if l, ok, took = h.tryIn(); !ok || l.Value() != it || took != 0 {
			t.Errorf("TryAcquire after the check: %t after %v", ok, took)
		}
		l.Release()
	})
}

// The checks of acquires that do not wait leave the checks in the background their place, while such an
// acquire waits and when it has left.
func TestNoWait_SweepChecksAfterwards(t *testing.T) {
	w := newScriptedHealth()
	script(t, 4, w.in(10*time.Second), func(h *harness) {
		its := h.stock(4) // one check at once in the background
		w.delay(20 * ms)
		for range 2 {
			if l, ok, _ := h.tryIn(); ok {
				t.Fatalf("item %d was lent before its check had ended", l.Value().n)
			}
			time.Sleep(50 * ms) // in the bubble of script
		}
		w.delay(time.Millisecond)
		before := map[*item]int{}
		for _, it := range its {
			before[it] = w.checked(it)
		}
		w.takeMost()
		time.Sleep(11 * time.Second) // in the bubble of script
		h.settle()
		if most := w.takeMost(); most != 1 {
			t.Errorf("the sweep had %d checked at once, want 1", most)
		}
		for _, it := range its {
			if n := w.checked(it) - before[it]; n != 1 {
				t.Errorf("item %d was checked %d times by the sweep, want once", it.n, n)
			}
		}
	})
}

// While as many checks run as acquires that do not wait may leave behind, such an acquire gets nothing,
// and the resource that it found stays.
func TestNoWait_NoMoreChecks(t *testing.T) {
	w := newScriptedHealth()
	script(t, 4, w.in(time.Hour), func(h *harness) {
		its := h.stock(4)
		w.delay(time.Second)
		for range 3 {
			if _, ok, _ := h.tryIn(); ok {
				t.Fatal("a resource was lent before its check had ended")
			}
		}
		h.wantAlive(its...)
		h.wantLoad(resource.Load{Idle: 4})
		if n := w.takeMost(); n != 1 {
			t.Errorf("%d checks at once, want 1", n)
		}
		time.Sleep(time.Second) // in the bubble of script
		h.wantAlive(its...)
	})
}

// The bound is for the acquire, however many are idle, and so is the number of
// checks that it leaves behind.
func TestNoWait_ManyIdle(t *testing.T) {
	m := newSilentHealth(time.Minute)
	script(t, 40, m.in, func(h *harness) {
		h.deadStock(m, 40, 0)
		for range 100 {
			if _, ok, took := h.tryIn(); ok || took > 10*time.Millisecond {
				t.Fatalf("TryAcquire: %t after %v", ok, took)
			}
		}
		if n := m.atOnce(); n > 8 {
			t.Errorf("%d checks at once, want 8 at most", n)
		}
	})
}

// Several that must not wait have their checks at the same time.
func TestNoWait_AtOnce(t *testing.T) {
	w := newScriptedHealth()
	script(t, 8, w.in(time.Hour), func(h *harness) {
		h.stock(8)
		w.delay(5 * time.Millisecond)
		var cs []*call
		for range 8 {
			cs = append(cs, h.acquireWith(resource.Request{NoWait: true}))
		}
		time.Sleep(5 * time.Millisecond)
		for _, c := range cs {
			c.wantLease()
		}
		h.wantNoMake()
	})
}

// A resource that fails in time is ended, and the next one tried.
func TestNoWait_Unhealthy(t *testing.T) {
	w := newScriptedHealth()
	script(t, 3, w.in(time.Hour), func(h *harness) {
		its := h.stock(3)
		w.delay(time.Millisecond)
		w.markUnhealthy(its[2])
		l, ok, took := h.tryIn()
		if !ok || l.Value() != its[1] || took != 2*time.Millisecond {
			t.Errorf("TryAcquire: %t after %v, want the second after 2 ms", ok, took)
		}
		defer l.Release()
		h.wantDestroyed(its[2], errSick)
		w.markUnhealthy(its[0])
		if _, ok, _ := h.tryIn(); ok {
			t.Error("lent an unhealthy one")
		}
		h.wantDestroyed(its[0], errSick)
		if n := h.p.Stats().Unhealthy; n != 2 {
			t.Errorf("%d unhealthy, want 2", n)
		}
	})
}

// badEnds are ways not to return.
var badEnds = map[string]func(){
	"panic":  func() { panic(errFault) },
	"goexit": runtime.Goexit,
}

// A check that panics or ends its goroutine costs its resource, and not the
// caller's goroutine.
func TestI9_NoWaitCheck(t *testing.T) {
	for name, f := range badEnds {
		t.Run(name, func(t *testing.T) {
			edit := func(h *harness) {
				h.cfg.SweepInterval = time.Hour
				h.cfg.Health = checkFunc(func(ctx context.Context, it *item, i resource.Info) error {
					if i.Leases > 1 {
						f()
					}
					return nil
				})
			}
			script(t, 2, edit, func(h *harness) {
				it := h.stock(1)[0]
				h.acquire().wantItem(it).Release()
				if _, ok := h.p.TryAcquire(); ok {
					t.Error("lent what a check broke")
				}
				h.wantGone(it)
				h.wantMake() // for the next call
				h.wantLoad(resource.Load{Making: 1})
				if n := h.p.Stats().Panics; n != 1 {
					t.Errorf("%d panics, want 1", n)
				}
			})
		})
	}
}

// The end of the caller's context ends the wait, and not the check; so does
// Close.
func TestNoWait_Leaves(t *testing.T) {
	w := newScriptedHealth()
	script(t, 2, w.in(time.Hour), func(h *harness) {
		it := h.stock(1)[0]
		w.delay(time.Second)
		c := h.acquireWith(resource.Request{NoWait: true})
		c.cancel()
		c.wantErr(context.Canceled)
		h.wantAlive(it)
		time.Sleep(time.Second)
		h.wantAlive(it)
		c = h.acquireWith(resource.Request{NoWait: true})
		done := h.close(time.Minute)
		h.settle()
		if o := c.poll(); o == nil || o.err == nil || !errors.Is(o.err, resource.ErrNoneIdle) && !errors.Is(o.err, resource.ErrClosed) {
			t.Errorf("TryAcquire at Close: %+v", o)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A lease that no caller has had, since it ended for a check, is not among
// Info.Leases: the caller of an acquire that must not wait gets the lease of that
// number, and an Eviction that bounds the number is asked with the right one.
func TestNoWait_LeasesOfInfo(t *testing.T) {
	w := newScriptedHealth()
	edit := func(h *harness) {
		w.in(time.Hour)(h)
		h.cfg.Eviction = evictFunc(func(i resource.Info) error {
			if i.Leases >= 3 {
				return errors.New("worn out")
			}
			return nil
		})
	}
	script(t, 1, edit, func(h *harness) {
		it := h.stock(1)[0]
		for n := int64(2); n <= 3; n++ { // stock has had the first
			l, ok, _ := h.tryIn()
			if !ok || l.Value() != it {
				t.Fatalf("TryAcquire: %t, want the resource in stock for lease %d", ok, n)
			}
			if got := l.Info().Leases; got != n {
				t.Errorf("Info.Leases is %d in lease %d", got, n)
			}
			l.Release()
		}
		synctest.Wait()
		if s := h.p.Stats(); s.Evicted != 1 {
			t.Errorf("%d evicted after three leases of at most three, want 1", s.Evicted)
		}
	})
}

// Trap 18: the health check took everything idle at once, and callers meanwhile
// dialled or waited.
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
