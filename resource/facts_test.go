package resource_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// What policies are told besides age and idle time: Info.Checked and
// Failures; and what they can say: Scheduled and ErrTolerated.

var errFlaky = fmt.Errorf("lost a packet: %w", resource.ErrTolerated)

// clinic is a Scheduled Health that keeps what it was told.
type clinic struct {
	mu       sync.Mutex
	due      func(i resource.Info) bool  // nil: always
	verdict  func(i resource.Info) error // nil: well
	asked    []resource.Info             // by Due
	examined []resource.Info             // by Check
}

func (c *clinic) Due(i resource.Info) bool {
	c.mu.Lock()
	c.asked = append(c.asked, i)
	due := c.due
	c.mu.Unlock()
	return due == nil || due(i)
}

func (c *clinic) Check(_ context.Context, _ *item, i resource.Info) error {
	c.mu.Lock()
	c.examined = append(c.examined, i)
	verdict := c.verdict
	c.mu.Unlock()
	if verdict == nil {
		return nil
	}
	return verdict(i)
}

func (c *clinic) in(sweep time.Duration) func(h *harness) {
	return func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		h.cfg.Health, h.cfg.SweepInterval = c, sweep
	}
}

// when changes what is due.
func (c *clinic) when(due func(i resource.Info) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due = due
}

// says changes what checks find.
func (c *clinic) says(verdict func(i resource.Info) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.verdict = verdict
}

// asks is how often Due was asked, and seen the IDs of those checked.
func (c *clinic) asks() (due int, seen []uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.examined {
		seen = append(seen, i.ID)
	}
	return len(c.asked), seen
}

// last is what Check was told last, and how often it was asked.
func (c *clinic) last() (resource.Info, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.examined) == 0 {
		return resource.Info{}, 0
	}
	return c.examined[len(c.examined)-1], len(c.examined)
}

// Checked is the age until a check has passed, and then the time since; leases
// do not change it.
func TestInfo_Checked(t *testing.T) {
	c := &clinic{}
	script(t, 1, c.in(time.Hour), func(h *harness) {
		it := h.stock(1)[0] // was checked when it was new
		time.Sleep(10 * time.Second)
		h.acquire().wantItem(it).Release()
		if i, _ := c.last(); !near(i.Checked, 10*time.Second) || !near(i.Age, 10*time.Second) {
			t.Errorf("10s after the first check it was told %+v", i)
		}
		c.when(func(resource.Info) bool { return false })
		time.Sleep(5 * time.Second)
		l := h.acquire().wantItem(it)
		if i := l.Info(); !near(i.Checked, 5*time.Second) || !near(i.Age, 15*time.Second) {
			t.Errorf("5s after the second check the holder is told %+v", i)
		}
		l.Release()
	})
}

func TestInfo_CheckedNever(t *testing.T) {
	c := &clinic{due: func(resource.Info) bool { return false }}
	script(t, 1, c.in(time.Hour), func(h *harness) {
		h.stock(1)
		time.Sleep(7 * time.Second)
		l := h.lend()
		if i := l.Info(); i.Checked != i.Age || !near(i.Age, 7*time.Second) {
			t.Errorf("never checked, and told %+v", i)
		}
		l.Release()
	})
}

// A check in the sweep counts like one before a lease.
func TestInfo_CheckedInSweep(t *testing.T) {
	c := &clinic{due: func(i resource.Info) bool { return i.Checked >= 25*time.Second }}
	script(t, 1, c.in(10*time.Second), func(h *harness) {
		h.stock(1)
		time.Sleep(65 * time.Second) // sweeps at 10, 20, … 60
		if i, n := c.last(); n != 2 || !near(i.Checked, 30*time.Second) || !near(i.Age, 60*time.Second) {
			t.Errorf("%d checks, the last was told %+v, want 2 with 30s between", n, i)
		}
	})
}

// A tolerated failure keeps the resource, and is counted until a check passes.
func TestHealth_Tolerated(t *testing.T) {
	c := &clinic{}
	var traced []resource.CheckEvent
	edit := func(h *harness) {
		c.in(time.Hour)(h)
		h.cfg.Trace = &resource.Trace{Checked: func(e resource.CheckEvent) { traced = append(traced, e) }}
	}
	script(t, 1, edit, func(h *harness) {
		it := h.stock(1)[0]
		flaky := func(resource.Info) error { return errFlaky }
		for n, verdict := range []func(resource.Info) error{flaky, flaky, nil, flaky} {
			want := []int{0, 1, 2, 0}[n]
			time.Sleep(time.Second)
			c.says(verdict)
			l := h.acquire().wantItem(it)
			if i, _ := c.last(); i.Failures != want {
				t.Errorf("check %d was told of %d failures, want %d", n, i.Failures, want)
			}
			if after := l.Info().Failures; (verdict == nil) != (after == 0) {
				t.Errorf("after check %d: %d failures", n, after)
			}
			l.Release()
		}
		time.Sleep(time.Second)
		h.acquire().wantItem(it).Release()
		if i, _ := c.last(); i.Failures != 1 || !near(i.Checked, 2*time.Second) {
			t.Errorf("a tolerated failure counts as a check passed: %+v", i)
		}
		failed := slices.DeleteFunc(traced, func(e resource.CheckEvent) bool { return e.Err == nil })
		if s := h.p.Stats(); s.Unhealthy != 0 || s.Panics != 0 || len(failed) != 4 {
			t.Errorf("%+v; %d failed checks traced, want 4", s, len(failed))
		}
		c.says(func(i resource.Info) error {
			if i.ID == 1 {
				return errSick
			}
			return nil
		})
		h.acquire().wantLeaseWithin(time.Second)
		h.wantDestroyed(it, errSick)
	})
}

// So it does in the sweep.
func TestHealth_ToleratedInSweep(t *testing.T) {
	c := &clinic{verdict: func(i resource.Info) error {
		switch {
		case i.Age < 5*time.Second:
			return nil
		case i.Failures < 2:
			return errFlaky
		}
		return errSick
	}}
	script(t, 2, c.in(10*time.Second), func(h *harness) {
		it := h.stock(1)[0]
		time.Sleep(25 * time.Second)
		h.wantAlive(it)
		h.wantLoad(resource.Load{Idle: 1})
		time.Sleep(10 * time.Second)
		h.wantDestroyed(it, errSick)
		if s := h.p.Stats(); s.Unhealthy != 1 {
			t.Errorf("%d unhealthy, want 1", s.Unhealthy)
		}
	})
}

// Where Due returns false nothing is checked, at an acquire or in the sweep.
func TestHealth_Scheduled(t *testing.T) {
	c := &clinic{due: func(i resource.Info) bool { return i.Idle >= 40*time.Second }}
	script(t, 2, c.in(30*time.Second), func(h *harness) {
		its := h.stock(2)
		h.acquire().wantItem(its[1]).Release()
		time.Sleep(35 * time.Second) // a sweep
		if _, n := c.last(); n != 0 {
			t.Errorf("%d checks, none was due", n)
		}
		if n, _ := c.asks(); n < 4 {
			t.Errorf("Due was asked %d times, want at each acquire and in the sweep", n)
		}
		time.Sleep(10 * time.Second)
		c.says(func(i resource.Info) error {
			if i.ID <= 2 {
				return errSick
			}
			return nil
		})
		h.acquire().wantLeaseWithin(time.Second)
		h.wantDestroyed(its[0], errSick)
		h.wantDestroyed(its[1], errSick)
	})
}

// A Due that panics counts as true, and is counted; one that ends its goroutine
// does not end the sweep.
func TestI9_DueInSweep(t *testing.T) {
	for _, goexit := range []bool{false, true} {
		c := &clinic{due: func(i resource.Info) bool {
			if i.Age < 5*time.Second || i.ID != 1 {
				return i.Age >= 5*time.Second
			}
			if goexit {
				runtime.Goexit()
			}
			panic(errFault)
		}}
		script(t, 3, c.in(10*time.Second), func(h *harness) {
			h.stock(3)
			time.Sleep(15 * time.Second) // one sweep
			_, ids := c.asks()
			slices.Sort(ids)
			want := []uint64{1, 2, 3}
			if goexit {
				want = want[1:]
			}
			if !slices.Equal(ids, want) || h.p.Stats().Panics != 1 {
				t.Errorf("goexit %t: checked %v, want %v; %d panics", goexit, ids, want, h.p.Stats().Panics)
			}
			c.when(func(resource.Info) bool { return false })
			h.wantLoad(resource.Load{Idle: 3})
			time.Sleep(10 * time.Second)
			h.wantLoad(resource.Load{Idle: 3})
		})
	}
}
