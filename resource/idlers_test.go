package resource_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// In the sweep the Eviction is told how many are idle, and the ones idle longest
// come first: so a policy that keeps a few keeps those used last.
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
			t.Errorf("Idlers told at an acquire or release: %d in all", elsewhere)
		}
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
