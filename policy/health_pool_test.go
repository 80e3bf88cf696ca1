package policy_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// The health checks in a pool.

// ward is a Health whose patients a test makes ill, and that notes who was
// checked.
type ward struct {
	mu      sync.Mutex
	dead    map[int]bool
	checked []int
}

func (w *ward) check(_ context.Context, n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checked = append(w.checked, n)
	if w.dead[n] {
		return errDead
	}
	return nil
}

// kill makes these ill, and nobody else.
func (w *ward) kill(ns ...int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = map[int]bool{}
	for _, n := range ns {
		w.dead[n] = true
	}
}

// wantChecked checks who was checked since the last call, in any order.
func (w *ward) wantChecked(t *testing.T, ns ...int) {
	t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.checked)
	if fmt.Sprint(w.checked) != fmt.Sprint(ns) {
		t.Errorf("checked %v, want %v", w.checked, ns)
	}
	w.checked = nil
}

func caring(max int, h resource.Health[int]) resource.Config[int] {
	return resource.Config[int]{MaxSize: max, Health: h, SweepInterval: time.Hour}
}

// Only what has been idle, and was not checked meanwhile, is checked.
func TestIfIdle_Pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &ward{}
		cfg := caring(1, policy.IfIdle(time.Minute, policy.Check(w.check)))
		cfg.SweepInterval = 70 * time.Second
		l := lend(t, cfg)
		l.get().Release()
		l.get().Release()
		time.Sleep(59 * time.Second)
		l.get().Release()
		w.wantChecked(t)
		time.Sleep(61 * time.Second)
		l.get().Release()
		w.wantChecked(t, 1)
		time.Sleep(100 * time.Second) // a sweep on the way, at 210 s
		w.wantChecked(t, 1)
		l.get().Release() // idle for 100 s, checked 10 s ago
		w.wantChecked(t)
		w.kill(1)
		time.Sleep(61 * time.Second)
		lease := l.get()
		if lease.Value() != 2 {
			t.Errorf("lent %d, which is dead", lease.Value())
		}
		lease.Release()
		l.wantGone(errDead, 1)
	})
}

// Failures in a row end a resource; one that passes in between does not count
// with them.
func TestConsecutive_Pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &ward{}
		l := lend(t, caring(1, policy.Consecutive(3, policy.Check(w.check))))
		l.get().Release()
		try := func(dead bool, want int) {
			t.Helper()
			w.kill()
			if dead {
				w.kill(1)
			}
			lease := l.get()
			if lease.Value() != want {
				t.Errorf("lent %d, want %d", lease.Value(), want)
			}
			lease.Release()
		}
		try(true, 1)
		try(true, 1)
		try(false, 1)
		try(true, 1)
		try(true, 1)
		l.wantGone(nil)
		try(true, 2)
		l.wantGone(errDead, 1)
	})
}

// A check that hangs costs a caller its timeout, not all his time.
func TestCheckTimeout_Pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hangs atomic.Bool
		l := lend(t, caring(2, policy.CheckTimeout(time.Second, policy.Check(func(ctx context.Context, n int) error {
			if n > 1 || !hangs.Load() {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}))))
		l.get().Release()
		hangs.Store(true)
		began := time.Now()
		lease := l.get()
		if lease.Value() != 2 || time.Since(began) != time.Second {
			t.Errorf("lent %d after %v, want 2 after 1s", lease.Value(), time.Since(began))
		}
		lease.Release()
		l.wantGone(policy.ErrCheckTimeout, 1)
	})
}

// After the first dead one nobody is lent one made before, or has to wait for
// its idle time to be over.
func TestCohort_Pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &ward{}
		l := lend(t, caring(6, policy.Cohort(policy.IfIdle(time.Minute, policy.Check(w.check)))))
		l.warm(6)
		var leases [7]resource.Lease[int]
		for range 6 {
			lease := l.get()
			leases[lease.Value()] = lease
		}
		leases[4].Release()
		leases[5].Release()
		time.Sleep(time.Minute)
		w.wantChecked(t)
		leases[2].Release() // idle for no time
		leases[3].Release()
		leases[6].Release()
		l.get().Release() // 6
		w.wantChecked(t)
		leases[6] = l.get()
		leases[3], leases[2] = l.get(), l.get()
		w.wantChecked(t)
		w.kill(2, 5) // their server was restarted
		lease := l.get()
		if lease.Value() != 4 {
			t.Errorf("lent %d, want 4", lease.Value())
		}
		w.wantChecked(t, 4, 5)
		l.wantGone(errDead, 5)
		for _, n := range []int{1, 2, 3, 6} { // just used, but suspected: not 6
			leases[n].Release()
			again := l.get()
			if n == 2 {
				w.wantChecked(t, 2)
				l.wantGone(errDead, 2, 5)
			} else if again.Value() != n {
				t.Errorf("lent %d, want %d", again.Value(), n)
			} else if n == 6 {
				w.wantChecked(t)
			} else {
				w.wantChecked(t, n)
			}
			defer again.Release()
		}
		lease.Release()
		l.get().Release()
		w.wantChecked(t) // 4 has passed; that 2 was dead is no news
	})
}

// A death that the pool learns by invalidate is fed to the Cohort by its Trace.
func TestCohort_Invalidated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &ward{}
		c := policy.Cohort(policy.IfIdle(time.Minute, policy.Check(w.check)))
		cfg := caring(3, c)
		invalidates := map[int]func(error){}
		var mu sync.Mutex
		cfg.Watch = func(n int, invalidate func(error)) {
			mu.Lock()
			defer mu.Unlock()
			invalidates[n] = invalidate
		}
		cfg.Trace = &resource.Trace{Destroyed: func(e resource.DestroyEvent) { c.Suspect(e.Info.ID) }}
		l := lend(t, cfg)
		l.warm(3)
		mu.Lock()
		invalidates[2](errDead)
		mu.Unlock()
		l.wantGone(errDead, 2)
		a, b := l.get(), l.get()
		w.wantChecked(t, 1) // 3 was made later
		a.Release()
		b.Release()
	})
}
