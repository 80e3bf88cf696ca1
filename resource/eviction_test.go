package resource_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

var errOld = errors.New("too old")

// olderThan evicts by age.
func olderThan(d time.Duration) evictFunc {
	return func(i resource.Info) error {
		if i.Age >= d {
			return errOld
		}
		return nil
	}
}

// An idle one that is too old is not lent: the next one is, or one is made.
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

// One that became too old while leased is not put back, nor handed over.
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

// The sweep finds those that nobody asks for.
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

// lendFresh makes one more, and puts it on the shelf.
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

// What Evict is told.
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
			t.Errorf("at release Evict was told %+v", i)
		}
		time.Sleep(20 * time.Second)
		l = h.lend()
		if i := *seen.Load(); !near(i.Age, 30*time.Second) || !near(i.Idle, 20*time.Second) || i.Jitter != want.Jitter {
			t.Errorf("at acquire Evict was told %+v", i)
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

// MinRemaining: one that the Eviction will not keep that long is left for
// others, who still get it.
func TestMinRemaining_SkipsTheOld(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.Eviction = olderThan(time.Hour)
		h.cfg.SweepInterval = 24 * time.Hour
	}
	script(t, 2, edit, func(h *harness) {
		old := h.stock(1)[0]
		time.Sleep(55 * time.Minute)
		long := h.acquireWith(resource.Request{MinRemaining: 10 * time.Minute})
		it := h.wantMake().finish()
		l := long.wantItem(it)
		h.wantAlive(old)
		h.acquireWith(resource.Request{MinRemaining: time.Minute}).wantItem(old)
		l.Release()
	})
}

// One with enough left is taken, though it is not the first in order.
func TestMinRemaining_TakesTheYoung(t *testing.T) {
	for _, order := range []resource.Order{resource.NewestFirst, resource.OldestFirst} {
		t.Run(fmt.Sprint("order=", order), func(t *testing.T) {
			edit := func(h *harness) {
				h.cfg.Order = order
				h.cfg.Eviction = olderThan(time.Hour)
				h.cfg.SweepInterval = 24 * time.Hour
			}
			script(t, 2, edit, func(h *harness) {
				old := h.stock(1)[0]
				time.Sleep(55 * time.Minute)
				young := h.lendFresh()
				r := resource.Request{MinRemaining: 10 * time.Minute}
				l := h.acquireWith(r).wantItem(young)
				l.Release()
				h.acquireWith(r).wantItem(young)
				h.wantAlive(old)
				h.wantNoMake()
			})
		})
	}
}

// In a full pool the oldest idle one makes room.
func TestMinRemaining_MakesRoom(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.Eviction = olderThan(time.Hour)
		h.cfg.SweepInterval = 24 * time.Hour
	}
	script(t, 2, edit, func(h *harness) {
		oldest := h.stock(1)[0]
		time.Sleep(time.Minute)
		second := h.lendFresh()
		time.Sleep(55 * time.Minute)
		c := h.acquireWith(resource.Request{MinRemaining: 10 * time.Minute})
		h.wantDestroyed(oldest, resource.ErrNearEnd)
		h.wantAlive(second)
		it := h.wantMakeWithin(time.Second).finish()
		c.wantItem(it)
	})
}

// A waiter is not handed one that is too near its end; the next waiter is.
func TestMinRemaining_AtHandOff(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.Eviction = olderThan(time.Hour)
		h.cfg.SweepInterval = 24 * time.Hour
	}
	script(t, 2, edit, func(h *harness) {
		ls, its := h.lendN(2)
		time.Sleep(55 * time.Minute)
		long := h.acquireWith(resource.Request{MinRemaining: 10 * time.Minute})
		short := h.acquire()
		h.wantWaiting(long, short)
		ls[0].Release()
		short.wantItem(its[0])
		h.wantWaiting(long)
		ls[1].Discard(nil)
		it := h.wantMakeWithin(time.Second).finish()
		long.wantItem(it)
	})
}
