package resource_test

import (
	"context"
	"math"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// anyCrowd has n callers wait at two full keys with one slot each, and serves them.
func anyCrowd(t *testing.T, n int, run func(k *resource.Keyed[int, int], held [2]resource.Lease[int])) {
	check := checkOf[int](func(_ context.Context, key int, i resource.Info) error {
		if i.Leases > 0 && key == 0 {
			time.Sleep(time.Hour)
		}
		return nil
	})
	k, err := resource.NewKeyed(resource.KeyedConfig[int, int]{MaxTotal: 2 * n, Config: func(key int) (resource.Config[int], error) {
		size := 1
		if key == 2 {
			size, key = n, 0 // all are served at once, and checked for long
		}
		cfg := resource.Config[int]{MaxSize: size, Make: func(context.Context) (int, error) { return key, nil }}
		if size > 1 {
			cfg.Health = check
		}
		return cfg, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	var held [2]resource.Lease[int]
	for key := range held {
		if held[key], err = k.Acquire(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	run(k, held)
	if err := k.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// anyLines are the scenarios.
var anyLines = []struct {
	name string
	run  func(t *testing.T, n int)
}{
	{"served one by one", func(t *testing.T, n int) {
		anyCrowd(t, n, func(k *resource.Keyed[int, int], held [2]resource.Lease[int]) {
			var all sync.WaitGroup
			for range n {
				all.Go(func() {
					_, l, err := k.AcquireAny(t.Context(), []int{0, 1}, resource.Request{})
					if err != nil {
						t.Error(err)
					}
					l.Release()
				})
			}
			synctest.Wait()
			held[0].Release()
			held[1].Release()
			all.Wait()
		})
	}},
	// All callers are being served at key 2 while the line of key 1 has them all: a release
	// there passes them over.
	{"passed over", func(t *testing.T, n int) {
		anyCrowd(t, n, func(k *resource.Keyed[int, int], held [2]resource.Lease[int]) {
			var many []resource.Lease[int]
			for range n {
				l, err := k.Acquire(t.Context(), 2)
				if err != nil {
					t.Fatal(err)
				}
				many = append(many, l)
			}
			var all sync.WaitGroup
			for range n {
				all.Go(func() {
					_, l, err := k.AcquireAny(t.Context(), []int{2, 1}, resource.Request{})
					if err != nil {
						t.Error(err)
					}
					l.Release()
				})
			}
			synctest.Wait()
			for _, l := range many {
				l.Release()
			}
			synctest.Wait()
			held[1].Release()
			synctest.Wait()
			if p, _ := k.Find(1); p.Stats().Waiting != 0 || p.Stats().Idle != 1 {
				t.Errorf("the line still has callers that are being served elsewhere: %v", p.Stats())
			}
			all.Wait()
			held[0].Release()
		})
	}},
	{"canceled", func(t *testing.T, n int) {
		anyCrowd(t, n, func(k *resource.Keyed[int, int], held [2]resource.Lease[int]) {
			ctx, cancel := context.WithCancel(t.Context())
			var all sync.WaitGroup
			for range n {
				all.Go(func() {
					if _, _, err := k.AcquireAny(ctx, []int{0, 1}, resource.Request{}); err == nil {
						t.Error("served")
					}
				})
			}
			synctest.Wait()
			cancel()
			all.Wait()
			held[0].Release()
			held[1].Release()
		})
	}},
}

// maxAnyExponent leaves room for the trees, which hold the waiters of all lines but the first:
// their work is n log n, which has 1.15 between these sizes.
const maxAnyExponent = 1.7

// I12: the work for callers that wait in two lines grows with their number, and no faster.
func TestI12_AnyLines(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures, which -race and other tests beside it would spoil")
	}
	for _, c := range anyLines {
		t.Run(c.name, func(t *testing.T) {
			cost := func(n int) (took time.Duration) {
				synctest.Test(t, func(t *testing.T) {
					runtime.GC()
					before := cpuTime(t)
					c.run(t, n)
					took = cpuTime(t) - before
				})
				return took
			}
			const few, many = smallLine / 4, largeLine / 4
			small, large, x := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64), math.Inf(1)
			for tries := 0; tries < 2 || x > maxAnyExponent && tries < 5; tries++ { // a busy machine only adds to either
				small, large = min(small, cost(few)), min(large, cost(many))
				x = math.Log(float64(large)/float64(small)) / math.Log(float64(many)/few)
			}
			t.Logf("%d: %v, %d: %v; exponent %.2f", few, small, many, large, x)
			if x > maxAnyExponent {
				t.Errorf("the exponent is %.2f, over %v", x, maxAnyExponent)
			}
		})
	}
}
