package resource_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// The least recently used idle resource of another key gives way, whichever key
// it belongs to.
func TestKeyedLeastRecentlyUsedGivesWay(t *testing.T) {
	keyed(t, 3, 2, nil, func(h *keyedHarness) {
		a, b, a2 := h.acquire("a"), h.acquire("b"), h.acquire("a") // 1, 2, 3
		a.Release()
		time.Sleep(time.Second)
		b.Release()
		time.Sleep(time.Second)
		a2.Release()
		time.Sleep(time.Second)
		l := h.acquire("c")
		if got := h.destroyed(resource.ErrPreempted); !slices.Equal(got, []int{1}) {
			t.Errorf("%v gave way, want 1", got)
		}
		l2 := h.acquire("d")
		if got := h.destroyed(resource.ErrPreempted); !slices.Equal(got, []int{1, 2}) {
			t.Errorf("%v gave way, want 1 and 2", got)
		}
		l.Release()
		l2.Release()
		if s := h.k.Stats(); s.Preempted != 2 || s.Keys != 4 || s.Idle != 3 {
			t.Errorf("stats: %v", s)
		}
	})
}

// A busy key, whose callers always wait, does not starve a quiet one.
func TestKeyedBusyKeyDoesNotStarveQuietOne(t *testing.T) {
	for _, total := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(total), func(t *testing.T) {
			keyed(t, total, total, func(h *keyedHarness) { h.makeTime = 10 * time.Millisecond }, func(h *keyedHarness) {
				stop := h.busy("hot", 50, 5*time.Millisecond, 0)
				time.Sleep(time.Second)
				for i := range 20 {
					start := time.Now()
					l := h.acquire("cold")
					if waited := time.Since(start); waited > 600*time.Millisecond {
						t.Errorf("call %d of the cold key waited %v", i, waited)
					}
					time.Sleep(5 * time.Millisecond)
					l.Release()
					time.Sleep(200 * time.Millisecond)
				}
				stop()
			})
		})
	}
}

// A key without resources and without use is forgotten; when it is used again it
// is as new.
func TestKeyedForgets(t *testing.T) {
	keyed(t, 3, 1, func(h *keyedHarness) {
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
			if key == "short" {
				// Never at the instant at which keys are forgotten: what a sweep looks at is in use.
				cfg.Eviction, cfg.SweepInterval = evictIdle(time.Second), 1100*time.Millisecond
			}
		}
	}, func(h *keyedHarness) {
		h.acquire("short").Release()
		h.acquire("long").Release()
		time.Sleep(5 * time.Minute)
		if n := h.k.Len(); n != 1 {
			t.Errorf("%d keys after 5 minutes, want only the one with a resource", n)
		}
		if s := h.k.Stats(); s.Made != 2 || s.Destroyed != 1 || s.Acquired != 2 {
			t.Errorf("what the forgotten key did is missing: %v", s)
		}
		h.acquire("short").Release()
	})
}

// evictIdle ends what has been idle for longer than it says.
type evictIdle time.Duration

func (d evictIdle) Evict(i resource.Info) error {
	if i.Idle > time.Duration(d) {
		return errors.New("idle for too long")
	}
	return nil
}

// 10,000 keys cost no goroutine.
func TestKeyedManyKeysNoGoroutines(t *testing.T) {
	keyed(t, 10_000, 1, nil, func(h *keyedHarness) {
		for i := range 10_000 {
			h.acquire(fmt.Sprint(i)).Release()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := h.k.Len(); n != 10_000 {
			t.Errorf("%d keys", n)
		}
		if n := goroutinesOf("respool/resource."); n > 0 {
			t.Errorf("%d goroutines for 10,000 idle keys", n)
		}
		h.acquire("one more").Release()
	})
}
