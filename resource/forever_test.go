package resource_test

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// forever is how some write that there is no limit.
const forever time.Duration = math.MaxInt64

// The largest duration in a field works like a very long one: callers are served, idle
// resources are checked in turn, and no call counts as one that hangs.
func TestConfig_Forever(t *testing.T) {
	for name, set := range map[string]func(*resource.Config[int], time.Duration){
		"MakeTimeout":    func(c *resource.Config[int], d time.Duration) { c.MakeTimeout = d },
		"ReleaseTimeout": func(c *resource.Config[int], d time.Duration) { c.ReleaseTimeout = d },
		"SweepInterval":  func(c *resource.Config[int], d time.Duration) { c.SweepInterval = d },
	} {
		t.Run(name, func(t *testing.T) {
			for _, d := range []time.Duration{time.Hour, forever - 1, forever} {
				synctest.Test(t, func(t *testing.T) { sweptAndReset(t, d, name == "SweepInterval", set) })
			}
		})
	}
}

// sweptAndReset uses a pool with that duration, in a bubble, through ten sweeps and the resets of three leases.
func sweptAndReset(t *testing.T, d time.Duration, swept bool, set func(*resource.Config[int], time.Duration)) {
	var mu sync.Mutex
	checked := make(map[int]int)
	var made atomic.Int64
	cfg := resource.Config[int]{
		Make: func(context.Context) (int, error) { return int(made.Add(1)), nil },
		Health: policy.Check(func(_ context.Context, v int) error {
			mu.Lock()
			checked[v]++
			mu.Unlock()
			time.Sleep(time.Millisecond)
			return nil
		}),
		OnRelease: func(context.Context, int) error { time.Sleep(20 * time.Millisecond); return nil },
		MaxSize:   4, MinIdle: 4, SweepInterval: time.Second,
	}
	set(&cfg, d)
	p := newPool(t, cfg)
	if err := p.Warm(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10500 * time.Millisecond)
	mu.Lock()
	n := len(checked)
	mu.Unlock()
	if !swept && n < 4 {
		t.Errorf("%v: in 10 sweeps %d of 4 resources were checked", d, n)
	}
	for range 3 {
		l, err := p.AcquireWith(t.Context(), resource.Request{MaxWait: forever})
		if err != nil {
			t.Fatalf("%v: %v", d, err)
		}
		l.Release()
		time.Sleep(time.Millisecond)
		if s := p.Stats(); s.Hanging != 0 || s.ReleaseFailed != 0 {
			t.Errorf("%v: while OnRelease runs: %v", d, s)
		}
		time.Sleep(time.Second)
	}
	if s := p.Stats(); s.Idle != 4 || s.Made != 4 {
		t.Errorf("%v: at the end: %v", d, s)
	}
}

// A key with the longest ForgetAfter is kept.
func TestKeyed_ForgetAfterForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyed(t, resource.KeyedConfig[string, int]{
			Config: func(string) (resource.Config[int], error) {
				return resource.Config[int]{Make: func(context.Context) (int, error) { return 1, nil }, MaxSize: 1}, nil
			},
			MaxTotal: 1, ForgetAfter: forever,
		})
		l, err := k.Acquire(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		l.Discard(nil)
		time.Sleep(1000 * time.Hour)
		if n := k.Stats().Keys; n != 1 {
			t.Errorf("%d keys are left", n)
		}
	})
}
