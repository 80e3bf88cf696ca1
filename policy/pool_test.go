package policy_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// In a pool whose callers give up, fail and are refused, and whose creations fail, the
// policies in all three fields end with nothing in flight, and no limit is ever exceeded.
func TestI4_InAPool(t *testing.T) {
	seed := newSeed(t)
	synctest.Test(t, func(t *testing.T) {
		const size, guarantee = 4, 2
		queue := policy.BoundedQueue(size, 20)
		shares := policy.Shares(24, map[string]int{"gold": guarantee})
		wait := policy.WithinDeadline(size)
		making, fleet := policy.Limit(2), policy.Limit(3)
		var mu sync.Mutex
		rnd := rand.New(rand.NewPCG(seed, 0))
		draw := func(n int) int {
			mu.Lock()
			defer mu.Unlock()
			return rnd.IntN(n)
		}
		pool, err := resource.New(resource.Config[int]{
			Make: func(context.Context) (int, error) {
				time.Sleep(time.Duration(1+draw(20)) * time.Millisecond)
				if draw(10) == 0 {
					return 0, errBoom
				}
				return 1, nil
			},
			MaxSize:   size,
			Admission: policy.All(queue, shares, wait),
			MakeGate:  policy.Named("makes", making),
			Quota:     policy.Any(fleet, refusing(&resource.Rejection{RetryAfter: 5 * time.Millisecond})),
		})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var served, refused, other int
		for i := range 3000 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+draw(100))*time.Millisecond)
				defer cancel()
				r := resource.Request{Class: []string{"gold", "tin"}[draw(2)], NoWait: draw(10) == 0}
				l, err := pool.AcquireWith(ctx, r)
				mu.Lock()
				switch {
				case err == nil:
					served++
				case errors.Is(err, resource.ErrRejected):
					refused++
				default:
					other++
				}
				mu.Unlock()
				if err != nil {
					return
				}
				time.Sleep(time.Duration(draw(10)) * time.Millisecond)
				switch draw(12) {
				case 0:
					l.Discard(errBoom)
				case 1:
					l.Fail(errBoom)
				default:
					l.Release()
				}
			})
			time.Sleep(time.Millisecond + time.Duration(i))
			for _, g := range []policy.Gauge{queue, shares, making, fleet} {
				if g.InFlight() > g.Limit() {
					t.Errorf("%d in flight of %d", g.InFlight(), g.Limit())
				}
			}
		}
		wg.Wait()
		if err := pool.Close(t.Context()); err != nil {
			t.Error(err)
		}
		t.Logf("%d served, %d refused, %d left", served, refused, other)
		if served < 300 || refused < 100 || other < 20 {
			t.Errorf("%d served, %d refused, %d left: that is not all that can happen", served, refused, other)
		}
		for _, g := range []interface{ InFlight() int }{queue, shares, wait, making, fleet} {
			wantInFlight(t, g, 0)
		}
	})
}

// lender is a pool of numbers in a bubble: it makes 1, 2, … and records the cause with which
// each was destroyed.
type lender struct {
	*resource.Pool[int]
	t *testing.T

	mu     sync.Mutex
	made   int
	causes map[int]error // by number destroyed
}

// lend creates a pool, which is closed at the end of the test. With a nil Make in cfg the
// numbers are made instantly.
func lend(t *testing.T, cfg resource.Config[int]) *lender {
	t.Helper()
	l := &lender{t: t, causes: map[int]error{}}
	if cfg.Make == nil {
		cfg.Make = func(context.Context) (int, error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.made++
			return l.made, nil
		}
	}
	cfg.Destroy = func(v int, cause error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.causes[v] = cause
	}
	p, err := resource.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l.Pool = p
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}

// get acquires a lease.
func (l *lender) get() resource.Lease[int] {
	l.t.Helper()
	lease, err := l.Acquire(context.Background())
	if err != nil {
		l.t.Fatalf("Acquire: %v", err)
	}
	return lease
}

// wantGone waits until all goroutines are blocked; then exactly these must have been
// destroyed, with that cause.
func (l *lender) wantGone(cause error, ns ...int) {
	l.t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range ns {
		if got, gone := l.causes[n]; !gone || !errors.Is(got, cause) {
			l.t.Errorf("%d is gone %v, with the cause %v, want %v", n, gone, got, cause)
		}
	}
	if len(l.causes) != len(ns) {
		l.t.Errorf("gone are %v, want %v", l.causes, ns)
	}
}

// warm makes n idle resources, one after the other, so that their IDs equal their numbers;
// number 1 is released first.
func (l *lender) warm(n int) {
	l.t.Helper()
	for m := range n {
		if err := l.Warm(context.Background(), m+1); err != nil {
			l.t.Fatal(err)
		}
	}
	leases := map[int]resource.Lease[int]{}
	for range n {
		lease := l.get()
		leases[lease.Value()] = lease
	}
	for v := 1; v <= n; v++ {
		leases[v].Release()
		time.Sleep(100 * time.Millisecond)
	}
}

// Without load after a burst SoftIdle keeps MinIdle resources, and MaxIdle replaces them, as
// documented.
func TestIdleTimeout_InAQuietHour(t *testing.T) {
	const burst, minIdle = 8, 2
	quiet := func(t *testing.T, e resource.Eviction) (s resource.Stats) {
		synctest.Test(t, func(t *testing.T) {
			p, err := resource.New(resource.Config[int]{
				Make: func(context.Context) (int, error) { return 1, nil }, MaxSize: burst, MinIdle: minIdle, Eviction: e,
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Warm(t.Context(), burst); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour + 5*time.Second) // half a sweep later, so that no replacement is in progress
			if s = p.Stats(); s.Idle != minIdle {
				t.Errorf("%d idle after an hour, want %d", s.Idle, minIdle)
			}
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	if s := quiet(t, policy.SoftIdle(10*time.Minute, minIdle)); s.Made != burst || s.Evicted != burst-minIdle {
		t.Errorf("SoftIdle: %d made, %d evicted; want %d and %d", s.Made, s.Evicted, burst, burst-minIdle)
	}
	if s := quiet(t, policy.MaxIdle(10*time.Minute)); s.Made < burst+4*minIdle {
		t.Errorf("MaxIdle: %d made; it is documented to have them made anew each 10 minutes", s.Made)
	}
}
