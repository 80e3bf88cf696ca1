package resource_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
	"go.uber.org/goleak"
)

// MinIdle of several keys, more than there are slots: no key takes another's for
// it, over and over.
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
		h.acquire("c").Release() // it has none: one is preempted
		time.Sleep(10 * time.Second)
		h.wantLoad(resource.Load{Idle: 3})
		if s := h.k.Stats(); s.Made != 4 || s.Preempted != 1 {
			t.Errorf("%d were made and %d preempted, want 4 and 1", s.Made, s.Preempted)
		}
		stops := []func() int{h.busy("a", 3, 5*ms, ms), h.busy("b", 3, 5*ms, ms), h.busy("c", 3, 5*ms, ms)}
		time.Sleep(time.Minute)
		s := h.k.Stats()
		for _, stop := range stops {
			stop()
		}
		if s.Made > 100 {
			t.Errorf("%d were made in a minute for three busy keys with 3 slots", s.Made)
		}
		time.Sleep(time.Hour)
		if s := h.k.Stats(); s.Keys != 3 || s.Idle != 3 {
			t.Errorf("keys with MinIdle are forgotten, or without: %v", s)
		}
	})
}

// Warm takes slots from what is idle in other keys, never from itself, nor from
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
			t.Errorf("%d were made for 4 slots", s.Made)
		}
	})
}

// A resource that is too near its end for the callers of its own key is not kept
// for them.
func TestKeyedMinRemaining(t *testing.T) {
	keyed(t, 2, 3, func(h *keyedHarness) {
		h.edit = func(_ string, cfg *resource.Config[*keyedItem]) { cfg.Eviction = olderThan(time.Hour) }
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
func TestKeyedQueueIsPreempted(t *testing.T) {
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

// A resource under a check is not preempted, and is when the check is done.
func TestKeyedHealthInTheSweep(t *testing.T) {
	keyed(t, 1, 1, func(h *keyedHarness) {
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
			if key == "slow" {
				cfg.SweepInterval = time.Second
				cfg.Health = scheduled[*keyedItem]{
					due:   func(i resource.Info) bool { return i.Idle > 500*ms },
					check: func(context.Context, *keyedItem, resource.Info) error { time.Sleep(time.Second); return nil },
				}
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

// An eviction by the sweep frees a slot for a key that waits for nothing else.
func TestKeyedEvictionFreesSlots(t *testing.T) {
	keyed(t, 2, 2, func(h *keyedHarness) {
		h.edit = func(_ string, cfg *resource.Config[*keyedItem]) {
			cfg.Eviction, cfg.SweepInterval = olderThan(time.Minute), time.Second
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

// One key whose makes fail, or hang, or are refused costs other keys at most the
// slots of the makes that run.
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
			cfg.MakeGate = refusing(down)
		},
		"is refused for a while": func(cfg *resource.Config[*keyedItem]) {
			cfg.Quota = refusing(&resource.Rejection{RetryAfter: time.Second})
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
				time.Sleep(10 * time.Second) // a prober may still run for a caller that has left
				s := h.k.Stats()
				if s.Outages > 1 || s.Outage != (s.Outages == 1) || s.Making+s.Wanting > 0 {
					t.Errorf("%v", s)
				}
			})
		})
	}
}

// A Destroy that hangs costs its one slot, and keeps no caller from the others.
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

// A key whose idle resources are all dead serves its callers after one check, and
// its unverified resources are preempted for callers of other keys meanwhile.
func TestKeyedAllDead(t *testing.T) {
	for _, total := range []int{20, 30} {
		t.Run(fmt.Sprintf("20 idle of %d", total), func(t *testing.T) {
			var dead atomic.Bool
			keyed(t, total, total, func(h *keyedHarness) {
				h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
					if key == "a" {
						cfg.SweepInterval = time.Hour
						cfg.Health = scheduled[*keyedItem]{
							due: func(i resource.Info) bool { return i.Idle >= time.Minute && i.Checked >= time.Minute },
							check: func(ctx context.Context, _ *keyedItem, _ resource.Info) error {
								if !dead.Load() {
									return nil
								}
								select {
								case <-time.After(2 * time.Second): // the check's timeout
								case <-ctx.Done():
								}
								return errSick
							},
						}
					}
				}
			}, func(h *keyedHarness) {
				if err := h.pool("a").Warm(context.Background(), 20); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Minute)
				dead.Store(true)
				first := h.begin("a")
				time.Sleep(2200 * ms)
				defer first.wantLease().Release()
				if first.after > 2200*ms {
					t.Errorf("served after %v", first.after)
				}
				var others []*keyedCall
				for range 8 {
					others = append(others, h.begin("b"))
				}
				time.Sleep(300 * ms)
				for i, c := range others {
					defer c.wantLease().Release()
					if c.after > 300*ms {
						t.Errorf("caller %d of another key was served after %v", i+1, c.after)
					}
				}
				for range 3 {
					c := h.begin("a")
					time.Sleep(300 * ms)
					defer c.wantLease().Release()
				}
			})
		})
	}
}

// reentrantPolicy is every policy at once; each of its methods calls the Keyed.
type reentrantPolicy struct {
	k     atomic.Pointer[resource.Keyed[int, int]]
	calls atomic.Int64
	deep  atomic.Int64
	stack
}

// meddle does something to some key.
func (m *reentrantPolicy) meddle() {
	k := m.k.Load()
	if k == nil || m.deep.Add(1) > 8 {
		m.deep.Add(-1)
		return
	}
	defer m.deep.Add(-1)
	m.calls.Add(1)
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	key := rand.IntN(7) // one is of no other use
	switch rand.IntN(9) {
	case 0:
		if l, err := k.Acquire(ctx, key); err == nil {
			l.Release()
		}
	case 1:
		if l, ok := k.TryAcquire(key); ok {
			l.Discard(nil)
		}
	case 2:
		k.Stats()
	case 3:
		if key == 6 {
			_ = k.Drain(ctx, key)
		}
	case 4:
		if rand.IntN(20) == 0 {
			k.Reset(nil)
		}
	case 5:
		_ = k.Resize(2 + rand.IntN(4))
	case 6:
		for _, p := range k.All() {
			p.Stats()
		}
	case 7:
		if p, ok := k.Find(key); ok {
			_ = p.Warm(ctx, 1)
		}
	case 8:
		k.Len()
	}
}

func (m *reentrantPolicy) Admit(context.Context, resource.Request) (resource.Done, error) {
	m.meddle()
	return func(resource.Outcome) { m.meddle() }, nil
}
func (m *reentrantPolicy) Evict(resource.Info) error                       { m.meddle(); return nil }
func (m *reentrantPolicy) Check(context.Context, int, resource.Info) error { m.meddle(); return nil }
func (m *reentrantPolicy) Due(resource.Info) bool                          { m.meddle(); return rand.IntN(2) == 0 }
func (m *reentrantPolicy) Push(w *resource.Waiter, t time.Duration)        { m.meddle(); m.stack.Push(w, t) }
func (m *reentrantPolicy) Remove(w *resource.Waiter)                       { m.meddle(); m.stack.Remove(w) }
func (m *reentrantPolicy) Pop(t time.Duration) (*resource.Waiter, error) {
	m.meddle()
	return m.stack.Pop(t)
}

// Every function that a Keyed calls may call the Keyed: no lock is held meanwhile,
// and nothing is left when it is closed.
func TestI5_KeyedCalledFromEverywhere(t *testing.T) {
	here := goleak.IgnoreCurrent()
	var all []*reentrantPolicy
	var mu sync.Mutex
	var k *resource.Keyed[int, int]
	k = newKeyed(t, resource.KeyedConfig[int, int]{
		MaxTotal: 3, ForgetAfter: time.Millisecond,
		Config: func(key int) (resource.Config[int], error) {
			m := &reentrantPolicy{}
			m.k.Store(k)
			mu.Lock()
			all = append(all, m)
			mu.Unlock()
			cfg := resource.Config[int]{
				MaxSize: 2, SweepInterval: resource.MinSweepInterval,
				Make:    func(context.Context) (int, error) { m.meddle(); return key, nil },
				Destroy: func(int, error) { m.meddle() },
				Watch:   func(_ int, invalidate func(error)) { m.meddle() },
				Quota:   m, MakeGate: m,
				Trace: &resource.Trace{
					Made:      func(context.Context, resource.MakeEvent) { m.meddle() },
					Destroyed: func(resource.DestroyEvent) { m.meddle() },
				},
			}
			if key%3 > 0 {
				cfg.Admission, cfg.Eviction, cfg.Health = m, m, m
			}
			if key%3 == 2 {
				cfg.Queue = m
			}
			return cfg, nil
		},
	})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	const enough = 100 // leases, and more within a second on a machine that is not busy
	var served atomic.Int64
	begin := time.Now()
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			for ctx.Err() == nil && (time.Since(begin) < time.Second || served.Load() < enough) {
				if l, err := k.Acquire(ctx, rand.IntN(6)); err == nil {
					served.Add(1)
					l.Release()
				}
			}
		})
	}
	wg.Wait()
	last, cancelLast := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancelLast()
	if err := k.Close(last); err != nil {
		t.Fatalf("I6: Close: %v; %v", err, k.Stats())
	}
	if err := goleak.Find(here); err != nil {
		t.Error(err)
	}
	calls := int64(0)
	for _, m := range all {
		calls += m.calls.Load()
	}
	if served.Load() < enough || calls < enough {
		t.Errorf("%d served, %d calls from inside: nothing was tried", served.Load(), calls)
	}
	t.Logf("%d served, %d calls from inside", served.Load(), calls)
}
