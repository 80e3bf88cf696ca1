package resource_test

import (
	"errors"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// Watch is called once for each, before it is lent.
func TestWatch_BeforeLending(t *testing.T) {
	watched := map[*item]int{}
	edit := func(h *harness) { h.onWatch = func(it *item) { watched[it]++ } }
	script(t, 2, edit, func(h *harness) {
		for range 2 {
			l := h.lend()
			if watched[l.Value()] != 1 {
				t.Errorf("item %d was watched %d times before it was lent", l.Value().n, watched[l.Value()])
			}
		}
	})
}

// invalidate of an idle one ends it at once; it is not lent again.
func TestWatch_InvalidateIdle(t *testing.T) {
	died := errors.New("died")
	script(t, 2, nil, func(h *harness) {
		its := h.stock(2)
		its[1].invalidate(died)
		h.wantDestroyed(its[1], died)
		h.acquire().wantItem(its[0])
		if n := h.p.Stats().Invalidated; n != 1 {
			t.Errorf("%d invalidated, want 1", n)
		}
	})
}

// invalidate of a leased one waits for its holder, who is not disturbed; nobody
// else gets it, not even who waits already.
func TestWatch_InvalidateLeased(t *testing.T) {
	died := errors.New("died")
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		it := l.Value()
		c := h.acquire()
		it.invalidate(died)
		h.wantAlive(it)
		if l.Value() != it {
			t.Error("the holder lost it")
		}
		l.Release()
		h.wantDestroyed(it, died)
		next := h.wantMakeWithin(time.Second).finish()
		c.wantItem(next)
	})
}

// Any number of calls, with and without a cause: the first one counts.
func TestWatch_InvalidateAgain(t *testing.T) {
	first := errors.New("first")
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		it := l.Value()
		it.invalidate(first)
		it.invalidate(errors.New("second"))
		it.invalidate(nil)
		l.Release()
		h.wantDestroyed(it, first)
		it.invalidate(errors.New("late"))
		if n := h.p.Stats().Invalidated; n != 1 {
			t.Errorf("%d invalidated, want 1", n)
		}
	})
}

// The first cause stays: a Reset after the invalidate does not change it.
func TestWatch_InvalidateThenReset(t *testing.T) {
	first := errors.New("first")
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		it := l.Value()
		it.invalidate(first)
		h.p.Reset(errors.New("second"))
		l.Release()
		h.wantDestroyed(it, first)
	})
}

// Without a cause it is ErrInvalidated.
func TestWatch_InvalidateNil(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		it := h.stock(1)[0]
		it.invalidate(nil)
		h.wantDestroyed(it, resource.ErrInvalidated)
	})
}

// invalidate from within Watch: it is never lent, and the waiter gets another.
func TestWatch_InvalidateAtBirth(t *testing.T) {
	died := errors.New("stillborn")
	edit := func(h *harness) {
		h.onWatch = func(it *item) {
			if it.n == 1 {
				it.invalidate(died)
			}
		}
	}
	script(t, 1, edit, func(h *harness) {
		c := h.acquire()
		first := h.wantMake().finish()
		h.wantDestroyed(first, died)
		it := h.wantMakeWithin(time.Second).finish()
		c.wantItem(it)
	})
}

// invalidate of a hijacked one does nothing: it is not the pool's.
func TestWatch_InvalidateHijacked(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		it, _ := h.hijack(h.lend())
		it.invalidate(nil)
		h.wantLoad(resource.Load{})
		if n := h.p.Stats().Invalidated; n != 0 {
			t.Errorf("%d invalidated, want 0", n)
		}
	})
}

// The causes that the holder gives.
func TestCauses(t *testing.T) {
	why := errors.New("why")
	for name, test := range map[string]struct {
		end  func(l resource.Lease[*item])
		want error
	}{
		"discard":     {func(l resource.Lease[*item]) { l.Discard(why) }, why},
		"discard nil": {func(l resource.Lease[*item]) { l.Discard(nil) }, resource.ErrDiscarded},
		"fail":        {func(l resource.Lease[*item]) { l.Fail(why) }, why},
	} {
		t.Run(name, func(t *testing.T) {
			var event resource.DestroyEvent
			edit := func(h *harness) {
				slowDestroy(h)
				h.cfg.Trace = &resource.Trace{Destroyed: func(e resource.DestroyEvent) { event = e }}
			}
			script(t, 1, edit, func(h *harness) {
				l := h.lend()
				it := l.Value()
				test.end(l)
				time.Sleep(time.Second)
				h.wantDestroyed(it, test.want)
				if !errors.Is(event.Cause, test.want) || event.Took != time.Second || event.Info.ID != 1 {
					t.Errorf("the event is %+v", event)
				}
			})
		})
	}
}
