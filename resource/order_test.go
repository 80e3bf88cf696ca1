package resource_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// NewestFirst lends the one given back last: under little load the others
// stay idle.
func TestOrder_NewestFirst(t *testing.T) {
	script(t, 4, nil, func(h *harness) {
		its := h.stock(4)
		for range 8 {
			l := h.acquire().wantItem(its[3])
			time.Sleep(time.Second)
			l.Release()
		}
		for _, want := range []*item{its[3], its[2], its[1], its[0]} {
			h.acquire().wantItem(want)
		}
	})
}

// OldestFirst lends the one idle longest: all are used in turn.
func TestOrder_OldestFirst(t *testing.T) {
	edit := func(h *harness) { h.cfg.Order = resource.OldestFirst }
	script(t, 4, edit, func(h *harness) {
		its := h.stock(4)
		for range 3 {
			for _, want := range its {
				h.acquire().wantItem(want).Release()
			}
		}
	})
}

// The order is that of giving back, not of making, whichever goroutine does
// it.
func TestOrder_FollowsReleases(t *testing.T) {
	for name, order := range map[string]resource.Order{"newest": resource.NewestFirst, "oldest": resource.OldestFirst} {
		t.Run(name, func(t *testing.T) {
			edit := func(h *harness) { h.cfg.Order = order }
			script(t, 4, edit, func(h *harness) {
				ls, its := h.lendN(4)
				back := []int{2, 0, 3, 1}
				for _, i := range back {
					done := make(chan struct{})
					go func() { ls[i].Release(); close(done) }()
					<-done
				}
				if order == resource.NewestFirst {
					slices.Reverse(back)
				}
				for _, i := range back {
					h.acquire().wantItem(its[i])
				}
			})
		})
	}
}

// A resource ended in the middle leaves the order of the others.
func TestOrder_AfterInvalidate(t *testing.T) {
	script(t, 4, nil, func(h *harness) {
		its := h.stock(4)
		its[2].invalidate(nil)
		for _, i := range []int{3, 1, 0} {
			h.acquire().wantItem(its[i])
		}
	})
}

// So does one released with an error that is not Broken's, as its first lease: it
// goes to no local slot, and the older one in a local slot ranks below it.
func TestOrder_AfterMildFailure(t *testing.T) {
	edit := func(h *harness) { h.cfg.Broken = func(error) bool { return false } }
	script(t, 2, edit, func(h *harness) {
		ls, its := h.lendN(2)
		ls[1].Release()
		ls[0].Fail(errors.New("not found"))
		h.acquire().wantItem(its[0])
		h.acquire().wantItem(its[1])
	})
}

// First come, first served; a newcomer does not overtake.
func TestFairness_FirstComeFirstServed(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		cs := []*call{h.acquire(), h.acquire(), h.acquire(), h.acquire()}
		for i, c := range cs {
			if _, ok := h.p.TryAcquire(); ok {
				t.Error("TryAcquire overtook the waiters")
			}
			l.Release()
			l = c.wantLease()
			h.wantWaiting(cs[i+1:]...)
		}
	})
}

// A caller that returns again and again is served as often as every other.
func TestFairness_EqualShares(t *testing.T) {
	const callers, rounds = 50, 20
	synctest.Test(t, func(t *testing.T) {
		p := newPlain(t, 2, nil)
		ctx, cancel := context.WithTimeout(context.Background(), callers*rounds/2*time.Millisecond)
		defer cancel()
		served := make([]int, callers)
		var wg sync.WaitGroup
		for g := range callers {
			wg.Go(func() {
				for {
					l, err := p.Acquire(ctx)
					if err != nil {
						return
					}
					served[g]++
					time.Sleep(time.Millisecond)
					l.Release()
				}
			})
		}
		wg.Wait()
		for g, n := range served {
			if n < rounds-1 || n > rounds+1 {
				t.Errorf("caller %d was served %d times, want %d", g, n, rounds)
			}
		}
	})
}

// Nor between a release and the Queue's answer: the releaser itself, though it
// acquires at once, does not overtake the waiters.
func TestFairness_NoOvertakingWithQueue(t *testing.T) {
	script(t, 1, withQueue(&listQueue{}), func(h *harness) {
		for range 20 {
			l := h.lend()
			it := l.Value()
			c := h.acquire()
			l.Release()
			_, err := h.p.AcquireWith(context.Background(), resource.Request{NoWait: true})
			wantAcquireError(t, err, resource.ErrNoneIdle)
			c.wantItem(it).Release()
			h.settle()
		}
	})
}

// A waiter that gets an unhealthy resource, or one that is evicted, keeps its
// position.
func TestFairness_EvictionKeepsThePosition(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.Eviction = olderThan(time.Minute)
		h.cfg.SweepInterval = time.Hour
	}
	script(t, 2, edit, func(h *harness) {
		l := h.lend()
		time.Sleep(50 * time.Second)
		young := h.lend()
		it := young.Value()
		first, second := h.acquire(), h.acquire()
		time.Sleep(20 * time.Second)
		l.Release() // too old: it serves no caller
		h.wantWaiting(first, second)
		young.Release()
		first.wantItem(it)
		h.wantMakeWithin(time.Second).finish()
		second.wantLease()
	})
}

// A caller that is turned down by a check does so too.
func TestFairness_CheckKeepsThePosition(t *testing.T) {
	w := newScriptedHealth()
	script(t, 1, w.in(time.Hour), func(h *harness) {
		l := h.lend()
		it := l.Value()
		first, second := h.acquire(), h.acquire()
		w.markUnhealthy(it)
		l.Release()
		h.wantDestroyed(it, errSick)
		h.wantWaiting(first, second)
		h.wantMakeWithin(time.Second).finish()
		first.wantLease().Release()
		second.wantLease()
	})
}

// OldestFirst: a resource under a check when its caller gave up went to the back,
// though it had not been used.
func TestOrder_CancelledCheckKeepsThePosition(t *testing.T) {
	w := newScriptedHealth()
	edit := func(h *harness) {
		h.cfg.Order = resource.OldestFirst
		h.cfg.Health = w
	}
	script(t, 2, edit, func(h *harness) {
		ls, its := h.lendN(2)
		ls[0].Release()
		time.Sleep(time.Second)
		ls[1].Release()
		time.Sleep(time.Second)
		w.delay(time.Hour)
		c := h.acquireFor(100 * time.Millisecond)
		time.Sleep(100 * time.Millisecond)
		c.wantErr(context.DeadlineExceeded)
		w.delay(0)
		h.acquire().wantItem(its[0])
	})
}

// Trap 19: the health check put what it had taken back in the wrong order, so
// that the one used last became the one used first, and back, at each sweep.
func TestPuddleTrap19_CheckReversesOrder(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.SweepInterval = time.Second
		h.cfg.Health = checkFunc(func(context.Context, *item, resource.Info) error { return nil })
	}
	script(t, 5, edit, func(h *harness) {
		its := h.stock(5)
		var seen []int
		for range 5 {
			time.Sleep(1500 * time.Millisecond)
			l := h.lend()
			seen = append(seen, l.Value().n)
			l.Release()
		}
		if want := slices.Repeat([]int{its[4].n}, 5); !slices.Equal(seen, want) {
			t.Errorf("lent %v, want %v", seen, want)
		}
	})
}
