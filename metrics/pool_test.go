package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

var (
	errMake = errors.New("make: no route")
	errUse  = errors.New("use: reset")
	errIll  = errors.New("check: silent")
)

// troubled is a Config with everything that can go wrong.
func troubled(d *dice, trace *resource.Trace) resource.Config[int] {
	share := policy.Named("share", policy.Limit(20))
	gate := policy.Named("gate", policy.Limit(2))
	return resource.Config[int]{
		MaxSize: 8, MinIdle: 2, SweepInterval: 100 * time.Millisecond, MakeTimeout: 400 * time.Millisecond,
		Make: func(ctx context.Context) (int, error) {
			switch {
			case d.one(60):
				panic("make")
			case d.one(20):
				return 0, errMake
			case d.one(60):
				<-ctx.Done()
				return 0, ctx.Err()
			}
			time.Sleep(d.upTo(15 * time.Millisecond)) // in a bubble, as all below
			return 1, nil
		},
		Destroy: func(int, error) {
			time.Sleep(d.upTo(5 * time.Millisecond))
			if d.one(20) {
				panic("destroy")
			}
		},
		Watch: func(_ int, invalidate func(error)) {
			if d.one(2) {
				time.AfterFunc(d.upTo(60*time.Millisecond), func() { invalidate(named("hung up")) })
			}
		},
		Admission: share,
		MakeGate:  gate,
		Eviction:  policy.AnyOf(policy.MaxLeases(12, 0.5), policy.MaxAge(800*time.Millisecond, 0.5)),
		Health: health(func(context.Context, int, resource.Info) error {
			switch {
			case d.one(80):
				panic("check")
			case d.one(80):
				return errIll
			case d.one(40):
				return fmt.Errorf("%w: slow", resource.ErrTolerated)
			}
			return nil
		}),
		Trace: trace,
	}
}

// use is what one caller does, many times.
func use(d *dice, p *resource.Pool[int], times int) {
	for range times {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond+d.upTo(200*time.Millisecond))
		switch {
		case d.one(10):
			if l, ok := p.TryAcquire(); ok {
				l.Release()
			}
		case d.one(30):
			func() {
				defer func() { _ = recover() }()
				_ = p.Do(ctx, func(context.Context, int) error {
					if d.one(2) {
						panic("use")
					}
					return errUse
				})
			}()
		default:
			l, err := p.Acquire(ctx)
			if err != nil {
				break
			}
			if d.one(4) {
				time.Sleep(d.upTo(30 * time.Millisecond))
			}
			switch {
			case d.one(40):
				l.Fail(errUse)
			case d.one(40):
				l.Discard(nil)
			case d.one(40):
				l.Hijack()
			default:
				l.Release()
			}
		}
		cancel()
		time.Sleep(d.upTo(4 * time.Millisecond))
	}
}

// reconcile holds what the meter counted against the pool's Stats, which is at
// rest.
func reconcile(t *testing.T, s metrics.Snapshot) {
	t.Helper()
	sum := func(m map[string]int64) (n int64) {
		for _, c := range m {
			n += c
		}
		return n
	}
	for _, c := range []struct {
		what      string
		got, want int64
	}{
		{"Wait.Count", s.Wait.Count, s.Acquired},
		{"Make.Count", s.Make.Count, s.Made},
		{"Make.Sum", int64(s.Make.Sum), int64(s.MakeTime)},
		{"Close.Count", s.Close.Count, s.Stats.Destroyed},
		{"the sum of Destroyed", sum(s.Destroyed), s.Stats.Destroyed},
		{"the sum of Refused", sum(s.Refused), s.Rejected + s.Stats.Refused},
	} {
		if c.got != c.want {
			t.Errorf("%s is %d, Stats say %d: %v", c.what, c.got, c.want, s.Stats)
		}
	}
	if s.Outage == s.Since.IsZero() {
		t.Errorf("outage %v, since %v", s.Outage, s.Since)
	}
}

// Counters and Stats agree, through refusals, failures, evictions,
// cancellations, hijacks and panics.
func TestMeter_Reconciles(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for _, sample := range []int{0, 1, 4} {
		t.Run(fmt.Sprint("sample ", sample), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &dice{rnd: rand.New(rand.NewPCG(seed, uint64(sample)))}
				m := newMeter(t, metrics.Config{Overdue: 300 * time.Millisecond})
				cfg := troubled(d, m.Trace(nil))
				cfg.SampleLeases = sample
				p, err := resource.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				if err := m.Watch(p); err != nil {
					t.Fatal(err)
				}
				var wg sync.WaitGroup
				for range 24 {
					wg.Go(func() { use(d, p, 400) })
				}
				wg.Wait()
				synctest.Wait()
				s := m.Snapshot(100)
				if err := p.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				closed := m.Snapshot(100)
				reconcile(t, closed)
				for what, n := range map[string]int64{
					"acquired": s.Acquired, "waited": s.Waited, "canceled": s.Canceled, "rejected": s.Rejected, "failed": s.Failed,
					"evicted": s.Evicted, "unhealthy": s.Unhealthy, "invalidated": s.Invalidated, "hijacked": s.Hijacked, "panics": s.Panics,
					"of share": s.Stats.Rejected, "checks": s.Check.Count, "holds": s.Hold.Count,
					"hung up": s.Destroyed["hung up"], "discarded": s.Destroyed["discarded"], "for too many leases": s.Destroyed["lent too often"],
				} {
					if n == 0 {
						t.Errorf("none %s: the workload is too tame: %v, %v", what, s.Stats, s.Destroyed)
					}
				}
				if sample == 1 {
					seen := closed.Hold.Count
					if seen > closed.Released || seen < closed.Released/2 {
						t.Errorf("%d leases timed, of %d", seen, closed.Released)
					}
				}
				if len(closed.Held) != 0 {
					t.Errorf("with all ended, held are %+v", closed.Held)
				}
			})
		})
	}
}

// Real goroutines, and readers all the time: nothing is lost, and no sum is ever
// torn.
func TestMeter_ReconcilesInRealTime(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	d := &dice{rnd: rand.New(rand.NewPCG(seed, 0))}
	m := newMeter(t, metrics.Config{Overdue: 300 * time.Millisecond})
	p, err := resource.New(resource.Config[int]{
		MaxSize: 4, Make: func(context.Context) (int, error) { return 1, nil },
		Eviction: policy.MaxLeases(200, 0.9), Admission: policy.Named("share", policy.Limit(6)), Trace: m.Trace(nil),
		SampleLeases: 8,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Watch(p); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var readers, wg sync.WaitGroup
	readers.Go(func() {
		var last metrics.Snapshot
		for {
			select {
			case <-stop:
				return
			default:
			}
			s := m.Snapshot(10)
			if s.Wait.Count < last.Wait.Count || s.Make.Count < last.Make.Count || s.Hold.Count < last.Hold.Count || s.Wait.Count > s.Acquired {
				t.Errorf("%+v, and before %+v", s, last)
				return
			}
			last = s
			runtime.Gosched()
		}
	})
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				if l, err := p.Acquire(context.Background()); err == nil {
					if d.one(200) {
						l.Discard(nil)
					}
					l.Release()
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	readers.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	s := m.Snapshot(10)
	reconcile(t, s)
	// Each sampled lease stands for eight, those under pressure and the first of
	// each resource for one: the estimate is about right.
	if n := float64(s.Hold.Count); n < 0.5*float64(s.Released) || n > 2*float64(s.Released) {
		t.Errorf("about %d leases, of %d", s.Hold.Count, s.Released)
	}
}

const patience = 20 * time.Second
