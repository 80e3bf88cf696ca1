package resource_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// What the hit path leaves to the slow one.

// MinRemaining is asked for although what is seated would do without it.
func TestMinRemaining_OnHit(t *testing.T) {
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		h.cfg.Eviction = olderThan(time.Minute)
		h.cfg.SweepInterval = time.Hour
	}
	script(t, 1, edit, func(h *harness) {
		old := h.stock(1)[0]
		time.Sleep(50 * time.Second)
		h.lend().Release()
		h.acquireWith(resource.Request{MinRemaining: 5 * time.Second}).wantItem(old).Release()
		l := h.acquireWith(resource.Request{MinRemaining: 20 * time.Second}).wantLeaseWithin(time.Second)
		h.wantDestroyed(old, resource.ErrNearEnd)
		if l.Value() == old {
			t.Error("lent one that has 10s left to who wants 20s")
		}
	})
}

// After a panic in Evict the Health is asked all the same.
func TestI9_HealthAfterEvictPanics(t *testing.T) {
	for _, due := range []bool{false, true} {
		var armed bool
		var checks int
		p := newPlain(t, 1, func(cfg *resource.Config[*token]) {
			cfg.Eviction = evictFunc(func(resource.Info) error {
				if armed {
					armed = false
					panic(errFault)
				}
				return nil
			})
			cfg.Health = &dueHealth{
				due:   func(resource.Info) bool { return due },
				check: func(resource.Info) error { checks++; return nil },
			}
			cfg.SweepInterval = time.Hour
		})
		onHit(t, p, func() {})
		armed, checks = true, 0
		p.must(context.Background()).Release()
		want := 0
		if due {
			want = 1
		}
		if checks != want || armed || p.Stats().Panics != 1 {
			t.Errorf("due: %t; %d checks, want %d; %d panics", due, checks, want, p.Stats().Panics)
		}
	}
}

// I7: a caller begins to wait at the instant in which the only holder releases.
// Nobody comes after them, so it is served by that release or never.
func TestI7_LastReleaseMeetsWaiter(t *testing.T) {
	p := newPlain(t, 1, func(cfg *resource.Config[*token]) {
		cfg.Eviction = evictFunc(func(resource.Info) error { return nil })
	})
	var round, done atomic.Int64
	reach := func(a *atomic.Int64, n int64) {
		for spin := 1; a.Load() < n; spin++ {
			if spin%1000 == 0 {
				runtime.Gosched() // there may be one processor
			}
		}
	}
	const last = 1 << 40
	n := int64(0)
	within(t, time.Minute, func() {
		go func() {
			for n := int64(1); ; n++ {
				if reach(&round, n); round.Load() == last {
					return
				}
				p.must(context.Background()).Release()
				done.Store(n)
			}
		}()
		for began := time.Now(); time.Since(began) < 700*time.Millisecond; {
			n++
			l := p.must(context.Background())
			round.Store(n)
			for range n % 512 {
				round.Load() // a little more each time
			}
			l.Release()
			reach(&done, n)
		}
		round.Store(last)
	})
	if got := p.Stats().Acquired; n == 0 || got != 2*n {
		t.Errorf("%d leases in %d rounds of two", got, n)
	}
}
