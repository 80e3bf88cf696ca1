package resource_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// Code and clocks that are not the pool's, and what its figures show meanwhile.
// Each of these once failed.

// nosyError looks at the pool to say what it is.
type nosyError struct{ stats func() resource.Stats }

func (e nosyError) Error() string { return fmt.Sprintf("%d are being made", e.stats().Making) }

// The text of a make's error was made with the pool locked: an error that
// looked at the pool never returned.
func TestI5_ErrorsMayCallBack(t *testing.T) {
	var p *plain
	p = newPlain(t, 1, func(cfg *resource.Config[*token]) {
		cfg.Make = func(context.Context) (*token, error) { return nil, nosyError{p.Stats} }
	})
	within(t, 20*time.Second, func() {
		for range 10 {
			_, err := p.Acquire(context.Background())
			wantAcquireError(t, err, err)
			if err.Error() == "" {
				t.Error("an error without a text")
			}
		}
	})
}

// nosyCtx asks the pool for its Stats before it says whether it has ended.
type nosyCtx struct {
	context.Context
	stats func() resource.Stats
}

func (c nosyCtx) Err() error { c.stats(); return c.Context.Err() }

// Err of a context was called with the pool locked.
func TestI5_ContextsMayCallBack(t *testing.T) {
	p := newPlain(t, 1, func(cfg *resource.Config[*token]) {
		cfg.Make = func(ctx context.Context) (*token, error) { <-ctx.Done(); return nil, ctx.Err() }
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	nosy := nosyCtx{ctx, p.Stats}
	within(t, 20*time.Second, func() {
		if err := p.Warm(nosy, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Warm: %v", err)
		}
	})
	held := newPlain(t, 1, nil)
	l := held.must(context.Background())
	within(t, 20*time.Second, func() {
		if err := held.Close(nosyCtx{ctx, held.Stats}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
	})
	l.Release()
}

// hollowError is an error whose methods panic in a nil one.
type hollowError struct{ err error }

func (e *hollowError) Error() string { return e.err.Error() }
func (e *hollowError) Unwrap() error { return e.err }

// A typed nil as an error brought the process down: its methods were called on
// a goroutine of the pool's.
func TestI9_TypedNilErrors(t *testing.T) {
	var hollow *hollowError
	t.Run("gate", func(t *testing.T) {
		edit := func(h *harness) { h.cfg.MakeGate = refusing(hollow) }
		script(t, 1, edit, func(h *harness) {
			c := h.acquireFor(100 * time.Millisecond)
			time.Sleep(100 * time.Millisecond)
			c.wantFailed()
			h.wantLoad(resource.Load{})
		})
	})
	t.Run("late make", func(t *testing.T) {
		edit := func(h *harness) { h.cfg.MakeTimeout = time.Second }
		script(t, 1, edit, func(h *harness) {
			c := h.acquire()
			m := h.wantMake()
			m.hang()
			time.Sleep(1050 * time.Millisecond)
			m.fail(hollow)
			c.wantFailed()
			h.wantLoad(resource.Load{})
		})
	})
}

// Hijack gave the place back before the Quota's permit: who waited for the
// place was refused for want of a permit.
func TestI4_HijackGivesQuotaBackFirst(t *testing.T) {
	var taken atomic.Bool
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		h.cfg.Quota = admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
			if !taken.CompareAndSwap(false, true) {
				return nil, errors.New("one exists")
			}
			return func(resource.Outcome) { taken.Store(false) }, nil
		})
		h.cfg.Admission = admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
			return func(resource.Outcome) { time.Sleep(time.Microsecond) }, nil
		})
	}
	script(t, 1, edit, func(h *harness) {
		l := h.lend()
		c := h.acquire()
		h.wantWaiting(c)
		if _, ok := h.hijack(l); !ok {
			t.Fatal("Hijack failed")
		}
		c.wantLeaseWithin(time.Minute)
	})
}

// foreignCtx has a deadline that goes by another clock.
type foreignCtx struct {
	context.Context
	deadline time.Time
}

func (c foreignCtx) Deadline() (time.Time, bool) { return c.deadline, true }

// A waiter whose deadline had passed, though its context had not ended, was
// never served. Now it is about a second after that.
func TestI7_DeadlineByAnotherClock(t *testing.T) {
	for name, ago := range map[string]time.Duration{"long ago": time.Minute, "just now": 100 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			script(t, 1, nil, func(h *harness) {
				l := h.lend()
				time.Sleep(time.Second)
				ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
				defer cancel()
				c := h.acquireCtx(foreignCtx{ctx, time.Now().Add(-ago)}, resource.Request{})
				h.wantWaiting(c)
				l.Release()
				c.wantLeaseWithin(2 * time.Second)
			})
		})
	}
}

// A check that ended its goroutine ended the sweep: what it would have looked
// at next was never checked, and the ill one stayed.
func TestI9_GoexitInSweepChecksTheOthers(t *testing.T) {
	var mu sync.Mutex
	checks := map[*item]int{}
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		h.cfg.SweepInterval = time.Second
		h.cfg.Health = checkFunc(func(_ context.Context, it *item, _ resource.Info) error {
			mu.Lock()
			checks[it]++
			mu.Unlock()
			if it.n == 3 {
				runtime.Goexit()
			}
			return nil
		})
	}
	script(t, 4, edit, func(h *harness) {
		h.wantDone(h.warm(context.Background(), 4), nil)
		time.Sleep(10*time.Second + time.Millisecond)
		h.wantLoad(resource.Load{Idle: 3})
		mu.Lock()
		defer mu.Unlock()
		if len(checks) != 4 {
			t.Errorf("%d of 4 were checked", len(checks))
		}
		for it, n := range checks {
			switch {
			case it.n == 3 && n != 1:
				t.Errorf("the ill one was checked %d times", n)
			case it.n == 3:
				h.wantDestroyed(it, resource.ErrGoexit)
			case n < 9:
				t.Errorf("item %d was checked %d times in 10 sweeps", it.n, n)
			}
		}
	})
}

// OldestFirst: what was being checked when its caller gave up went to the back,
// though nobody had used it.
func TestOrder_CancelledCheckKeepsThePlace(t *testing.T) {
	w := newWard()
	edit := func(h *harness) {
		h.cfg.Order = resource.OldestFirst
		h.cfg.Health = w
	}
	script(t, 2, edit, func(h *harness) {
		ls, its := h.lendN(2)
		ls[0].Release()
		time.Sleep(time.Second)
		ls[1].Release()
		time.Sleep(time.Second)
		w.delay(time.Hour)
		c := h.acquireFor(100 * time.Millisecond)
		time.Sleep(100 * time.Millisecond)
		c.wantErr(context.DeadlineExceeded)
		w.delay(0)
		h.acquire().wantItem(its[0])
	})
}

// Released was counted from parts read at different moments, and was now and
// then less than before; and there were fewer than none idle.
func TestStats_ReleasedNeverGoesBack(t *testing.T) {
	p := newPlain(t, 4, nil)
	if err := p.Warm(context.Background(), 2); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !stop.Load() {
				l, err := p.Acquire(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				l.Release()
			}
		})
	}
	var last int64
	back, below := 0, 0
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
		s := p.Stats()
		if s.Released < last {
			back++
		}
		if s.Leased < 0 || s.Idle < 0 {
			below++
		}
		last = s.Released
	}
	stop.Store(true)
	wg.Wait()
	if back+below > 0 || last == 0 {
		t.Errorf("Released went back %d times, levels were negative %d times; %d released", back, below, last)
	}
}
