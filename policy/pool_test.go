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

// In a pool whose callers give up, fail and are refused, and whose makes fail,
// the policies at all three moments end with nothing in flight, and none of
// their limits is ever passed.
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
