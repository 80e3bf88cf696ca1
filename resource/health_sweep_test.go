package resource_test

import (
	"context"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// deafIn is a mute whose checks of the dead never end, in a sweep every 10 s.
func deafIn(h *harness) (m *mute) {
	m = newMute(0)
	m.deaf, m.over = true, h.over
	m.in(h)
	h.cfg.SweepInterval = 10 * time.Second
	h.cfg.MakeTimeout = time.Second
	return m
}

// Checks that never end keep their own resources, and are told; evictions go on,
// and so do the checks of the others.
func TestI11_SweepCheckHangs(t *testing.T) {
	var m *mute
	edit := func(h *harness) {
		m = deafIn(h)
		h.cfg.Eviction = olderThan(10 * time.Minute)
	}
	script(t, 16, edit, func(h *harness) { // 4 checks at once
		if err := h.p.Warm(context.Background(), 16); err != nil {
			t.Fatal(err)
		}
		its := h.everything(16)
		m.kill(its[2], its[9])
		time.Sleep(2 * time.Minute)
		h.wantLoad(resource.Load{Idle: 16, Hanging: 2})
		if n := m.total(); n < 16 {
			t.Errorf("%d checks, want all 16", n)
		}
		time.Sleep(10 * time.Minute)
		h.settle()
		if s := h.p.Stats(); s.Evicted != 14 || s.Idle != 2 || s.Hanging != 2 {
			t.Errorf("%v; want 14 evicted, and 2 whose checks hang", s)
		}
		c := h.acquireFor(time.Second)
		c.wantLeaseWithin(time.Second)
		ce := h.wantCloseError(time.Second)
		if ce.Load.Hanging != 2 || ce.Busy < 2 {
			t.Errorf("Close: %v, which does not count the checks", ce)
		}
	})
}

// If all hang only a bounded number do at once, and evictions still go on.
func TestI11_AllSweepChecksHang(t *testing.T) {
	var m *mute
	edit := func(h *harness) {
		m = deafIn(h)
		h.cfg.Eviction = olderThan(10 * time.Minute)
	}
	script(t, 40, edit, func(h *harness) { // 8 checks at once
		if err := h.p.Warm(context.Background(), 40); err != nil {
			t.Fatal(err)
		}
		m.kill(h.everything(40)...)
		time.Sleep(5 * time.Minute)
		h.settle()
		n := h.p.Stats().Hanging
		if n < 8 || n > 16 || m.atOnce() != n {
			t.Errorf("%d checks are overdue, and there were %d at once; want from 8 to 16", n, m.atOnce())
		}
		time.Sleep(10 * time.Minute)
		h.settle()
		if s := h.p.Stats(); s.Evicted != int64(40-n) || s.Idle != n {
			t.Errorf("%v; want %d evicted", s, 40-n)
		}
		h.acquireFor(time.Second).wantLeaseWithin(time.Second)
	})
}

// When they return at last their resources end, and the next sweep goes on where
// this one could not.
func TestI11_SweepChecksReturnLate(t *testing.T) {
	var m *mute
	var over chan struct{}
	edit := func(h *harness) {
		m = deafIn(h)
		m.over = make(chan struct{})
		over = m.over
	}
	script(t, 40, edit, func(h *harness) {
		if err := h.p.Warm(context.Background(), 40); err != nil {
			t.Fatal(err)
		}
		m.kill(h.everything(40)...)
		time.Sleep(5 * time.Minute)
		hung := h.p.Stats().Hanging
		close(over)
		time.Sleep(time.Minute)
		h.settle()
		if s := h.p.Stats(); hung == 0 || s.Hanging != 0 || s.Unhealthy != 40 || s.Idle != 0 {
			t.Errorf("%d hung, then: %v; want all 40 found dead", hung, s)
		}
	})
}

// Checks of a sweep that fail at their time-outs run several at once.
func TestHealth_SweepInParallel(t *testing.T) {
	m := newMute(2 * time.Second)
	edit := func(h *harness) {
		m.in(h)
		h.cfg.SweepInterval = 10 * time.Minute
	}
	script(t, 64, edit, func(h *harness) {
		h.deadStock(m, 64, 0)
		time.Sleep(5*time.Minute + 16*time.Second + 500*time.Millisecond)
		h.settle()
		if n := h.p.Stats().Unhealthy; n != 64 || m.atOnce() != 8 {
			t.Errorf("%d of 64 found dead, %d checks at once, want 8", n, m.atOnce())
		}
	})
}

// Who waits while the only idle resource is checked gets one made when that takes
// long.
func TestI11_CallerDuringSlowCheck(t *testing.T) {
	m := newMute(20 * time.Second)
	edit := func(h *harness) {
		m.in(h)
		h.cfg.SweepInterval = 10 * time.Minute
	}
	script(t, 2, edit, func(h *harness) {
		h.deadStock(m, 1, 0)
		time.Sleep(5*time.Minute + 500*time.Millisecond)
		c := h.acquireFor(5 * time.Second)
		h.wantWaiting(c)
		h.wantLoad(resource.Load{Idle: 1, Waiting: 1})
		if took := c.wantLeaseAfter(); took > 1100*time.Millisecond {
			t.Errorf("served after %v", took)
		}
	})
}

// Resources under a check, and those that wait for one, are idle; Close and
// Resize end the latter at once, and a Reset does.
func TestHealth_UnverifiedEnd(t *testing.T) {
	for name, end := range map[string]func(h *harness) int{
		"Close": func(h *harness) int { h.close(time.Minute); return 0 },
		"Reset": func(h *harness) int { h.p.Reset(nil); return 7 }, // those that are checked
		"Resize": func(h *harness) int {
			h.resize(9)
			return 9
		},
		"invalidate": func(h *harness) int {
			for _, it := range h.everything(29) {
				it.invalidate(errSick)
			}
			return 7
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMute(2 * time.Second)
			script(t, 30, m.in, func(h *harness) {
				h.deadStock(m, 30, 0)
				l := h.acquireFor(5 * time.Second).wantLeaseWithin(2100 * time.Millisecond)
				l.Discard(nil)
				h.settle()
				if s := h.p.Stats(); s.Idle != 29 {
					t.Fatalf("%v, want 29 idle", s)
				}
				want := end(h)
				h.settle()
				if s := h.p.Stats(); s.Idle > want {
					t.Errorf("%v, want at most %d idle", s, want)
				}
			})
		})
	}
}

// everything returns what the pool has, n resources that are idle and never were
// used.
func (h *harness) everything(n int) (its []*item) {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for it := range h.living {
		its = append(its, it)
	}
	if len(its) != n {
		h.t.Fatalf("%d resources, want %d", len(its), n)
	}
	return its
}

// wantLeaseAfter lets time pass until the acquire has succeeded and returns how
// long it took.
func (c *call) wantLeaseAfter() time.Duration {
	c.h.t.Helper()
	c.await(time.Minute)
	return c.took()
}
