package resource_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// First come, first served; a newcomer does not overtake.
func TestFairness_FirstComeFirstServed(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		cs := []*call{h.acquire(), h.acquire(), h.acquire(), h.acquire()}
		for i, c := range cs {
			if _, ok := h.p.TryAcquire(); ok {
				t.Error("TryAcquire overtook those who wait")
			}
			l.Release()
			l = c.wantLease()
			h.wantWaiting(cs[i+1:]...)
		}
	})
}

// Who comes again and again is served as often as everyone else.
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

// Nor between a release and the Queue's answer: the releaser itself, though
// it comes at once, does not overtake those who wait.
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

// One that is lent an illness, or finds its resource evicted, keeps its place
// in the line.
func TestFairness_EvictionKeepsThePlace(t *testing.T) {
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
		l.Release() // too old: it serves nobody
		h.wantWaiting(first, second)
		young.Release()
		first.wantItem(it)
		h.wantMakeWithin(time.Second).finish()
		second.wantLease()
	})
}

// A caller that is turned down by a check does so too.
func TestFairness_CheckKeepsThePlace(t *testing.T) {
	w := newWard()
	script(t, 1, w.in(time.Hour), func(h *harness) {
		l := h.lend()
		it := l.Value()
		first, second := h.acquire(), h.acquire()
		w.infect(it)
		l.Release()
		h.wantDestroyed(it, errSick)
		h.wantWaiting(first, second)
		h.wantMakeWithin(time.Second).finish()
		first.wantLease().Release()
		second.wantLease()
	})
}
