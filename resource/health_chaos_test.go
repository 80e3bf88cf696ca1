package resource_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// whims is a Health and an OnRelease of which each call does something else:
// passes, fails, is tolerated, takes long, or hangs past its context for a while.
type whims struct {
	mu  sync.Mutex
	rnd *rand.Rand
	in  map[*item]bool // a function has it, or a holder
	bad []string
}

func (f *whims) roll(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rnd.IntN(n)
}

// enter notes that somebody has it to itself; leave that nobody has any more.
func (f *whims) enter(it *item, who string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.in[it] {
		f.bad = append(f.bad, who+" met another user of the same resource")
	}
	f.in[it] = true
}

func (f *whims) leave(it *item) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.in, it)
}

func (f *whims) Due(i resource.Info) bool { return i.Leases > 0 && f.roll(3) > 0 }

func (f *whims) Check(ctx context.Context, it *item, _ resource.Info) error {
	return f.act(ctx, it, "Check")
}

func (f *whims) act(ctx context.Context, it *item, who string) error {
	f.enter(it, who)
	defer f.leave(it)
	wait := func(d time.Duration, done <-chan struct{}) error {
		select {
		case <-time.After(d):
			return nil
		case <-done:
			return ctx.Err()
		}
	}
	switch n := f.roll(40); {
	case n < 20:
		return nil
	case n < 24:
		return errSick
	case n < 26:
		return fmt.Errorf("%w: %w", resource.ErrTolerated, errSick)
	case n < 30:
		return wait(time.Duration(f.roll(300))*time.Millisecond, ctx.Done())
	case n < 33:
		if err := wait(time.Duration(f.roll(5000))*time.Millisecond, ctx.Done()); err != nil {
			return err
		}
		return errSick
	case n < 35:
		return wait(time.Hour, ctx.Done())
	case n < 36:
		_ = wait(time.Duration(f.roll(60))*time.Second, nil) // deaf
		return nil
	case n < 37:
		panic(errFault)
	default:
		return wait(time.Millisecond, ctx.Done())
	}
}

// Whatever checks and OnRelease do, nothing is lost, nothing is lent twice, and
// who waits is served or told.
func TestHealth_Chaos(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { healthChaos(t, seed) })
		})
	}
}

func healthChaos(t *testing.T, seed uint64) {
	f := &whims{rnd: rand.New(rand.NewPCG(seed, 1)), in: map[*item]bool{}}
	max := 1 + f.roll(20)
	h := start(t, max, func(h *harness) {
		h.cfg.Health, h.cfg.SweepInterval = f, 3*time.Second
		h.cfg.MakeTimeout = 4 * time.Second
		h.auto = func(m *makeCall) {
			if f.roll(20) == 0 {
				m.fail(errSick)
				return
			}
			m.finishAfter(time.Duration(f.roll(100)) * time.Millisecond)
		}
		if f.roll(2) == 0 {
			h.cfg.OnRelease = func(ctx context.Context, it *item) error { return f.act(ctx, it, "OnRelease") }
			h.cfg.ReleaseTimeout = time.Second
		}
		if f.roll(3) == 0 {
			h.cfg.Queue = &listQueue{}
		}
		if f.roll(3) == 0 {
			h.cfg.Eviction = olderThan(time.Minute)
		}
		h.cfg.Order = resource.Order(f.roll(2))
		h.cfg.Outage = resource.OutageMode(f.roll(2))
		h.cfg.MinIdle = f.roll(max + 1)
	})
	var wg sync.WaitGroup
	for range 3 + f.roll(2*max) {
		wg.Go(func() {
			for range 60 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+f.roll(5000))*time.Millisecond)
				began := time.Now()
				r := resource.Request{NoWait: f.roll(5) == 0}
				if h.cfg.Eviction != nil && f.roll(5) == 0 {
					r.MinRemaining = 20 * time.Second
				}
				r.Fresh = f.roll(20) == 0
				l, err := h.p.AcquireWith(ctx, r)
				deadline, _ := ctx.Deadline()
				late := time.Since(deadline)
				cancel()
				took := time.Since(began)
				if r.NoWait && took > 10*time.Millisecond || late > 61*time.Second {
					t.Errorf("acquire %+v took %v", r, took)
				}
				if err == nil {
					f.enter(l.Value(), "a holder")
					time.Sleep(time.Duration(f.roll(50)) * time.Millisecond)
					f.leave(l.Value())
					switch f.roll(10) {
					case 0:
						l.Discard(errSick)
					case 1:
						l.Value().invalidate(errSick)
						l.Release()
					default:
						l.Release()
					}
				} else if !errors.As(err, new(*resource.AcquireError)) {
					t.Errorf("acquire: %v", err)
				}
				time.Sleep(time.Duration(f.roll(500)) * time.Millisecond)
				if f.roll(200) == 0 {
					h.p.Reset(nil)
				}
			}
		})
	}
	wg.Wait()
	time.Sleep(3 * time.Minute)
	h.settle()
	s := h.p.Stats()
	if s.Leased != 0 || s.Waiting != 0 || s.Hanging > 16 {
		t.Errorf("at rest: %v", s)
	}
	f.mu.Lock()
	for _, b := range f.bad {
		t.Error(b)
	}
	f.mu.Unlock()
}
