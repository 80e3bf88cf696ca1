package resource_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// mute is a server that is gone without a word: a check of what was made before
// ends with its time-out, if it ends at all. Resources are checked when they
// have been idle for a minute.
type mute struct {
	timeout time.Duration // of a check; 0: only its context ends it
	deaf    bool          // not even that: it ends when over is closed
	over    chan struct{}

	mu        sync.Mutex
	dead      map[*item]bool
	now, most int // checks at once
	checks    int
}

func newMute(timeout time.Duration) *mute {
	return &mute{timeout: timeout, dead: map[*item]bool{}, over: make(chan struct{})}
}

func (m *mute) Due(i resource.Info) bool { return i.Idle >= time.Minute && i.Checked >= time.Minute }

func (m *mute) Check(ctx context.Context, it *item, _ resource.Info) error {
	m.mu.Lock()
	m.checks++
	m.now++
	m.most = max(m.most, m.now)
	dead := m.dead[it]
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.now--
	}()
	if !dead {
		return nil
	}
	if m.deaf {
		<-m.over
		return errSick
	}
	var timeout <-chan time.Time
	if m.timeout > 0 {
		timeout = time.After(m.timeout)
	}
	select {
	case <-timeout:
		return errSick
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *mute) kill(its ...*item) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, it := range its {
		m.dead[it] = true
	}
}

// atOnce is how many checks have run at once.
func (m *mute) atOnce() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.most
}

func (m *mute) total() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.checks
}

// in is an edit with makes that take 50 ms and no sweep.
func (m *mute) in(h *harness) {
	h.cfg.Health, h.cfg.SweepInterval = m, time.Hour
	h.auto = func(c *makeCall) { c.finishAfter(50 * time.Millisecond) }
}

// deadStock fills the pool with n resources that have been idle for long, and of
// which the first keep ones live.
func (h *harness) deadStock(m *mute, n, keep int) []*item {
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

// All that is idle is silently dead. The first caller has one check fail; then a
// resource is made, however many are idle, and whoever comes later does not wait
// for a check at all.
func TestHealth_AllDead(t *testing.T) {
	for _, c := range []struct{ max, idle int }{{30, 20}, {30, 30}, {210, 200}, {300, 200}, {1, 1}, {2, 2}} {
		for name, order := range map[string]resource.Order{"newest": resource.NewestFirst, "oldest": resource.OldestFirst} {
			t.Run(fmt.Sprintf("%d of %d, %s first", c.idle, c.max, name), func(t *testing.T) {
				m := newMute(2 * time.Second)
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
			m := newMute(2 * time.Second)
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
			m := newMute(2 * time.Second)
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
	m := newMute(2 * time.Second)
	script(t, 30, m.in, func(h *harness) {
		h.deadStock(m, 30, 0)
		calls := []*call{h.acquireFor(5 * time.Second)}
		m.mu.Lock()
		clear(m.dead) // but for the one that is being checked
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

// A caller each 100 ms: those that come while the first check runs have one fail
// themselves; those that come later wait for a make at most.
func TestHealth_AllDeadStream(t *testing.T) {
	m := newMute(2 * time.Second)
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
			m := newMute(2 * time.Second)
			script(t, 40, m.in, func(h *harness) {
				its := h.deadStock(m, 40, 0)
				c := h.acquireFor(5 * time.Second)
				if dead == 1 {
					m.mu.Lock()
					clear(m.dead) // but for the one that is being checked
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

// If one that is idle still works it serves before the make, and is not checked
// again for that. There is no third one: the check in the background could meet it
// first while the caller has the one that works in its hands, and then the make
// serves.
func TestHealth_OneLives(t *testing.T) {
	m := newMute(2 * time.Second)
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

// Callers with less patience than a check: what two of them could not wait for is
// suspect too.
func TestHealth_ShortCallers(t *testing.T) {
	for _, max := range []int{1, 4} {
		t.Run(fmt.Sprint(max), func(t *testing.T) {
			m := newMute(0)
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
