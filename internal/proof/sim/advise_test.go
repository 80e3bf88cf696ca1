package sim_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// observed is what callers and a meter have seen of a pool.
type observed struct {
	waits    []time.Duration // sorted
	snapshot metrics.Snapshot
	history  metrics.History
}

func (o *observed) quantile(q float64) time.Duration {
	return o.waits[int(math.Ceil(q*float64(len(o.waits))))-1]
}

// observe has callers arrive at a pool of that size for nearly ten minutes, rate(t) of
// them a second, which hold their leases for an exponential time.
func observe(t *testing.T, r *rand.Rand, size int, hold time.Duration, rate func(t time.Duration) float64) (o observed) {
	meter, err := metrics.New(t.Name(), metrics.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer meter.Close()
	pool, err := resource.New(resource.Config[int]{
		MaxSize: size, Trace: meter.Trace(nil), SampleLeases: 1,
		Make: func(context.Context) (int, error) { return 0, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := pool.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if err := pool.Warm(t.Context(), size); err != nil {
		t.Fatal(err)
	}
	if err := meter.Watch(pool); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var callers sync.WaitGroup
	began := time.Now()
	for time.Since(began) < 590*time.Second {
		time.Sleep(max(1, time.Duration(r.ExpFloat64()/rate(time.Since(began))*float64(time.Second))))
		holds := max(1, time.Duration(r.ExpFloat64()*float64(hold)))
		callers.Go(func() {
			came := time.Now()
			lease, err := pool.Acquire(context.Background())
			if err != nil {
				t.Error(err)
				return
			}
			waited := time.Since(came)
			time.Sleep(holds)
			lease.Release()
			mu.Lock()
			defer mu.Unlock()
			o.waits = append(o.waits, waited)
		})
	}
	callers.Wait()
	slices.Sort(o.waits)
	o.snapshot, o.history = meter.Snapshot(0), meter.History()
	return o
}

// What Advise says of a size, from a pool with room to spare, is what the callers of a pool
// of that size see, under a steady load and under bursts of several seconds.
func TestAdvise(t *testing.T) {
	for name, load := range map[string]struct {
		rate  func(t time.Duration) float64
		sizes []int
	}{
		"steady": {func(time.Duration) float64 { return 100 }, []int{7, 8}},
		"bursts": {func(t time.Duration) float64 {
			if t%time.Minute < 10*time.Second { // where 10 are in use
				return 200
			}
			return 40
		}, []int{12, 13}},
	} {
		t.Run(name, func(t *testing.T) {
			const hold = 50 * time.Millisecond
			// Both pools meet the same callers: the replay draws their instants and hold times
			// anew. The seed is fixed, since what one pool of ten minutes sees varies by more
			// than a tenth.
			same := func() *rand.Rand { return rand.New(rand.NewPCG(1, 0)) }
			synctest.Test(t, func(t *testing.T) {
				wide := observe(t, same(), 60, hold, load.rate)
				goal := metrics.Goal{Quantile: 0.95}
				for _, size := range load.sizes {
					real := observe(t, same(), size, hold, load.rate)
					wide.snapshot.Max = size // so that the curve has that size
					advice, err := metrics.Advise(wide.snapshot, wide.history, goal)
					if err != nil {
						t.Fatal(err)
					}
					i := slices.IndexFunc(advice.Curve, func(p metrics.SizePoint) bool { return p.Size == size })
					if i < 0 {
						t.Fatalf("size %d is not in the curve: %v", size, advice.Curve)
					}
					predicted, seen := advice.Curve[i].Wait, real.quantile(goal.Quantile)
					t.Logf("size %d of a load of %.1f: 95 %% wait at most %v, predicted %v", size, advice.Load, seen, predicted)
					if math.Abs(float64(predicted)/float64(seen)-1) > 0.1 {
						t.Errorf("size %d: predicted %v, seen %v", size, predicted, seen)
					}
				}
			})
		})
	}
}
