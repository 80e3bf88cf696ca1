package resource_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// I7: no lost wake-up, without polling. In a bubble time passes only when no
// goroutine can run, so a lost wake-up, and one that a poll repairs, both show as
// time: hammering a pool must take none at all.

func hammer(t *testing.T, size, goroutines, rounds int, edit func(*resource.Config[*token]), end func(p *plain, l resource.Lease[*token], i int)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPlain(t, size, edit)
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		var wg sync.WaitGroup
		for range goroutines {
			wg.Go(func() {
				for i := range rounds {
					l, err := p.Acquire(ctx)
					if err != nil {
						t.Errorf("round %d: %v", i, err)
						return
					}
					p.hold(l.Value())
					if i%4 == 0 {
						runtime.Gosched() // so that others find nothing idle
					}
					p.drop(l.Value())
					end(p, l, i)
				}
			})
		}
		wg.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("no goroutine could run for %v", took)
		}
		if s := p.Stats(); s.Waited == 0 {
			t.Errorf("no caller waited in %d acquires", s.Acquired)
		}
	})
}

func release(p *plain, l resource.Lease[*token], i int) { l.Release() }

func TestI7_TwoOnOne(t *testing.T)     { hammer(t, 1, 2, 20000, nil, release) }
func TestI7_ManyOnOne(t *testing.T)    { hammer(t, 1, 16, 1000, nil, release) }
func TestI7_ManyOnThree(t *testing.T)  { hammer(t, 3, 16, 1000, nil, release) }
func TestI7_NearlyEnough(t *testing.T) { hammer(t, 15, 16, 2000, nil, release) }

func TestI7_OldestFirst(t *testing.T) {
	hammer(t, 2, 8, 1000, func(cfg *resource.Config[*token]) { cfg.Order = resource.OldestFirst }, release)
}

func TestI7_CustomQueue(t *testing.T) {
	hammer(t, 2, 8, 1000, func(cfg *resource.Config[*token]) { cfg.Queue = &listQueue{} }, release)
}

// A freed slot wakes a waiter too: resources end in every way.
func TestI7_FreedSlots(t *testing.T) {
	hammer(t, 2, 8, 500, nil, func(p *plain, l resource.Lease[*token], i int) {
		switch i % 5 {
		case 0:
			l.Discard(nil)
		case 1:
			l.Fail(errors.New("broken"))
		case 2:
			p.hijack(l)
		case 3:
			(*l.Value().invalidate.Load())(nil)
			l.Release()
		default:
			l.Release()
		}
	})
}

// An idle resource that dies while a caller waits for its slot, and a reset, leave
// no waiter behind.
func TestI7_ResetUnderLoad(t *testing.T) {
	hammer(t, 2, 8, 500, nil, func(p *plain, l resource.Lease[*token], i int) {
		if i%10 == 0 {
			p.Reset(nil)
		}
		l.Release()
	})
}

// Growing wakes as many as there is room for.
func TestI7_GrowWakes(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		h.wantWaiting(h.acquire(), h.acquire(), h.acquire())
		h.wantNoMake()
		began := time.Now()
		h.resize(2)
		h.wantMake().finish()
		h.resize(4)
		// One at once; the others when the observed releases would not serve them.
		for h.running() > 0 || h.p.Stats().Waiting > 0 {
			h.mu.Lock()
			fresh := h.makes[h.claimed:]
			h.claimed = len(h.makes)
			h.mu.Unlock()
			for _, m := range fresh {
				m.finish()
			}
			time.Sleep(time.Millisecond)
			if time.Since(began) > 10*time.Second {
				t.Fatalf("still waiting: %v", h.p.Stats().Load)
			}
		}
		h.wantLoad(resource.Load{Leased: 4})
		l.Release()
	})
}

// A caller that begins to wait while the last release is under way is not
// forgotten: when a release has returned, nothing is idle while a caller waits.
// This looks at the moment itself, since later releases would serve the forgotten
// waiter.
func TestI7_ReleaseSeesWaiters(t *testing.T) {
	for _, spin := range []int{1, 20, 100, 300, 1000} {
		p := newPlain(t, 1, nil)
		var forgotten atomic.Int64
		var wg sync.WaitGroup
		for g := range 2 {
			wg.Go(func() {
				n := 0
				for i := range 40000 {
					l := p.must(context.Background())
					for range (i*7 + g) % spin {
						n++
					}
					l.Release()
					if s := p.Stats(); s.Idle > 0 && s.Waiting > 0 {
						forgotten.Add(1)
					}
					for range (i*13 + g) % spin {
						n++
					}
				}
			})
		}
		wg.Wait()
		if n := forgotten.Load(); n > 0 {
			t.Errorf("spinning up to %d: %d times something was idle while a caller waited", spin, n)
		}
	}
}

// With real goroutines on all processors, and no bubble that could order
// them: a lost wake-up would leave both waiting for ever.
func TestI7_TwoOnOneReal(t *testing.T) {
	p := newPlain(t, 1, nil)
	within(t, time.Minute, func() {
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for range 50000 {
					l, err := p.Acquire(context.Background())
					if err != nil {
						t.Error(err)
						return
					}
					l.Release()
				}
			})
		}
		wg.Wait()
	})
}

// A resource that is released to a local slot while a caller begins to wait, and
// that is moved to the idle list before its releaser has looked, still goes to the
// caller.
func TestI7_LocalSlotClearedDuringRelease(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		h.stock(1)
		h.lend().Release()
		l := h.lend()
		c := h.acquire()
		h.wantWaiting(c)
		rest := l.ReleaseHalf()
		if ls := h.p.AcquireAllIdle(); len(ls) > 0 {
			t.Errorf("%d lent past a caller that waits", len(ls))
		}
		rest()
		c.wantLease().Release()
	})
}

// I7: a caller that begins to wait during a release on the hit path is served, by
// it or by the next.
func TestI7_WaitersMeetHitReleases(t *testing.T) {
	g := newCountingGate(t)
	p := newPlain(t, 2, func(cfg *resource.Config[*token]) {
		cfg.Admission = g
		cfg.Eviction = evictFunc(func(resource.Info) error { return nil })
	})
	within(t, time.Minute, func() {
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				for range 5000 {
					l := p.must(context.Background())
					p.hold(l.Value())
					p.drop(l.Value())
					l.Release()
				}
			})
		}
		wg.Wait()
	})
	g.check()
	if s := p.Stats(); s.Leased != 0 || s.Waiting != 0 || s.Acquired != 25000 {
		t.Errorf("%+v, want 25000 leases begun and ended", s)
	}
}

// I7: a caller begins to wait at the instant in which the only holder releases. No
// caller comes after them, so it is served by that release or never.
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

// foreignCtx has a deadline that goes by another clock.
type foreignCtx struct {
	context.Context
	deadline time.Time
}

func (c foreignCtx) Deadline() (time.Time, bool) { return c.deadline, true }

// A waiter whose deadline had passed, though its context had not ended, was
// never served. Now it is about a second after that.
func TestI7_DeadlineByAnotherClock(t *testing.T) {
	for name, ago := range map[string]time.Duration{"long ago": time.Minute, "just now": 100 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			script(t, 1, nil, func(h *harness) {
				l := h.lend()
				time.Sleep(time.Second)
				ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
				defer cancel()
				c := h.acquireCtx(foreignCtx{ctx, time.Now().Add(-ago)}, resource.Request{})
				h.wantWaiting(c)
				l.Release()
				c.wantLeaseWithin(2 * time.Second)
			})
		})
	}
}

// Trap 15: what was released lay idle while the releaser kept the CPU. Here
// the pool learns that its releasers do so, and then the waiter has run before
// Release returns. One processor, so that the waiter cannot run beside the
// releaser.
func TestPuddleTrap15_HandOffWaitsForCPU(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	// Usually it has learned after four rounds. A machine that is busy elsewhere
	// makes pauses long, and then the pool gives them up for a while. By chance,
	// when the releaser is preempted, the waiter runs first far less often.
	const enough, limit = 20, 5000
	p := newPlain(t, 1, nil)
	ran := 0
	for round := 0; ran < enough && round < limit; round++ {
		l := p.must(context.Background())
		var served atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			next, err := p.Acquire(context.Background())
			served.Store(err == nil)
			next.Release()
		})
		for p.Stats().Waiting == 0 {
			runtime.Gosched()
		}
		compute(100 * time.Microsecond)
		l.Release()
		if served.Load() {
			ran++
		}
		compute(200 * time.Microsecond)
		wg.Wait()
	}
	if ran < enough {
		t.Errorf("in %d of %d rounds the waiter had run when Release returned", ran, limit)
	}
}
