package resource_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// deadStock fills the pool with n resources that have been idle for long, of which
// only the first keep are alive.
func (h *harness) deadStock(m *silentHealth, n, keep int) []*item {
	h.t.Helper()
	if err := h.p.Warm(context.Background(), n); err != nil {
		h.t.Fatal(err)
	}
	ls := make([]resource.Lease[*item], n)
	its := make([]*item, n)
	for i := range ls {
		ls[i] = h.acquire().wantLease()
		its[i] = ls[i].Value()
	}
	for _, l := range ls {
		l.Release()
	}
	time.Sleep(5 * time.Minute)
	m.kill(its[keep:]...)
	return its
}

// took is how long the acquire took, which must have succeeded.
func (c *call) took() time.Duration {
	c.h.t.Helper()
	c.wantLease()
	return c.got.after
}

// Every idle resource is silently dead. The first caller has one check fail; then a
// resource is made, however many are idle, and later callers wait for no check at
// all.
func TestHealth_AllDead(t *testing.T) {
	for _, c := range []struct{ max, idle int }{{30, 20}, {30, 30}, {210, 200}, {300, 200}, {1, 1}, {2, 2}} {
		for name, order := range map[string]resource.Order{"newest": resource.NewestFirst, "oldest": resource.OldestFirst} {
			t.Run(fmt.Sprintf("%d of %d, %s first", c.idle, c.max, name), func(t *testing.T) {
				m := newSilentHealth(2 * time.Second)
				edit := func(h *harness) {
					m.in(h)
					h.cfg.Order = order
				}
				script(t, c.max, edit, func(h *harness) {
					h.deadStock(m, c.idle, 0)
					first := h.acquireFor(5 * time.Second)
					first.await(5 * time.Second)
					if took := first.took(); took > 2100*time.Millisecond {
						t.Errorf("the first was served after %v, want 2.05 s", took)
					}
					first.got.lease.Release()
					for i := range 20 {
						next := h.acquireFor(5 * time.Second)
						next.await(5 * time.Second)
						if took := next.took(); took > 0 {
							t.Errorf("caller %d was served after %v, with one that works idle", i+2, took)
						}
						next.got.lease.Release()
						time.Sleep(10 * time.Millisecond)
					}
				})
			})
		}
	}
}

// Many callers at once each have one check fail, and no more.
func TestHealth_AllDeadManyCallers(t *testing.T) {
	for _, c := range []struct{ max, idle, callers int }{{30, 20, 10}, {30, 20, 30}, {30, 30, 30}, {300, 200, 100}} {
		t.Run(fmt.Sprintf("%d of %d, %d callers", c.idle, c.max, c.callers), func(t *testing.T) {
			m := newSilentHealth(2 * time.Second)
			script(t, c.max, m.in, func(h *harness) {
				h.deadStock(m, c.idle, 0)
				calls := make([]*call, c.callers)
				for i := range calls {
					calls[i] = h.acquireFor(5 * time.Second)
				}
				time.Sleep(5 * time.Second)
				for i, call := range calls {
					if took := call.took(); took > 2200*time.Millisecond {
						t.Errorf("caller %d was served after %v", i+1, took)
					}
				}
			})
		})
	}
}

// In a full pool, callers that come after the first check do not wait for the
// time-outs of the others: what has not been checked yet makes room.
func TestHealth_AllDeadLateCallers(t *testing.T) {
	for name, queue := range map[string]resource.Queue{"": nil, "with a Queue": &listQueue{}} {
		t.Run(name, func(t *testing.T) {
			m := newSilentHealth(2 * time.Second)
			edit := func(h *harness) {
				m.in(h)
				h.cfg.Queue = queue
			}
			script(t, 30, edit, func(h *harness) {
				h.deadStock(m, 30, 0)
				h.acquireFor(5 * time.Second).wantLeaseWithin(2100 * time.Millisecond)
				calls := make([]*call, 20)
				for i := range calls {
					calls[i] = h.acquireFor(5 * time.Second)
				}
				time.Sleep(5 * time.Second)
				for i, call := range calls {
					if took := call.took(); took > 300*time.Millisecond {
						t.Errorf("caller %d was served after %v", i+1, took)
					}
				}
			})
		})
	}
}

// A single dead one costs no other its life, however many wait.
func TestHealth_OneDeadManyWait(t *testing.T) {
	m := newSilentHealth(2 * time.Second)
	script(t, 30, m.in, func(h *harness) {
		h.deadStock(m, 30, 0)
		calls := []*call{h.acquireFor(5 * time.Second)}
		m.mu.Lock()
		clear(m.dead) // except the one being checked
		m.mu.Unlock()
		time.Sleep(1999 * time.Millisecond)
		for range 20 {
			calls = append(calls, h.acquireFor(5*time.Second))
		}
		time.Sleep(time.Second)
		for _, c := range calls {
			c.wantLease()
		}
		if s := h.p.Stats(); s.Unhealthy != 1 || s.Made > 31 {
			t.Errorf("%v; want one dead, and one made for it at most", s)
		}
	})
}

// A caller each 100 ms: the callers that come while the first check runs have one
// fail themselves; later ones wait for a make at most.
func TestHealth_AllDeadStream(t *testing.T) {
	m := newSilentHealth(2 * time.Second)
	script(t, 200, m.in, func(h *harness) {
		h.deadStock(m, 150, 0)
		calls := make([]*call, 50)
		for i := range calls {
			calls[i] = h.acquireFor(5 * time.Second)
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		for i, call := range calls {
			most := 2100 * time.Millisecond
			if i > 20 {
				most = 100 * time.Millisecond
			}
			if took := call.took(); took > most {
				t.Errorf("caller %d was served after %v, want %v at most", i+1, took, most)
			}
		}
	})
}

// Meanwhile the others are checked, a bounded number at once, until all that are
// dead are gone or one passes; then callers check for themselves again.
func TestHealth_SuspicionEnds(t *testing.T) {
	for name, dead := range map[string]int{"one dead": 1, "all dead": 40} {
		t.Run(name, func(t *testing.T) {
			m := newSilentHealth(2 * time.Second)
			script(t, 40, m.in, func(h *harness) {
				its := h.deadStock(m, 40, 0)
				c := h.acquireFor(5 * time.Second)
				if dead == 1 {
					m.mu.Lock()
					clear(m.dead) // except the one being checked
					m.mu.Unlock()
				}
				c.wantLeaseWithin(2100 * time.Millisecond)
				time.Sleep(20 * time.Second)
				h.settle()
				if n := h.p.Stats().Unhealthy; n != int64(dead) || m.atOnce() > 8 {
					t.Errorf("%d found dead, want %d; %d checks at once", n, dead, m.atOnce())
				}
				if n := m.total(); dead == 1 && n > 10 {
					t.Errorf("%d of %d were checked because one was dead", n, len(its))
				}
				before := m.total()
				time.Sleep(time.Minute)
				if n := m.total(); n != before {
					t.Errorf("%d more checks though the suspicion has ended", n-before)
				}
			})
		})
	}
}

// If an idle resource still works it serves before the make, and is not checked
// again for that. There is no third resource: the background check could reach it
// first while the caller holds the working one, and then the make serves.
func TestHealth_OneLives(t *testing.T) {
	m := newSilentHealth(2 * time.Second)
	edit := func(h *harness) {
		m.in(h)
		h.cfg.Order = resource.OldestFirst
		h.auto = func(c *makeCall) { c.finishAfter(500 * time.Millisecond) }
	}
	script(t, 4, edit, func(h *harness) {
		its := h.deadStock(m, 2, 0)
		m.mu.Lock()
		delete(m.dead, its[1])
		m.mu.Unlock()
		c := h.acquireFor(5 * time.Second)
		time.Sleep(2 * time.Second)
		c.wantItem(its[1])
		if n := m.total(); n != 2 {
			t.Errorf("%d checks, want 2", n)
		}
	})
}

// Callers that leave before a check ends: a resource whose check two of them could
// not wait for is suspect too.
func TestHealth_ShortCallers(t *testing.T) {
	for _, max := range []int{1, 4} {
		t.Run(fmt.Sprint(max), func(t *testing.T) {
			m := newSilentHealth(0)
			edit := func(h *harness) {
				m.in(h)
				h.cfg.MakeTimeout = 3 * time.Second
			}
			script(t, max, edit, func(h *harness) {
				h.deadStock(m, 1, 0)
				h.acquireFor(time.Second).wantFailedWithin(2 * time.Second)
				h.acquireFor(time.Second).wantFailedWithin(2 * time.Second)
				if max == 1 {
					time.Sleep(3 * time.Second)
				}
				h.acquireFor(time.Second).wantLeaseWithin(100 * time.Millisecond)
			})
		})
	}
}

// deafIn is a silentHealth whose checks of the dead never end, in a sweep every 10 s.
func deafIn(h *harness) (m *silentHealth) {
	m = newSilentHealth(0)
	m.deaf, m.over = true, h.over
	m.in(h)
	h.cfg.SweepInterval = 10 * time.Second
	h.cfg.MakeTimeout = time.Second
	return m
}

// Checks that never end keep their own resources and are reported; evictions go on,
// and so do the checks of the others.
func TestI11_SweepCheckHangs(t *testing.T) {
	var m *silentHealth
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
	var m *silentHealth
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

// When the checks return at last their resources end, and the next sweep continues
// where this one could not.
func TestI11_SweepChecksReturnLate(t *testing.T) {
	var m *silentHealth
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
	m := newSilentHealth(2 * time.Second)
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

// A caller that waits while the only idle resource is checked gets a new one when
// the check takes long.
func TestI11_CallerDuringSlowCheck(t *testing.T) {
	m := newSilentHealth(20 * time.Second)
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
			m := newSilentHealth(2 * time.Second)
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
