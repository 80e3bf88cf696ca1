package resource_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy/policytest"
	"github.com/respool/respool/resource"
)

// An idle resource that is too old is not lent: the next one is, or a new one is
// made.
func TestEviction_AtAcquire(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.Eviction = olderThan(time.Minute)
		h.cfg.SweepInterval = time.Hour
	}
	script(t, 2, edit, func(h *harness) {
		old := h.stock(1)[0]
		time.Sleep(2 * time.Minute)
		c := h.acquire()
		h.wantDestroyed(old, errOld)
		it := h.wantMake().finish()
		c.wantItem(it)
		if n := h.p.Stats().Evicted; n != 1 {
			t.Errorf("%d evicted, want 1", n)
		}
	})
}

// A resource that became too old while leased is neither put back nor handed over.
func TestEviction_AtRelease(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.Eviction = olderThan(time.Minute)
		h.cfg.SweepInterval = time.Hour
	}
	script(t, 1, edit, func(h *harness) {
		l := h.lend()
		old := l.Value()
		time.Sleep(2 * time.Minute)
		c := h.acquire()
		l.Release()
		h.wantDestroyed(old, errOld)
		it := h.wantMakeWithin(time.Second).finish()
		c.wantItem(it)
	})
}

// The sweep evicts resources that no caller acquires.
func TestEviction_InSweep(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.Eviction = olderThan(30 * time.Second)
		h.cfg.SweepInterval = 10 * time.Second
	}
	script(t, 4, edit, func(h *harness) {
		its := h.stock(2)
		time.Sleep(25 * time.Second)
		h.wantAlive(its...)
		young := h.lendFresh()
		time.Sleep(20 * time.Second)
		h.wantDestroyed(its[0], errOld)
		h.wantDestroyed(its[1], errOld)
		h.wantAlive(young)
		h.wantNoMake()
		if n := h.p.Stats().Evicted; n != 2 {
			t.Errorf("%d evicted, want 2", n)
		}
	})
}

// lendFresh makes one more item, and puts it on the idle list.
func (h *harness) lendFresh() *item {
	h.t.Helper()
	var ls []resource.Lease[*item]
	for h.p.Stats().Idle > 0 {
		ls = append(ls, h.acquire().wantLease())
	}
	c := h.acquire()
	it := h.wantMakeWithin(time.Second).finish()
	ls = append(ls, c.wantItem(it))
	for _, l := range ls {
		l.Release()
	}
	h.settle()
	return it
}

// With MinIdle the sweep replaces what it ended.
func TestEviction_MinIdleRefills(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.Eviction = olderThan(30 * time.Second)
		h.cfg.SweepInterval, h.cfg.MinIdle = 10*time.Second, 2
	}
	script(t, 2, edit, func(h *harness) {
		for _, m := range h.wantMakes(2) {
			m.finish()
		}
		for range 2 {
			h.wantAnyMake(time.Minute).finish()
		}
		h.wantLoad(resource.Load{Idle: 2})
	})
}

// The Info that Evict gets.
func TestEviction_Info(t *testing.T) {
	var seen atomic.Pointer[resource.Info]
	edit := func(h *harness) {
		h.cfg.SweepInterval = time.Hour
		h.cfg.Eviction = evictFunc(func(i resource.Info) error { seen.Store(&i); return nil })
	}
	script(t, 1, edit, func(h *harness) {
		l := h.lend()
		want := l.Info()
		if want.ID != 1 || want.Leases != 1 || want.Jitter < 0 || want.Jitter >= 1 {
			t.Errorf("a first lease's Info is %+v", want)
		}
		time.Sleep(10 * time.Second)
		l.Release()
		h.settle()
		if i := *seen.Load(); i.ID != 1 || i.Leases != 1 || !near(i.Age, 10*time.Second) || i.Idle != 0 || i.Jitter != want.Jitter {
			t.Errorf("at release Evict got %+v", i)
		}
		time.Sleep(20 * time.Second)
		l = h.lend()
		if i := *seen.Load(); !near(i.Age, 30*time.Second) || !near(i.Idle, 20*time.Second) || i.Jitter != want.Jitter {
			t.Errorf("at acquire Evict got %+v", i)
		}
		if i := l.Info(); i.Leases != 2 || !near(i.Idle, 20*time.Second) || !near(i.Age, 30*time.Second) {
			t.Errorf("a second lease's Info is %+v", i)
		}
	})
}

// near allows for the clock that ticks every 100 ms.
func near(got, want time.Duration) bool { return (got - want).Abs() <= 100*time.Millisecond }

// Jitter is drawn once per resource, in [0,1).
func TestEviction_Jitter(t *testing.T) {
	script(t, 50, nil, func(h *harness) {
		ls, _ := h.lendN(50)
		seen := map[float64]bool{}
		for i, l := range ls {
			info := l.Info()
			if info.ID != uint64(i+1) {
				t.Errorf("number %d has ID %d", i+1, info.ID)
			}
			if info.Jitter < 0 || info.Jitter >= 1 {
				t.Errorf("Jitter is %v", info.Jitter)
			}
			seen[info.Jitter] = true
		}
		if len(seen) < 45 {
			t.Errorf("only %d different jitters among 50", len(seen))
		}
	})
}

var errLeaving = errors.New("remote is leaving")

// leaving are the items whose remotes have said that they leave.
type leaving struct{ n [8]atomic.Bool }

func (l *leaving) evictIf(it *item, _ resource.Info) error {
	if l.n[it.n].Load() {
		return errLeaving
	}
	return nil
}

// withEvictIf is an edit for a pool with EvictIf and no Eviction.
func withEvictIf(l *leaving, sweep time.Duration) func(h *harness) {
	return func(h *harness) { h.cfg.EvictIf, h.cfg.SweepInterval = l.evictIf, sweep }
}

// An idle resource that EvictIf ends is not lent.
func TestEvictIf_AtAcquire(t *testing.T) {
	var l leaving
	script(t, 2, withEvictIf(&l, time.Hour), func(h *harness) {
		its := h.stock(2)
		l.n[its[1].n].Store(true)
		h.acquire().wantItem(its[0])
		h.wantDestroyed(its[1], errLeaving)
		if n := h.p.Stats().Evicted; n != 1 {
			t.Errorf("%d evicted, want 1", n)
		}
	})
}

// A leased one goes when its lease ends, also on the fast path and if callers wait.
func TestEvictIf_AtRelease(t *testing.T) {
	var l leaving
	script(t, 1, withEvictIf(&l, time.Hour), func(h *harness) {
		h.lend().Release()
		lease := h.lend()
		it := lease.Value()
		l.n[it.n].Store(true)
		h.wantAlive(it)
		lease.Release()
		h.wantDestroyed(it, errLeaving)

		lease = h.lend()
		it = lease.Value()
		c := h.acquire()
		l.n[it.n].Store(true)
		lease.Release()
		h.wantDestroyed(it, errLeaving)
		c.wantItem(h.wantMakeWithin(time.Second).finish())
	})
}

// The sweep ends an idle resource that is not in demand, and has a replacement made
// for one that is in use.
func TestEvictIf_InSweep(t *testing.T) {
	var l leaving
	script(t, 3, withEvictIf(&l, 10*time.Second), func(h *harness) {
		its := h.stock(2)
		lease := h.acquire().wantLease()
		used := lease.Value()
		idle := its[0]
		if idle == used {
			idle = its[1]
		}
		l.n[idle.n].Store(true)
		time.Sleep(11 * time.Second)
		h.wantDestroyed(idle, errLeaving)
		h.wantNoMake()
		l.n[used.n].Store(true)
		next := h.wantMakeWithin(11 * time.Second).finish()
		h.wantAlive(used)
		lease.Release()
		h.wantDestroyed(used, errLeaving)
		h.acquire().wantItem(next)
	})
}

// Eviction is asked first, and what it ends EvictIf does not see.
func TestEvictIf_AfterEviction(t *testing.T) {
	seen := map[int]int{}
	edit := func(h *harness) {
		h.cfg.SweepInterval = time.Hour
		h.cfg.Eviction = olderThan(time.Minute)
		h.cfg.EvictIf = func(it *item, i resource.Info) error {
			seen[it.n]++
			if i.Leases >= 2 {
				return errLeaving
			}
			return nil
		}
	}
	script(t, 1, edit, func(h *harness) {
		h.lend().Release()
		lease := h.lend()
		first := lease.Value()
		lease.Release()
		h.wantDestroyed(first, errLeaving)
		if seen[1] != 4 { // at two acquires and two releases
			t.Errorf("EvictIf was asked %d times, want 4", seen[1])
		}
		lease = h.lend()
		second := lease.Value()
		asked := seen[2]
		time.Sleep(2 * time.Minute)
		lease.Release()
		h.wantDestroyed(second, errOld)
		if seen[2] != asked {
			t.Errorf("EvictIf was asked about one that Eviction had ended")
		}
	})
}

// MinRemaining asks EvictIf too.
func TestEvictIf_MinRemaining(t *testing.T) {
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		h.cfg.SweepInterval = time.Hour
		h.cfg.EvictIf = func(_ *item, i resource.Info) error { return olderThan(time.Minute)(i) }
	}
	script(t, 1, edit, func(h *harness) {
		old := h.stock(1)[0]
		time.Sleep(50 * time.Second)
		h.acquireWith(resource.Request{MinRemaining: 5 * time.Second}).wantItem(old).Release()
		l := h.acquireWith(resource.Request{MinRemaining: 20 * time.Second}).wantLeaseWithin(time.Second)
		h.wantDestroyed(old, resource.ErrNearEnd)
		l.Release()
	})
}

// I9: a panic in EvictIf keeps the resource, at acquire and at release.
func TestI9_EvictIfPanics(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.SweepInterval = time.Hour
		h.cfg.EvictIf = func(*item, resource.Info) error { panic(errFault) }
	}
	script(t, 1, edit, func(h *harness) {
		lease := h.lend()
		it := lease.Value()
		lease.Release()
		for range 3 {
			h.acquire().wantItem(it).Release()
		}
		if n := h.p.Stats().Panics; n < 6 {
			t.Errorf("%d panics, want one at each acquire and each release", n)
		}
	})
}

// Inspect shows that there is one.
func TestEvictIf_Inspect(t *testing.T) {
	var l leaving
	script(t, 1, withEvictIf(&l, time.Hour), func(h *harness) {
		all := h.p.Inspect(0).Policies
		if len(all) != 1 || all[0].Moment != "EvictIf" {
			t.Errorf("the policies are %+v", all)
		}
	})
}

// The policies of the examples keep what package policytest asks of a user's.
func TestExamplePolicies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policytest.Eviction(t, func() resource.Eviction { return afterLeases(2) })
	})
	synctest.Test(t, func(t *testing.T) {
		policytest.Admission(t, func() resource.Admission {
			return quota{slots: map[string]chan struct{}{"batch": make(chan struct{}, 3)}}
		}, resource.Request{Class: "batch"}, resource.Request{Class: "other"})
	})
}

// In the sweep Info has the number of idle resources, and those idle longest are
// first: a policy that keeps a few keeps the most recently used.
func TestEviction_Idlers(t *testing.T) {
	var mu sync.Mutex
	var judged []resource.Info
	elsewhere := 0
	edit := func(h *harness) {
		h.cfg.SweepInterval = 10 * time.Second
		h.cfg.Eviction = evictFunc(func(i resource.Info) error {
			mu.Lock()
			defer mu.Unlock()
			if i.Idle < time.Second { // an acquire or a release
				elsewhere += i.Idlers
				return nil
			}
			if i.Age >= 15*time.Second {
				return nil // as it will be: see renew
			}
			judged = append(judged, i)
			if i.Idlers > 2 {
				return errOld
			}
			return nil
		})
	}
	script(t, 6, edit, func(h *harness) {
		ls, its := h.lendN(6)
		for _, n := range []int{3, 0, 4, 2, 1} { // 5 stays out
			time.Sleep(150 * time.Millisecond) // more than a tick
			ls[n].Release()
		}
		time.Sleep(12 * time.Second)
		for _, n := range []int{3, 0, 4} {
			h.wantDestroyed(its[n], errOld)
		}
		h.wantAlive(its[2], its[1], its[5])
		ls[5].Release()
		h.settle()
		var idlers []int
		mu.Lock()
		defer mu.Unlock()
		for n, i := range judged {
			idlers = append(idlers, i.Idlers)
			if n > 0 && i.Idle > judged[n-1].Idle {
				t.Errorf("judged after one idle for %v: %+v", judged[n-1].Idle, i)
			}
		}
		if !slices.Equal(idlers, []int{5, 4, 3, 2, 2}) {
			t.Errorf("Idlers were %v, want those that were left", idlers)
		}
		if elsewhere != 0 {
			t.Errorf("Idlers given at an acquire or release: %d in all", elsewhere)
		}
	})
}

// A resource for which OnRelease runs is idle too: the Eviction of another one counts it.
func TestEviction_IdlersBesideOnRelease(t *testing.T) {
	var mu sync.Mutex
	var idlers []int
	edit := func(h *harness) {
		h.cfg.SweepInterval = 10 * time.Second
		h.cfg.OnRelease = func(_ context.Context, it *item) error {
			if it.n == 2 {
				time.Sleep(15 * time.Second) // in the bubble of script
			}
			return nil
		}
		h.cfg.Eviction = evictFunc(func(i resource.Info) error {
			mu.Lock()
			defer mu.Unlock()
			if i.Idlers > 0 {
				idlers = append(idlers, i.Idlers)
			}
			return nil
		})
	}
	script(t, 2, edit, func(h *harness) {
		ls, _ := h.lendN(2)
		for _, l := range ls {
			l.Release()
		}
		time.Sleep(12 * time.Second) // in the bubble of script
		mu.Lock()
		defer mu.Unlock()
		if len(idlers) == 0 || slices.Contains(idlers, 1) {
			t.Errorf("Idlers were %v, want 2 each time", idlers)
		}
	})
}

// An Eviction that keeps nothing idle says nothing about the end of a leased resource: it gets no
// replacement.
func TestEviction_NothingIdle(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.SweepInterval = time.Second
		h.cfg.Eviction = evictFunc(func(i resource.Info) error {
			if i.Idlers > 0 {
				return errOld
			}
			return nil
		})
	}
	script(t, 3, edit, func(h *harness) {
		l := h.lend()
		time.Sleep(5 * time.Second) // in the bubble of script
		h.wantNoMake()
		l.Release()
		time.Sleep(5 * time.Second) // in the bubble of script
		h.wantLoad(resource.Load{})
		h.wantNoMake()
	})
}

// More than a sweep looks at in one go: the floor holds over all of them.
func TestEviction_IdlersOfMany(t *testing.T) {
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		h.cfg.SweepInterval = 10 * time.Second
		h.cfg.Eviction = evictFunc(func(i resource.Info) error {
			if i.Idlers > 150 {
				return errOld
			}
			return nil
		})
	}
	script(t, 200, edit, func(h *harness) {
		h.stock(200)
		time.Sleep(12 * time.Second)
		h.wantLoad(resource.Load{Idle: 150})
		if n := h.p.Stats().Evicted; n != 50 {
			t.Errorf("%d evicted, want 50", n)
		}
		time.Sleep(10 * time.Second)
		h.wantLoad(resource.Load{Idle: 150})
	})
}

// Trap 27: only the top of the stack could be reached; no single idle
// resource could be ended.
func TestPuddleTrap27_OnlyTheTop(t *testing.T) {
	var old atomic.Uint64
	edit := func(h *harness) {
		h.cfg.SweepInterval = time.Second
		h.cfg.Eviction = evictFunc(func(i resource.Info) error {
			if i.ID == old.Load() {
				return errors.New("chosen")
			}
			return nil
		})
	}
	script(t, 5, edit, func(h *harness) {
		ls, its := h.lendN(5)
		chosen := ls[2].Info().ID
		for _, l := range ls {
			l.Release()
		}
		h.settle()
		died := errors.New("died")
		its[1].invalidate(died)
		h.wantLoad(resource.Load{Idle: 4})
		h.wantDestroyed(its[1], died)
		old.Store(chosen)
		time.Sleep(1500 * time.Millisecond)
		h.wantGone(its[2])
		h.wantAlive(its[0], its[3], its[4])
		h.wantLoad(resource.Load{Idle: 3})
	})
}
