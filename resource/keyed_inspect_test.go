package resource_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// Those of all keys who wait longest are listed, in that order, however few are
// asked for and whatever key is looked at first.
func TestInspect_KeyedLongestWaits(t *testing.T) { synctest.Test(t, keyedLongestWaits) }

func keyedLongestWaits(t *testing.T) {
	const keys, callers = 10, 60
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	ctx, cancel := context.WithCancel(context.Background())
	k, err := resource.NewKeyed(resource.KeyedConfig[int, int]{
		MaxTotal: keys,
		Config: func(int) (resource.Config[int], error) {
			return resource.Config[int]{MaxSize: 1, Make: func(context.Context) (int, error) { return 0, nil }}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var ls []resource.Lease[int]
	for key := range keys {
		l, err := k.Acquire(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		ls = append(ls, l)
	}
	var line sync.WaitGroup
	for i := range callers {
		key := rng.IntN(keys)
		line.Go(func() {
			if l, err := k.AcquireWith(ctx, key, resource.Request{Cost: i}); err == nil {
				l.Release()
			}
		})
		time.Sleep(time.Second)
	}
	for _, limit := range []int{-1, 0, 1, 3, 20, callers - 1, callers, 1 << 30} {
		in := k.Inspect(limit)
		if want := max(0, min(limit, callers)); len(in.Waiting) != want || in.OldestWait != callers*time.Second {
			t.Fatalf("limit %d: %d wait, the first for %v; want %d", limit, len(in.Waiting), in.OldestWait, want)
		}
		for i, w := range in.Waiting {
			if w.Request.Cost != i || w.Waited != time.Duration(callers-i)*time.Second {
				t.Errorf("limit %d: place %d is %+v", limit, i, w)
			}
		}
	}
	cancel()
	line.Wait()
	for _, l := range ls {
		l.Release()
	}
	if err := k.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
