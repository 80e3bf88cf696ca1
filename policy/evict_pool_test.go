package policy_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// The evictions in a pool.

func evicting(max int, e resource.Eviction) resource.Config[int] {
	return resource.Config[int]{MaxSize: max, Eviction: e, SweepInterval: time.Minute}
}

// A resource past its age ends when it is given back, or before it is lent, or
// in the sweep.
func TestMaxAge_Pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lend(t, evicting(1, policy.MaxAge(time.Minute+10*time.Second, 0)))
		held := l.get()
		time.Sleep(time.Minute + 10*time.Second + 20*time.Millisecond)
		l.wantGone(nil)
		held.Release()
		l.wantGone(policy.ErrMaxAge, 1)

		l.get().Release()            // 2
		time.Sleep(75 * time.Second) // the sweep in between foresees its end: it makes way for 3
		fresh := l.get()
		if fresh.Value() != 3 {
			t.Errorf("lent %d, which is %v old", fresh.Value(), fresh.Info().Age)
		}
		l.wantGone(policy.ErrMaxAge, 1, 2)
		fresh.Release()
		time.Sleep(3 * time.Minute) // 4 was made for 3, which was in use; nobody used 4
		l.wantGone(policy.ErrMaxAge, 1, 2, 3, 4)
	})
}

// Resources made together end one after the other, each at an age that its
// Jitter gives.
func TestMaxAge_JitterSpreadsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		ages := map[time.Duration]int{}
		cfg := evicting(200, policy.MaxAge(time.Hour, 0.5))
		cfg.SweepInterval = 10 * time.Second
		cfg.Trace = &resource.Trace{Destroyed: func(e resource.DestroyEvent) {
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(e.Cause, policy.ErrMaxAge) {
				limit := time.Duration(float64(time.Hour) * (1 - 0.5*e.Info.Jitter))
				if late := e.Info.Age - limit; late < 0 || late > 11*time.Second {
					t.Errorf("spread %v: evicted at %v, want at %v", e.Info.Jitter, e.Info.Age, limit)
				}
				ages[e.Info.Age/(10*time.Minute)]++
			}
		}}
		l := lend(t, cfg)
		if err := l.Warm(context.Background(), 200); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour + time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		total := 0
		for part, n := range ages {
			if total += n; part >= 3 && part < 6 && n < 30 { // 67 are expected; 30 is 7 standard deviations less
				t.Errorf("only %d of 200 ended in the 10 minutes from %v", n, part*10*time.Minute)
			}
		}
		if total != 200 || ages[0]+ages[1]+ages[2] > 0 {
			t.Errorf("ended by age in tens of minutes: %v; want 200, from 30 minutes on", ages)
		}
	})
}

// Each is lent exactly as often as it may be.
func TestMaxLeases_Pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lend(t, evicting(1, policy.MaxLeases(2, 0)))
		for n := range 6 {
			lease := l.get()
			if want := n/2 + 1; lease.Value() != want {
				t.Errorf("lease %d is of %d, want %d", n+1, lease.Value(), want)
			}
			lease.Release()
			synctest.Wait()
		}
		l.wantGone(policy.ErrMaxLeases, 1, 2, 3)
	})
}

// The sweep takes what a burst has left, those idle longest, down to the floor.
func TestSoftIdle_Pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lend(t, evicting(5, policy.AnyOf(policy.SoftIdle(30*time.Second, 2), policy.MaxIdle(time.Hour))))
		l.warm(5)
		time.Sleep(10 * time.Minute)
		l.wantGone(policy.ErrSoftIdle, 1, 2, 3)
		lease := l.get() // idle for long, but it is there
		if lease.Value() != 5 {
			t.Errorf("lent %d, want 5", lease.Value())
		}
		lease.Release()
		l.wantGone(policy.ErrSoftIdle, 1, 2, 3)
	})
}

// The hard limit knows no floor.
func TestMaxIdle_Pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lend(t, evicting(3, policy.MaxIdle(time.Minute)))
		l.warm(3)
		time.Sleep(3 * time.Minute)
		l.wantGone(policy.ErrMaxIdle, 1, 2, 3)
	})
}

// Protect keeps a caller from finding nothing, though all are too old.
func TestProtect_Pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lend(t, evicting(3, policy.Protect(1, policy.MaxAge(time.Second, 0))))
		l.warm(3)
		time.Sleep(10 * time.Minute)
		l.wantGone(policy.ErrMaxAge, 1, 2)
		lease := l.get()
		lease.Release()
		if lease = l.get(); lease.Value() != 3 {
			t.Errorf("lent %d, want 3", lease.Value())
		}
		lease.Release()
	})
}

// Nobody gets what ends within the time, whether he asked for it or not.
func TestMinRemaining_Pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lend(t, evicting(2, policy.MinRemaining(20*time.Second, policy.MaxAge(50*time.Second, 0))))
		l.get().Release()
		time.Sleep(29 * time.Second)
		l.get().Release()
		l.wantGone(nil)
		time.Sleep(time.Second + 20*time.Millisecond)
		if lease := l.get(); lease.Value() != 2 {
			t.Errorf("lent %d with 20s to live", lease.Value())
		} else {
			lease.Release()
		}
		l.wantGone(policy.ErrMaxAge, 1)
	})
}
