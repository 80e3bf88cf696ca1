package resource_test

import (
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// Info of a lease tells for how long its resource was idle before, whichever way
// it was acquired.
func TestLease_IdleBefore(t *testing.T) {
	try := func(h *harness) resource.Lease[*item] {
		l, ok := h.p.TryAcquire()
		if !ok {
			h.t.Fatal("nothing idle")
		}
		return l
	}
	for name, tc := range map[string]struct {
		edit    func(h *harness)
		acquire func(h *harness) resource.Lease[*item]
	}{
		"newest first": {acquire: (*harness).lend},
		"oldest first": {edit: func(h *harness) { h.cfg.Order = resource.OldestFirst }, acquire: (*harness).lend},
		"admission":    {edit: func(h *harness) { h.cfg.Admission = &ledger{} }, acquire: (*harness).lend},
		"sampled":      {edit: newBook().in(1), acquire: (*harness).lend},
		"queue":        {edit: func(h *harness) { h.cfg.Queue = &listQueue{} }, acquire: (*harness).lend},
		"try":          {acquire: try},
	} {
		edit := func(h *harness) {
			h.auto = func(m *makeCall) { m.finish() }
			if tc.edit != nil {
				tc.edit(h)
			}
		}
		script(t, 1, edit, func(h *harness) {
			h.lend().Release()
			for _, idle := range []time.Duration{0, 40 * time.Millisecond, time.Second, 50 * time.Hour, 40 * 24 * time.Hour} {
				// In use, the clock runs and the resource is on a seat.
				h.lend().Release()
				time.Sleep(idle)
				l := tc.acquire(h)
				want := min(idle, 31*24*time.Hour)
				for range 2 {
					if i := l.Info(); !near(i.Idle, want) && !(idle > want && i.Idle >= want && i.Idle <= idle) {
						t.Errorf("%s: idle for %v, want %v", name, i.Idle, idle)
					}
					time.Sleep(time.Hour) // it does not change
				}
				l.Release()
			}
			waiting := h.lend()
			c := h.acquire()
			h.wantWaiting(c)
			time.Sleep(time.Hour)
			waiting.Release()
			l := c.wantLease()
			if i := l.Info(); i.Idle != 0 {
				t.Errorf("%s: idle for %v, and was handed over", name, i.Idle)
			}
			l.Release()
		})
	}
}
