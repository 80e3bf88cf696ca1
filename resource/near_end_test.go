package resource_test

import (
	"context"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// More of MinRemaining, where what it can not use comes back while it waits;
// and of outages, where others than callers want makes.

func hourly(h *harness) {
	h.cfg.Eviction = olderThan(time.Hour)
	h.cfg.SweepInterval = 24 * time.Hour
}

var tenMinutes = resource.Request{MinRemaining: 10 * time.Minute}

// In a full pool, what comes back and is too near its end makes room, if
// nobody else wants it.
func TestMinRemaining_ReleaseMakesRoom(t *testing.T) {
	for name, queue := range map[string]resource.Queue{"no queue": nil, "queue": &listQueue{}} {
		t.Run(name, func(t *testing.T) {
			edit := func(h *harness) {
				hourly(h)
				h.cfg.Queue = queue
			}
			script(t, 1, edit, func(h *harness) {
				l := h.lend()
				old := l.Value()
				time.Sleep(55 * time.Minute)
				c := h.acquireWith(tenMinutes)
				h.wantWaiting(c)
				l.Release()
				h.wantDestroyed(old, resource.ErrNearEnd)
				it := h.wantMakeWithin(time.Second).finish()
				c.wantItem(it)
			})
		})
	}
}

// Two who want long ones and one who does not: each gets what fits.
func TestMinRemaining_Mixed(t *testing.T) {
	script(t, 2, hourly, func(h *harness) {
		ls, its := h.lendN(2)
		time.Sleep(55 * time.Minute)
		long1, long2, short := h.acquireWith(tenMinutes), h.acquireWith(tenMinutes), h.acquire()
		ls[0].Release()
		short.wantItem(its[0])
		ls[1].Release()
		h.wantDestroyed(its[1], resource.ErrNearEnd)
		h.wantMakeWithin(time.Second).finish()
		l := long1.wantLease()
		h.wantWaiting(long2)
		l.Release()
		long2.wantLease()
	})
}

// Without an Eviction nothing is too old, and MinRemaining asks for nothing.
func TestMinRemaining_NoEviction(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		it := h.stock(1)[0]
		time.Sleep(time.Hour)
		h.acquireWith(tenMinutes).wantItem(it)
	})
}

// One that not even a new resource can satisfy is told so, and does not make
// and destroy for ever.
func TestMinRemaining_Impossible(t *testing.T) {
	edit := func(h *harness) {
		hourly(h)
		h.auto = func(m *makeCall) { m.finish() }
	}
	script(t, 2, edit, func(h *harness) {
		c := h.acquireCtx(context.Background(), resource.Request{MinRemaining: 2 * time.Hour})
		c.wantFailedWithin(time.Minute)
		if n := h.begun(); n > 5 {
			t.Errorf("%d makes for a wish that can not be met", n)
		}
	})
}

// NoWait fails where one would have to be made for it.
func TestMinRemaining_NoWait(t *testing.T) {
	script(t, 2, hourly, func(h *harness) {
		it := h.stock(1)[0]
		time.Sleep(55 * time.Minute)
		r := tenMinutes
		r.NoWait = true
		h.acquireWith(r).wantErr(resource.ErrNoneIdle)
		h.wantAlive(it)
		h.acquireWith(resource.Request{NoWait: true}).wantItem(it)
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
func TestOutage_Stillborn(t *testing.T) {
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

// In an outage a waiter hopes for what is leased, and is told when there is
// nothing left to hope for.
func TestOutage_HopeEnds(t *testing.T) {
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
