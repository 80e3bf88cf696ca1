package resource_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// MinIdle of several keys, more than there are places: no key takes another's
// for it, over and over.
func TestKeyedMinIdleDoesNotChurn(t *testing.T) {
	keyed(t, 3, 4, func(h *keyedHarness) {
		h.makeTime = ms
		h.edit = func(_ string, cfg *resource.Config[*keyedItem]) { cfg.MinIdle, cfg.SweepInterval = 2, time.Second }
	}, func(h *keyedHarness) {
		for _, key := range []string{"a", "b", "c"} {
			h.pool(key)
			time.Sleep(10 * time.Second)
		}
		h.wantLoad(resource.Load{Idle: 3})
		h.wantPreempted()
		h.acquire("c").Release() // it has none: one gives way
		time.Sleep(10 * time.Second)
		h.wantLoad(resource.Load{Idle: 3})
		if s := h.k.Stats(); s.Made != 4 || s.Preempted != 1 {
			t.Errorf("%d were made and %d gave way, want 4 and 1", s.Made, s.Preempted)
		}
		stops := []func() int{h.busy("a", 3, 5*ms, ms), h.busy("b", 3, 5*ms, ms), h.busy("c", 3, 5*ms, ms)}
		time.Sleep(time.Minute)
		s := h.k.Stats()
		for _, stop := range stops {
			stop()
		}
		if s.Made > 100 {
			t.Errorf("%d were made in a minute for three busy keys with 3 places", s.Made)
		}
		time.Sleep(time.Hour)
		if s := h.k.Stats(); s.Keys != 3 || s.Idle != 3 {
			t.Errorf("keys with MinIdle are forgotten, or without: %v", s)
		}
	})
}

// Warm takes places from what is idle in other keys, never from itself, nor from
// callers.
func TestKeyedWarmAtTheTotal(t *testing.T) {
	keyed(t, 3, 5, func(h *keyedHarness) { h.makeTime = ms }, func(h *keyedHarness) {
		a, a2 := h.acquire("a"), h.acquire("a")
		h.acquire("b").Release()
		ctx, cancel := context.WithTimeout(h.t.Context(), 10*time.Second)
		defer cancel()
		if err := h.pool("w").Warm(ctx, 1); err != nil {
			t.Fatal(err)
		}
		h.wantPreempted(3)
		done := make(chan error, 1)
		go func() { done <- h.pool("w").Warm(ctx, 4) }()
		time.Sleep(time.Second)
		h.wantPreempted(3)
		h.wantLoad(resource.Load{Idle: 1, Leased: 2, Wanting: 2}) // of the total, and not of 4
		b := h.begin("b")                                         // a caller comes first
		time.Sleep(time.Second)
		b.wantLease()
		h.wantPreempted(3, 4)
		b.lease.Release()
		time.Sleep(time.Second)
		h.wantPreempted(3, 4, 5)
		a.Release()
		time.Sleep(time.Second)
		h.wantPreempted(3, 4, 5, 1)
		if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Warm: %v", err)
		}
		h.wantLoad(resource.Load{Idle: 2, Leased: 1})
		a2.Release()
		if s := h.k.Stats(); s.Made != 7 {
			t.Errorf("%d were made, want 7", s.Made)
		}
	})
}

// Two that warm more than there is end nothing of each other's for it, once even.
func TestKeyedTwoWarmsDoNotChurn(t *testing.T) {
	keyed(t, 4, 5, func(h *keyedHarness) { h.makeTime = ms }, func(h *keyedHarness) {
		ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
		defer cancel()
		done := make(chan error, 2)
		for _, key := range []string{"a", "b"} {
			go func() { done <- h.pool(key).Warm(ctx, 5) }()
			time.Sleep(time.Second)
		}
		<-done
		<-done
		if s := h.k.Stats(); s.Made > 8 {
			t.Errorf("%d were made for 4 places", s.Made)
		}
	})
}

// What is too near its end for the callers of its own key is not kept for them.
func TestKeyedMinRemaining(t *testing.T) {
	keyed(t, 2, 3, func(h *keyedHarness) {
		h.edit = func(_ string, cfg *resource.Config[*keyedItem]) { cfg.Eviction = evictAge(time.Hour) }
	}, func(h *keyedHarness) {
		h.acquire("a").Release()
		b := h.acquire("b")
		time.Sleep(50 * time.Minute)
		ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
		defer cancel()
		l, err := h.k.AcquireWith(ctx, "a", resource.Request{MinRemaining: 30 * time.Minute})
		if err != nil {
			t.Fatalf("its own old one keeps a new one from being made: %v", err)
		}
		if got := l.Value().n; got != 3 {
			t.Errorf("got item %d", got)
		}
		l.Release()
		b.Release()
	})
}

// A key has a Queue of its own.
func TestKeyedQueuePerKey(t *testing.T) {
	keyed(t, 2, 1, func(h *keyedHarness) {
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
			if key == "last first" {
				cfg.Queue = &stack{}
			}
		}
	}, func(h *keyedHarness) {
		for key, want := range map[string][]int{"last first": {3, 2, 1}, "first first": {1, 2, 3}} {
			l := h.acquire(key)
			var calls []*keyedCall
			for range 3 {
				calls = append(calls, h.begin(key))
				time.Sleep(ms)
			}
			for _, n := range want {
				l.Release()
				l = calls[n-1].wantLease()
			}
			l.Release()
		}
	})
}

// Callers in a Queue do not keep the total from others.
func TestKeyedQueueGivesWay(t *testing.T) {
	keyed(t, 1, 1, func(h *keyedHarness) {
		h.edit = func(_ string, cfg *resource.Config[*keyedItem]) { cfg.Queue = &stack{} }
	}, func(h *keyedHarness) {
		stops := []func() int{h.busy("a", 4, ms, 0), h.busy("b", 4, ms, 0), h.busy("c", 1, ms, ms)}
		time.Sleep(10 * time.Second)
		for i, stop := range stops {
			if n := stop(); n < 500 {
				t.Errorf("key %d was served %d times in 10 s", i, n)
			}
		}
	})
}

// What a Health looks at just now gives no way, and does when it is done.
func TestKeyedHealthInTheSweep(t *testing.T) {
	keyed(t, 1, 1, func(h *keyedHarness) {
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
			if key == "slow" {
				cfg.SweepInterval = time.Second
				cfg.Health = slowCheck{}
			}
		}
	}, func(h *keyedHarness) {
		h.acquire("slow").Release()
		time.Sleep(1100 * ms) // the sweep looks at it, for a second
		start := time.Now()
		c := h.begin("b")
		c.wantWaiting()
		h.wantPreempted()
		time.Sleep(950 * ms)
		c.wantLease().Release()
		h.wantPreempted(1)
		if waited := c.after; waited < 500*ms || time.Since(start) > time.Second {
			t.Errorf("it waited %v for what was being checked for a second", waited)
		}
	})
}

// slowCheck passes in the sweep after a second.
type slowCheck struct{}

func (slowCheck) Check(context.Context, *keyedItem, resource.Info) error {
	time.Sleep(time.Second)
	return nil
}

func (slowCheck) Due(i resource.Info) bool { return i.Idle > 500*ms }

// What a sweep ends frees its place for a key that waits for nothing else.
func TestKeyedEvictionFreesPlaces(t *testing.T) {
	keyed(t, 2, 2, func(h *keyedHarness) {
		h.edit = func(_ string, cfg *resource.Config[*keyedItem]) {
			cfg.Eviction, cfg.SweepInterval = evictAge(time.Minute), time.Second
		}
	}, func(h *keyedHarness) {
		h.acquire("a").Release()
		h.acquire("b").Release()
		time.Sleep(62 * time.Second)
		h.wantLoad(resource.Load{})
		h.acquire("c").Release()
		h.wantPreempted()
		if s := h.k.Stats(); s.Evicted != 2 {
			t.Errorf("%v", s)
		}
	})
}

// One key whose makes fail, or hang, or are refused hurts no other: at most the
// places of the makes that run.
func TestKeyedOutageOfOneKey(t *testing.T) {
	down := errors.New("down")
	for name, edit := range map[string]func(cfg *resource.Config[*keyedItem]){
		"fails": func(cfg *resource.Config[*keyedItem]) {
			cfg.Make = func(context.Context) (*keyedItem, error) { time.Sleep(10 * ms); return nil, down }
		},
		"fails, callers wait": func(cfg *resource.Config[*keyedItem]) {
			cfg.Outage = resource.KeepWaiting
			cfg.Make = func(context.Context) (*keyedItem, error) { time.Sleep(10 * ms); return nil, down }
		},
		"is refused": func(cfg *resource.Config[*keyedItem]) {
			cfg.MakeGate = admitFunc(func(context.Context, resource.Request) (resource.Done, error) { return nil, down })
		},
		"is refused for a while": func(cfg *resource.Config[*keyedItem]) {
			cfg.Quota = admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
				return nil, &resource.Rejection{RetryAfter: time.Second}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			keyed(t, 4, 4, func(h *keyedHarness) {
				h.makeTime = 10 * ms
				h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
					if key == "down" {
						edit(cfg)
					}
				}
			}, func(h *keyedHarness) {
				alone := h.busy("well", 8, 10*ms, ms)
				time.Sleep(20 * time.Second)
				before := alone()
				stopWell := h.busy("well", 8, 10*ms, ms)
				stopDown := h.busy("down", 8, 10*ms, 10*ms)
				h.acquire("rare").Release()
				time.Sleep(20 * time.Second)
				h.acquire("rare").Release()
				if served := stopDown(); served != 0 {
					t.Errorf("the key that is down was served %d times", served)
				}
				if after := stopWell(); after < before*8/10 {
					t.Errorf("the other was served %d times in 20 s, and %d before", after, before)
				}
				time.Sleep(10 * time.Second) // a caller's last wish may still be probed for
				s := h.k.Stats()
				if s.Outages > 1 || s.Outage != (s.Outages == 1) || s.Making+s.Wanting > 0 {
					t.Errorf("%v", s)
				}
			})
		})
	}
}

// An end that hangs costs its one place, and keeps nobody from the others.
func TestKeyedHungDestroy(t *testing.T) {
	var hang chan struct{}
	keyed(t, 3, 2, func(h *keyedHarness) {
		hang = make(chan struct{}) // of the bubble
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
			if key == "hung" {
				destroy := cfg.Destroy
				cfg.Destroy = func(it *keyedItem, cause error) { <-hang; destroy(it, cause) }
			}
		}
	}, func(h *keyedHarness) {
		h.acquire("hung").Release()
		time.Sleep(100 * ms)
		h.acquire("x").Release()
		h.acquire("y").Release()
		time.Sleep(100 * ms)
		for i := range 5 {
			l, err := h.acquireFor(fmt.Sprint(i), 2*time.Second)
			if err != nil {
				t.Fatalf("key %d: %v; %v", i, err, h.k.Stats())
			}
			l.Release()
			h.wantLoad(resource.Load{Idle: 2, Destroying: 1})
		}
		close(hang)
		h.wantLoad(resource.Load{Idle: 2})
		h.acquire("hung").Release()
		h.wantLoad(resource.Load{Idle: 3})
	})
}
