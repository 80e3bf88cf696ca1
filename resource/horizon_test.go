package resource_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// foresighted is an Eviction that is Predictable and counts its calls.
type foresighted struct {
	evictFunc
	horizon      func(i resource.Info) resource.Horizon
	asked, ahead atomic.Int64
}

func (f *foresighted) Evict(i resource.Info) error {
	f.asked.Add(1)
	return f.evictFunc(i)
}

func (f *foresighted) Horizon(i resource.Info) resource.Horizon {
	f.ahead.Add(1)
	return f.horizon(i)
}

func keepsAll(resource.Info) error { return nil }

// upTo is a Horizon function with constant limits; 0: there is none.
func upTo(age, idle time.Duration, leases int64) func(resource.Info) resource.Horizon {
	orNone := func(n int64) int64 {
		if n == 0 {
			return math.MaxInt64
		}
		return n
	}
	h := resource.Horizon{Age: time.Duration(orNone(int64(age))), Idle: time.Duration(orNone(int64(idle))), Leases: orNone(leases)}
	return func(resource.Info) resource.Horizon { return h }
}

// lateSweep sets the Eviction of a pool that does not sweep during a test.
func lateSweep(e resource.Eviction) func(cfg *resource.Config[*token]) {
	return func(cfg *resource.Config[*token]) { cfg.Eviction, cfg.SweepInterval = e, time.Hour }
}

// The bounds of a resource include exactly the facts that are below the Horizon.
func TestHorizon_Bounds(t *testing.T) {
	const tick = 100 * time.Millisecond
	near := func(n int64) int64 { return max(0, n+rand.Int64N(3)-1) }
	limit := func(unit time.Duration) time.Duration {
		return []time.Duration{
			-1, 0, 1, unit, unit + 1, 7*unit - 1, 12 * unit, time.Hour, math.MaxInt64 - 5, math.MaxInt64,
		}[rand.IntN(10)]
	}
	var seen [2]int
	for range 200_000 {
		h := resource.Horizon{Age: limit(tick), Idle: limit(tick), Leases: int64(limit(1))}
		born := time.Duration(rand.Int64N(int64(3 * time.Hour)))
		now := near(int64((born + min(max(h.Age, 0), time.Hour)) / tick))
		idle, leases := near(int64(min(h.Idle, time.Hour)/tick)), near(min(h.Leases, 1000))
		within, i := h.Bounded(born, now, idle, leases)
		if want := i.Age < h.Age && i.Idle < h.Idle && i.Leases < h.Leases; within != want {
			t.Fatalf("born at %v, tick %d: within the bounds of %+v: %v, but the facts are %+v", born, now, h, within, i)
		} else if want {
			seen[1]++
		} else {
			seen[0]++
		}
	}
	if seen[0] < 10_000 || seen[1] < 10_000 {
		t.Errorf("%d outside and %d within: the choice is lopsided", seen[0], seen[1])
	}
}

// I10: within its Horizon a hit does not ask the Eviction, and it takes no lock.
func TestI10_PredictableIsNotAsked(t *testing.T) {
	for _, sampled := range []bool{false, true} {
		e := &foresighted{evictFunc: keepsAll, horizon: upTo(time.Hour, time.Hour, 0)}
		p := newPlain(t, 1, func(cfg *resource.Config[*token]) {
			lateSweep(e)(cfg)
			if sampled {
				cfg.Trace = sampling()
			}
		})
		onHit(t, p, func() {
			e.asked.Store(0)
			for range 3 {
				l, err := p.Acquire(context.Background())
				if err != nil {
					t.Error(err)
				}
				l.Release()
				if l, err = p.AcquireWith(context.Background(), resource.Request{Class: "a"}); err != nil {
					t.Error(err)
				}
				l.Release()
				l, ok := p.TryAcquire()
				if !ok {
					t.Error("none idle")
				}
				l.Release()
				l.Release() // has ended
			}
			if n := e.asked.Load(); n != 0 {
				t.Errorf("sampled %v: Evict was called %d times in 9 hits", sampled, n)
			}
		})
		if n := e.ahead.Load(); n != 2 { // by New, and for the one resource
			t.Errorf("Horizon was called %d times, want twice", n)
		}
	}
}

// I10: with other policies the Horizon spares the calls of Evict too, and the others are
// asked as without it.
func TestI10_PredictableBesideOthers(t *testing.T) {
	var admitted, done, due atomic.Int64
	var facts resource.Info
	e := &foresighted{evictFunc: keepsAll, horizon: upTo(time.Hour, 0, 0)}
	p := newPlain(t, 1, func(cfg *resource.Config[*token]) {
		lateSweep(e)(cfg)
		cfg.Admission = admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
			admitted.Add(1)
			return func(o resource.Outcome) {
				if o != (resource.Outcome{Verdict: resource.OK}) {
					t.Errorf("Done got %+v", o)
				}
				done.Add(1)
			}, nil
		})
		cfg.Health = scheduled[*token]{due: func(i resource.Info) bool { facts = i; due.Add(1); return false }}
	})
	onHit(t, p, func() {
		for _, n := range []*atomic.Int64{&admitted, &done, &due, &e.asked} {
			n.Store(0)
		}
		l, err := p.Acquire(context.Background())
		if err != nil {
			t.Error(err)
		}
		before := l.Info().Leases
		l.Release()
		l.Release() // has ended
		if a, d, h, n := admitted.Load(), done.Load(), due.Load(), e.asked.Load(); a != 1 || d != 1 || h != 1 || n != 0 {
			t.Errorf("admitted %d, done %d, due %d, evict %d", a, d, h, n)
		}
		if facts.ID != 1 || facts.Leases != before-1 || facts.Checked != facts.Age {
			t.Errorf("at lease %d Due got %+v", before, facts)
		}
	})
}

// At a limit the Eviction is asked at each acquire and each release, as without a Horizon.
func TestPredictable_AtLimits(t *testing.T) {
	for name, c := range map[string]struct {
		horizon func(resource.Info) resource.Horizon
		first   int64 // the first lease at whose end it is asked
	}{
		"leases":  {upTo(0, 0, 5), 5},
		"age":     {upTo(-1, 0, 0), 1},
		"idle":    {upTo(0, -1, 0), 1},
		"nothing": {func(resource.Info) resource.Horizon { return resource.Horizon{} }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var last resource.Info
			e := &foresighted{evictFunc: func(i resource.Info) error { last = i; return nil }, horizon: c.horizon}
			p := newPlain(t, 1, lateSweep(e))
			p.must(context.Background()).Release()
			onHit(t, p, func() {
				for {
					e.asked.Store(0)
					l, err := p.Acquire(context.Background())
					if err != nil {
						t.Error(err)
						return
					}
					n := l.Info().Leases
					acquire := e.asked.Load()
					l.Release()
					release := e.asked.Load() - acquire
					want := func(asked bool) int64 {
						if asked {
							return 1
						}
						return 0
					}
					if acquire != want(n-1 >= c.first) || release != want(n >= c.first) {
						t.Errorf("lease %d: Evict was called %d times at its beginning and %d at its end", n, acquire, release)
						return
					}
					if release > 0 && last.Leases != n {
						t.Errorf("at the end of lease %d Evict got %+v", n, last)
					}
					if n > c.first+2 {
						return
					}
				}
			})
		})
	}
}

// A resource whose limit is reached ends as without a Horizon.
func TestPredictable_Ends(t *testing.T) {
	e := &foresighted{
		evictFunc: func(i resource.Info) error {
			if i.Leases >= 3 {
				return errOld
			}
			return nil
		},
		horizon: upTo(0, 0, 3),
	}
	p := newPlain(t, 1, lateSweep(e))
	var ids []uint64
	for range 9 {
		l := p.must(context.Background())
		ids = append(ids, l.Info().ID)
		l.Release()
	}
	for i, id := range ids {
		if id != uint64(i/3+1) {
			t.Fatalf("the leases were of %v, want three of each", ids)
		}
	}
	if s := p.Stats(); s.Evicted != 3 {
		t.Errorf("evicted %d, want 3", s.Evicted)
	}
}

// EvictIf sees the resource and depends on it, so that with one the Horizon says nothing.
func TestPredictable_EvictIf(t *testing.T) {
	var asked atomic.Int64
	e := &foresighted{evictFunc: keepsAll, horizon: upTo(0, 0, 0)}
	p := newPlain(t, 1, func(cfg *resource.Config[*token]) {
		lateSweep(e)(cfg)
		cfg.EvictIf = func(*token, resource.Info) error { asked.Add(1); return nil }
	})
	onHit(t, p, func() {
		asked.Store(0)
		e.asked.Store(0)
		l, err := p.Acquire(context.Background())
		if err != nil {
			t.Error(err)
		}
		l.Release()
		if n, m := asked.Load(), e.asked.Load(); n != 2 || m != 2 || e.ahead.Load() != 0 {
			t.Errorf("EvictIf was called %d times, Evict %d, Horizon %d", n, m, e.ahead.Load())
		}
	})
}

// An acquire with MinRemaining asks about a later age than the Horizon has said something of.
func TestPredictable_MinRemaining(t *testing.T) {
	e := &foresighted{
		evictFunc: func(i resource.Info) error {
			if i.Age >= time.Hour {
				return errOld
			}
			return nil
		},
		horizon: upTo(time.Hour, 0, 0),
	}
	p := newPlain(t, 1, lateSweep(e))
	p.must(context.Background()).Release()
	_, err := p.AcquireWith(context.Background(), resource.Request{MinRemaining: 2 * time.Hour, NoWait: true})
	if !errors.Is(err, resource.ErrNoneIdle) {
		t.Errorf("a resource that ends in an hour, for two: %v", err)
	}
	l, err := p.AcquireWith(context.Background(), resource.Request{MinRemaining: time.Minute, NoWait: true})
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
}

// The sweep asks the Eviction of all that is idle, within the Horizon too.
func TestPredictable_Sweep(t *testing.T) {
	e := &foresighted{evictFunc: keepsAll, horizon: upTo(0, 0, 0)}
	p := newPlain(t, 1, func(cfg *resource.Config[*token]) {
		cfg.Eviction, cfg.SweepInterval = e, resource.MinSweepInterval
	})
	p.must(context.Background()).Release()
	within(t, 20*time.Second, func() {
		for e.asked.Load() < 5 {
			time.Sleep(time.Millisecond) // sweeps happen in real time
		}
	})
}

// I9: a Horizon that panics or ends its goroutine says nothing, and costs nothing else.
func TestI9_Horizon(t *testing.T) {
	for name, broken := range map[string]func(){"panic": func() { panic("broken") }, "Goexit": runtime.Goexit} {
		for _, calls := range []int64{0, 1} { // by New, or for the resource
			e := &foresighted{evictFunc: keepsAll}
			e.horizon = func(resource.Info) resource.Horizon {
				if e.ahead.Load() > calls {
					broken()
				}
				return resource.Horizon{Age: 1, Idle: 1, Leases: 1}
			}
			p := newPlain(t, 1, lateSweep(e))
			for range 3 {
				p.must(context.Background()).Release()
			}
			if n, s := e.asked.Load(), p.Stats(); n == 0 || s.Panics != 1 || s.Made != 1 {
				t.Errorf("%s in call %d: Evict was called %d times; %v", name, calls+1, n, s)
			}
		}
	}
}
