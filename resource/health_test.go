package resource_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// A resource found unhealthy at an acquire is ended, and the next one lent.
func TestHealth_OnBorrow(t *testing.T) {
	w := newScriptedHealth()
	var events []resource.CheckEvent
	edit := func(h *harness) {
		w.in(time.Hour)(h)
		h.cfg.Trace = &resource.Trace{Checked: func(e resource.CheckEvent) { events = append(events, e) }}
	}
	script(t, 2, edit, func(h *harness) {
		its := h.stock(2)
		w.markUnhealthy(its[1])
		w.delay(15 * time.Millisecond)
		h.acquire().wantLeaseWithin(time.Second)
		h.wantAlive(its[0])
		h.wantDestroyed(its[1], errSick)
		h.wantNoMake()
		if n := h.p.Stats().Unhealthy; n != 1 {
			t.Errorf("%d unhealthy, want 1", n)
		}
		for i, want := range []struct {
			id   uint64
			took time.Duration
			err  error
		}{{1, 0, nil}, {2, 0, nil}, {2, 15 * time.Millisecond, errSick}, {1, 15 * time.Millisecond, nil}} {
			if len(events) != 4 || events[i].Info.ID != want.id || events[i].Took != want.took || !errors.Is(events[i].Err, want.err) {
				t.Fatalf("event %d of %+v is not %+v", i, events, want)
			}
		}
	})
}

// A waiter gets a resource that has passed its check in the background, and does not check it again,
// though a check is always due; also if a Queue chooses the waiter a moment later.
func TestHealth_CheckedOnceForAWaiter(t *testing.T) {
	for name, queued := range map[string]bool{"no Queue": false, "Queue": true} {
		t.Run(name, func(t *testing.T) {
			w := newScriptedHealth()
			var slow atomic.Bool
			edit := func(h *harness) {
				w.in(time.Hour)(h)
				if queued {
					h.cfg.Queue = &listQueue{hook: func(m string) {
						if m == "Push" && slow.Load() {
							time.Sleep(150 * ms) // in the bubble of script
						}
					}}
				}
			}
			script(t, 2, edit, func(h *harness) {
				its := h.stock(2)
				time.Sleep(time.Second) // in the bubble of script
				w.markUnhealthy(its[1])
				w.delay(200 * ms)
				before := w.checked(its[0])
				c := h.acquire()
				time.Sleep(200 * ms) // its[1] fails, after so long that its[0] is suspect
				h.wantDestroyed(its[1], errSick)
				h.wantWaiting(c)
				time.Sleep(150 * ms) // in the bubble of script
				slow.Store(true)
				h.acquire()         // the Queue takes this one in while the check ends, and so gives c out later
				time.Sleep(50 * ms) // in the bubble of script
				if queued {
					h.wantWaiting(c)
					time.Sleep(100 * ms) // in the bubble of script
				}
				c.wantItem(its[0])
				if n := w.checked(its[0]) - before; n != 1 {
					t.Errorf("%d checks, want 1", n)
				}
			})
		})
	}
}

// A sweep has a quarter of the maximum checked at once, at least one and at most eight.
func TestHealth_ChecksAtOnce(t *testing.T) {
	for size, want := range map[int]int{1: 1, 7: 1, 8: 2, 20: 5, 40: 8} {
		w := newScriptedHealth()
		script(t, size, w.in(10*time.Second), func(h *harness) {
			h.stock(size)
			w.delay(100 * ms)
			w.takeMost()
			time.Sleep(19 * time.Second) // in the bubble of script
			if most := w.takeMost(); most != want {
				t.Errorf("of %d idle resources %d were checked at once, want %d", size, most, want)
			}
		})
	}
}

// A sweep asks Due about idle resources alone.
func TestHealth_DueOfIdle(t *testing.T) {
	var mu sync.Mutex
	asked := map[uint64]int{}
	edit := func(h *harness) {
		h.cfg.SweepInterval = 10 * time.Second
		h.cfg.Health = scheduled[*item]{due: func(i resource.Info) bool {
			mu.Lock()
			defer mu.Unlock()
			asked[i.ID]++
			return false
		}}
	}
	script(t, 3, edit, func(h *harness) {
		ls, _ := h.lendN(3)
		idle := ls[1].Info().ID
		ls[1].Release()
		mu.Lock()
		clear(asked)
		mu.Unlock()
		time.Sleep(11 * time.Second) // in the bubble of script
		mu.Lock()
		defer mu.Unlock()
		if len(asked) != 1 || asked[idle] != 1 {
			t.Errorf("asked so often about each: %v, want once about %d", asked, idle)
		}
	})
}

// MinIdle is refilled when an acquire has turned down an idle resource, and not only when its Destroy
// has returned.
func TestHealth_RefillsAtOnce(t *testing.T) {
	w := newScriptedHealth()
	edit := func(h *harness) {
		w.in(time.Hour)(h)
		h.cfg.MinIdle = 2
		slowDestroy(h)
	}
	script(t, 3, edit, func(h *harness) {
		for _, m := range h.wantMakes(2) {
			m.finish()
		}
		l := h.acquire().wantLease()
		first := l.Value()
		l.Release()
		w.markUnhealthy(first)
		if got := h.acquire().wantLease().Value(); got == first {
			t.Fatalf("item %d was lent", got.n)
		}
		h.wantMake()
	})
}

// The sweep reports each check, but not those cut short by Close or by the end of
// the caller's context.
func TestHealth_SeesInfo(t *testing.T) {
	w := newScriptedHealth()
	var mu sync.Mutex
	var events []resource.CheckEvent
	take := func() (got []resource.CheckEvent) {
		mu.Lock()
		defer mu.Unlock()
		got, events = events, nil
		return got
	}
	edit := func(h *harness) {
		w.in(10 * time.Second)(h)
		h.cfg.Trace = &resource.Trace{Checked: func(e resource.CheckEvent) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, e)
		}}
	}
	script(t, 2, edit, func(h *harness) {
		w.delay(time.Millisecond)
		h.auto = func(m *makeCall) { m.finish() }
		l, l2 := h.lend(), h.lend()
		w.markUnhealthy(l.Value())
		l.Release()
		l2.Release()
		take()
		time.Sleep(11 * time.Second)
		h.settle()
		if events := take(); len(events) != 2 || events[0].Took != time.Millisecond || events[1].Took != time.Millisecond ||
			(events[0].Err == nil) == (events[1].Err == nil) {
			t.Errorf("the events are %+v, want one that passed and one that failed", events)
		}
		w.delay(time.Hour)
		h.acquireFor(time.Second).wantFailedWithin(2 * time.Second)
		time.Sleep(9 * time.Second)
		h.close(time.Second)
		if events := take(); len(events) != 0 {
			t.Errorf("reported checks that were cut short: %+v", events)
		}
	})
}

// If none is well, one is made; the caller does not see the illness.
func TestHealth_AllUnhealthy(t *testing.T) {
	w := newScriptedHealth()
	script(t, 3, w.in(time.Hour), func(h *harness) {
		its := h.stock(3)
		w.markUnhealthy(its...)
		c := h.acquire()
		for _, it := range its {
			h.wantDestroyed(it, errSick)
		}
		it := h.wantMakeWithin(time.Second).finish()
		c.wantItem(it)
	})
}

// The sweep finds unhealthy resources that no caller acquires, one check at a time,
// and makes nothing because of it.
func TestHealth_InSweep(t *testing.T) {
	w := newScriptedHealth()
	script(t, 4, w.in(10*time.Second), func(h *harness) {
		its := h.stock(4)
		w.markUnhealthy(its[1], its[3])
		w.delay(10 * time.Millisecond)
		time.Sleep(15 * time.Second)
		h.wantDestroyed(its[1], errSick)
		h.wantDestroyed(its[3], errSick)
		h.wantAlive(its[0], its[2])
		h.wantNoMake()
		if w.most != 1 {
			t.Errorf("%d checks at once, want 1", w.most)
		}
	})
}

// While one resource is checked the others are lent; no make begins because of a
// check, not even for a caller that finds nothing else idle.
func TestHealth_SweepNeverMakes(t *testing.T) {
	w := newScriptedHealth()
	script(t, 3, w.in(10*time.Second), func(h *harness) {
		its := h.stock(1)
		w.delay(time.Second)
		time.Sleep(10500 * time.Millisecond) // in the middle of the check
		h.wantLoad(resource.Load{Idle: 1})
		w.delay(0)
		c := h.acquire()
		time.Sleep(time.Second)
		c.wantItem(its[0])
		h.wantNoMake()
	})
}

// The check leaves the order as it was.
func TestHealth_KeepsOrder(t *testing.T) {
	for name, order := range map[string]resource.Order{"newest": resource.NewestFirst, "oldest": resource.OldestFirst} {
		t.Run(name, func(t *testing.T) {
			w := newScriptedHealth()
			edit := func(h *harness) {
				w.in(10 * time.Second)(h)
				h.cfg.Order = order
			}
			script(t, 4, edit, func(h *harness) {
				its := h.stock(4)
				w.delay(time.Millisecond)
				time.Sleep(35 * time.Second)
				w.delay(0)
				if order == resource.NewestFirst {
					its[0], its[1], its[2], its[3] = its[3], its[2], its[1], its[0]
				}
				for _, it := range its {
					h.acquire().wantItem(it)
				}
				for _, it := range its {
					if w.checks[it] < 3 {
						t.Errorf("item %d was checked %d times, want at least 3", it.n, w.checks[it])
					}
				}
			})
		})
	}
}

// A check does not make a resource younger: its idle time continues.
func TestHealth_KeepsIdleTime(t *testing.T) {
	w := newScriptedHealth()
	script(t, 1, w.in(10*time.Second), func(h *harness) {
		it := h.stock(1)[0]
		time.Sleep(65 * time.Second)
		h.acquire().wantItem(it)
		if !near(w.last.Idle, 65*time.Second) || w.checks[it] < 5 {
			t.Errorf("idle for %v, want 65s; checked %d times", w.last.Idle, w.checks[it])
		}
	})
}

// Nor does waiting for the end of a sweep's check: the Info of the caller's own
// check says how long the resource was idle.
func TestHealth_IdleTimeAfterSweep(t *testing.T) {
	w := newScriptedHealth()
	script(t, 1, w.in(10*time.Second), func(h *harness) {
		it := h.stock(1)[0]
		w.delay(time.Second)
		time.Sleep(10500 * time.Millisecond) // in the middle of the check
		w.delay(0)
		c := h.acquire()
		h.wantWaiting(c)
		time.Sleep(500 * time.Millisecond)
		c.wantItem(it)
		if !near(w.last.Idle, 11*time.Second) {
			t.Errorf("check %d got an idle time of %v, want 11s", w.checks[it], w.last.Idle)
		}
	})
}

// A caller that leaves during a check does not make the resource unhealthy.
func TestHealth_CancelledCaller(t *testing.T) {
	w := newScriptedHealth()
	script(t, 1, w.in(time.Hour), func(h *harness) {
		it := h.stock(1)[0]
		w.delay(time.Second)
		c := h.acquire()
		h.wantWaiting(c)
		time.Sleep(500 * time.Millisecond)
		c.cancel()
		c.wantErr(context.Canceled)
		h.wantAlive(it)
		h.wantLoad(resource.Load{Idle: 1})
		if n := h.p.Stats().Unhealthy; n != 0 {
			t.Errorf("%d unhealthy, want 0", n)
		}
		w.delay(0)
		h.acquire().wantItem(it)
	})
}

// A waiter gets the resource when another caller's check of it ends in a
// cancellation.
func TestHealth_CancelledCallerPassesOn(t *testing.T) {
	w := newScriptedHealth()
	script(t, 1, w.in(time.Hour), func(h *harness) {
		it := h.stock(1)[0]
		w.delay(time.Second)
		c1 := h.acquire()
		c2 := h.acquire()
		time.Sleep(500 * time.Millisecond)
		w.delay(0)
		c1.cancel()
		c1.wantErr(context.Canceled)
		c2.wantItem(it)
		h.wantNoMake()
	})
}

// A check has the resource to itself: a invalidate meanwhile ends it, once.
func TestHealth_InvalidateDuringCheck(t *testing.T) {
	died := errors.New("died")
	w := newScriptedHealth()
	script(t, 2, w.in(time.Hour), func(h *harness) {
		it := h.stock(1)[0]
		w.delay(time.Second)
		c := h.acquire()
		it.invalidate(died)
		h.settle()
		time.Sleep(time.Second)
		h.wantDestroyed(it, died)
		w.delay(0)
		if m := h.wantMakeWithin(time.Second); m != nil {
			m.finish()
		}
		c.wantLease()
	})
}

// Close does not wait for a sweep's check that listens to its context.
func TestHealth_CloseDuringSweep(t *testing.T) {
	w := newScriptedHealth()
	script(t, 1, w.in(time.Second), func(h *harness) {
		h.stock(1)
		w.delay(time.Hour)
		time.Sleep(1500 * time.Millisecond)
		done := h.close(time.Minute)
		began := time.Now()
		if err := <-done; err != nil {
			t.Errorf("Close: %v", err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("Close took %v", took)
		}
	})
}

// What policies see besides age and idle time: Info.Checked and Failures; and what
// they can return: Scheduled and ErrTolerated.

var errFlaky = fmt.Errorf("lost a packet: %w", resource.ErrTolerated)

// recordingHealth is a Scheduled Health that records what it is called with.
type recordingHealth struct {
	mu       sync.Mutex
	due      func(i resource.Info) bool  // nil: always
	verdict  func(i resource.Info) error // nil: well
	asked    []resource.Info             // by Due
	examined []resource.Info             // by Check
}

func (c *recordingHealth) Due(i resource.Info) bool {
	c.mu.Lock()
	c.asked = append(c.asked, i)
	due := c.due
	c.mu.Unlock()
	return due == nil || due(i)
}

func (c *recordingHealth) Check(_ context.Context, _ *item, i resource.Info) error {
	c.mu.Lock()
	c.examined = append(c.examined, i)
	verdict := c.verdict
	c.mu.Unlock()
	if verdict == nil {
		return nil
	}
	return verdict(i)
}

func (c *recordingHealth) in(sweep time.Duration) func(h *harness) {
	return func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		h.cfg.Health, h.cfg.SweepInterval = c, sweep
	}
}

// when changes what is due.
func (c *recordingHealth) when(due func(i resource.Info) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due = due
}

// says changes what checks find.
func (c *recordingHealth) says(verdict func(i resource.Info) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.verdict = verdict
}

// asks is how often Due was asked, and seen the IDs of those checked.
func (c *recordingHealth) asks() (due int, seen []uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.examined {
		seen = append(seen, i.ID)
	}
	return len(c.asked), seen
}

// last is the Info of the last Check, and the number of checks.
func (c *recordingHealth) last() (resource.Info, int) {
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
	c := &recordingHealth{}
	script(t, 1, c.in(time.Hour), func(h *harness) {
		it := h.stock(1)[0] // was checked when it was new
		time.Sleep(10 * time.Second)
		h.acquire().wantItem(it).Release()
		if i, _ := c.last(); !near(i.Checked, 10*time.Second) || !near(i.Age, 10*time.Second) {
			t.Errorf("10s after the first check it got %+v", i)
		}
		c.when(func(resource.Info) bool { return false })
		time.Sleep(5 * time.Second)
		l := h.acquire().wantItem(it)
		if i := l.Info(); !near(i.Checked, 5*time.Second) || !near(i.Age, 15*time.Second) {
			t.Errorf("5s after the second check the holder sees %+v", i)
		}
		l.Release()
	})
}

func TestInfo_CheckedNever(t *testing.T) {
	c := &recordingHealth{due: func(resource.Info) bool { return false }}
	script(t, 1, c.in(time.Hour), func(h *harness) {
		h.stock(1)
		time.Sleep(7 * time.Second)
		l := h.lend()
		if i := l.Info(); i.Checked != i.Age || !near(i.Age, 7*time.Second) {
			t.Errorf("never checked, and got %+v", i)
		}
		l.Release()
	})
}

// A check in the sweep counts like one before a lease.
func TestInfo_CheckedInSweep(t *testing.T) {
	c := &recordingHealth{due: func(i resource.Info) bool { return i.Checked >= 25*time.Second }}
	script(t, 1, c.in(10*time.Second), func(h *harness) {
		h.stock(1)
		time.Sleep(65 * time.Second) // sweeps at 10, 20, … 60
		if i, n := c.last(); n != 2 || !near(i.Checked, 30*time.Second) || !near(i.Age, 60*time.Second) {
			t.Errorf("%d checks, the last got %+v, want 2 with 30s between", n, i)
		}
	})
}

// A tolerated failure keeps the resource, and is counted until a check passes.
func TestHealth_Tolerated(t *testing.T) {
	c := &recordingHealth{}
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
				t.Errorf("check %d got %d failures, want %d", n, i.Failures, want)
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

// The same in the sweep.
func TestHealth_ToleratedInSweep(t *testing.T) {
	c := &recordingHealth{verdict: func(i resource.Info) error {
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
	c := &recordingHealth{due: func(i resource.Info) bool { return i.Idle >= 40*time.Second }}
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

// A Due that panics counts as true, and the panic is counted; one that ends its
// goroutine does not end the sweep.
func TestI9_DueInSweep(t *testing.T) {
	for _, goexit := range []bool{false, true} {
		c := &recordingHealth{due: func(i resource.Info) bool {
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

// In the sweep a Health gets the number of idle resources, also without an
// Eviction, and those just ended are not among them.
func TestSweep_NotifiesHealthOfIdle(t *testing.T) {
	var reported []int
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		h.cfg.Health = checkFunc(func(_ context.Context, it *item, i resource.Info) error {
			if i.Age < 5*time.Second {
				return nil // at the acquire
			}
			reported = append(reported, i.Idlers)
			if len(reported) == 2 {
				return errSick
			}
			return nil
		})
	}
	script(t, 4, edit, func(h *harness) {
		if err := h.p.Warm(context.Background(), 4); err != nil {
			t.Fatal(err)
		}
		l := h.lend()
		time.Sleep(resource.DefaultSweepInterval + time.Second)
		h.settle()
		if len(reported) != 3 || reported[0] != 3 || reported[1] != 3 || reported[2] != 2 {
			t.Errorf("idle at the checks: %v, want 3 3 2", reported)
		}
		l.Release()
	})
}
