package resource_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

var errSick = errors.New("no pulse")

// ward is a Health whose verdicts the script decides.
type ward struct {
	mu     sync.Mutex
	sick   map[*item]bool
	slow   time.Duration
	most   int // checks at once
	now    int
	checks map[*item]int
	last   resource.Info // what the last check was told
}

func newWard() *ward { return &ward{sick: map[*item]bool{}, checks: map[*item]int{}} }

func (w *ward) Check(ctx context.Context, it *item, i resource.Info) error {
	w.mu.Lock()
	w.now++
	w.most = max(w.most, w.now)
	w.checks[it]++
	w.last = i
	slow := w.slow
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.now--
		w.mu.Unlock()
	}()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sick[it] {
		return errSick
	}
	return nil
}

func (w *ward) infect(its ...*item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, it := range its {
		w.sick[it] = true
	}
}

func (w *ward) delay(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slow = d
}

func (w *ward) in(sweep time.Duration) func(h *harness) {
	return func(h *harness) { h.cfg.Health, h.cfg.SweepInterval = w, sweep }
}

// One found ill at an acquire is ended, and the next one lent.
func TestHealth_OnBorrow(t *testing.T) {
	w := newWard()
	var events []resource.CheckEvent
	edit := func(h *harness) {
		w.in(time.Hour)(h)
		h.cfg.Trace = &resource.Trace{Checked: func(e resource.CheckEvent) { events = append(events, e) }}
	}
	script(t, 2, edit, func(h *harness) {
		its := h.stock(2)
		w.infect(its[1])
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

// The sweep tells of each check, but not of those that were cut short: by Close,
// or by the end of the caller's context.
func TestHealth_Told(t *testing.T) {
	w := newWard()
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
		w.infect(l.Value())
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
			t.Errorf("told of checks that were cut short: %+v", events)
		}
	})
}

// If none is well, one is made; the caller does not see the illness.
func TestHealth_AllIll(t *testing.T) {
	w := newWard()
	script(t, 3, w.in(time.Hour), func(h *harness) {
		its := h.stock(3)
		w.infect(its...)
		c := h.acquire()
		for _, it := range its {
			h.wantDestroyed(it, errSick)
		}
		it := h.wantMakeWithin(time.Second).finish()
		c.wantItem(it)
	})
}

// The sweep finds the ill among those that nobody asks for, one check at a
// time, and makes nothing because of it.
func TestHealth_InSweep(t *testing.T) {
	w := newWard()
	script(t, 4, w.in(10*time.Second), func(h *harness) {
		its := h.stock(4)
		w.infect(its[1], its[3])
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

// While one is checked the others are lent; nobody makes one because of a
// check, not even who finds nothing else idle.
func TestHealth_SweepNeverMakes(t *testing.T) {
	w := newWard()
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
			w := newWard()
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

// A check does not make a resource younger: its idle time goes on.
func TestHealth_KeepsIdleTime(t *testing.T) {
	w := newWard()
	script(t, 1, w.in(10*time.Second), func(h *harness) {
		it := h.stock(1)[0]
		time.Sleep(65 * time.Second)
		h.acquire().wantItem(it)
		if !near(w.last.Idle, 65*time.Second) || w.checks[it] < 5 {
			t.Errorf("idle for %v, want 65s; checked %d times", w.last.Idle, w.checks[it])
		}
	})
}

// Nor does waiting for the end of a sweep's check: what the caller's own check
// is told is how long the resource was idle.
func TestHealth_IdleTimeAfterSweep(t *testing.T) {
	w := newWard()
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
			t.Errorf("check %d was told that it was idle for %v, want 11s", w.checks[it], w.last.Idle)
		}
	})
}

// A caller that leaves during a check does not condemn what it checked.
func TestHealth_CancelledCaller(t *testing.T) {
	w := newWard()
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

// Who waits while another's check ends in a cancellation gets the resource.
func TestHealth_CancelledCallerPassesOn(t *testing.T) {
	w := newWard()
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
	w := newWard()
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
	w := newWard()
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
