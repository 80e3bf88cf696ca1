package resource_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// A waiter takes whichever comes first; nobody is tied to a make.

// The make that nobody needs any more goes to the shelf.
func TestLateBinding_ReleaseBeatsMake(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		l := h.lend()
		it := l.Value()
		c := h.acquire()
		m := h.wantMake()
		l.Release()
		c.wantItem(it)
		late := m.finish()
		h.wantLoad(resource.Load{Idle: 1, Leased: 1})
		h.acquire().wantItem(late)
		h.wantNoMake()
	})
}

// A make serves who has waited longest, not who set it off.
func TestLateBinding_MakeServesTheFirst(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		c1, c2 := h.acquire(), h.acquire()
		ms := h.wantMakes(2)
		second := ms[1].finish()
		c1.wantItem(second)
		first := ms[0].finish()
		c2.wantItem(first)
	})
}

// A make that fails is told to one; the other make still serves the other.
func TestLateBinding_OneFailsOneServes(t *testing.T) {
	boom := errors.New("boom")
	script(t, 2, nil, func(h *harness) {
		c1, c2 := h.acquire(), h.acquire()
		ms := h.wantMakes(2)
		ms[0].fail(boom)
		c1.wantErr(boom)
		h.wantWaiting(c2)
		ms[1].finish()
		c2.wantLease()
	})
}

// When all callers have left, what was begun for them is kept, and nothing
// more is begun.
func TestLateBinding_CallersLeave(t *testing.T) {
	script(t, 3, nil, func(h *harness) {
		c1, c2 := h.acquire(), h.acquire()
		ms := h.wantMakes(2)
		c1.cancel()
		c2.cancel()
		h.wantLoad(resource.Load{Making: 2})
		for _, m := range ms {
			m.finish()
		}
		h.wantLoad(resource.Load{Idle: 2})
		time.Sleep(time.Minute)
		h.wantNoMake()
	})
}

// Makes that nobody waits for any more are not started: the releases served
// those for whom they would have been.
func TestLateBinding_SurplusIsNotStarted(t *testing.T) {
	script(t, 10, nil, func(h *harness) {
		ls, _ := h.lendN(2)
		cs := []*call{h.acquire(), h.acquire(), h.acquire(), h.acquire()}
		m := h.wantMake() // one at once
		for range 2 {
			for _, l := range ls {
				l.Release()
			}
			ls = ls[:0]
			for _, c := range cs[:2] {
				ls = append(ls, c.wantLease())
			}
			cs = cs[2:]
		}
		time.Sleep(10 * time.Second)
		h.wantNoMake()
		m.finish()
		h.wantLoad(resource.Load{Idle: 1, Leased: 2})
	})
}

// The waiter gets it at once, in the same instant.
func TestLateBinding_HandOffTakesNoTime(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		c := h.acquire()
		time.Sleep(time.Second)
		l.Release()
		got := c.wantLease()
		if c.got.after != time.Second {
			t.Errorf("the acquire took %v, want 1s", c.got.after)
		}
		if i := got.Info(); i.Leases != 2 || i.Idle > 20*time.Millisecond {
			t.Errorf("Info is %+v, want the second lease and no idle time", i)
		}
	})
}

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

// A nil context value in the caller's context, a make without any: what the
// make sees of its caller are the values only.
func TestMakeContext(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), classKey{}, 7), time.Second)
		defer cancel()
		c := h.acquireCtx(ctx, resource.Request{})
		m := h.wantMake()
		if m.ctx.Value(classKey{}) != 7 {
			t.Error("the make does not see its caller's values")
		}
		if d, ok := m.ctx.Deadline(); ok {
			t.Errorf("the make's context, which lives as long as the resource, has a deadline in %v", time.Until(d))
		}
		time.Sleep(time.Second)
		c.wantErr(context.DeadlineExceeded)
		if m.ctx.Err() != nil {
			t.Error("the make ended with its caller")
		}
		m.finish()
		h.wantLoad(resource.Load{Idle: 1})
	})
}
