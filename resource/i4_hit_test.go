package resource_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// countingGate is an Admission for many goroutines. Each permit has a Done of its own,
// or none, or the one that all share, by turns; it counts those that are open.
type countingGate struct {
	t            *testing.T
	turn         atomic.Int64
	open, shared atomic.Int64
	common       resource.Done
}

func newCountingGate(t *testing.T) *countingGate {
	g := &countingGate{t: t}
	g.common = func(resource.Outcome) {
		if g.shared.Add(-1) < 0 {
			t.Error("I4: the common Done ran too often")
		}
	}
	return g
}

func (g *countingGate) Admit(context.Context, resource.Request) (resource.Done, error) {
	switch g.turn.Add(1) % 3 {
	case 0:
		return nil, nil
	case 1:
		g.shared.Add(1)
		return g.common, nil
	}
	g.open.Add(1)
	var ran atomic.Bool
	return func(resource.Outcome) {
		g.open.Add(-1)
		if ran.Swap(true) {
			g.t.Error("I4: a Done ran twice")
		}
	}, nil
}

func (g *countingGate) check() {
	g.t.Helper()
	if o, s := g.open.Load(), g.shared.Load(); o != 0 || s != 0 {
		g.t.Errorf("I4: %d permits of their own and %d common ones are open", o, s)
	}
}

// Copies of one lease are released at the same time, while others take what one
// of them gave back: each permit goes back once, and it is that lease's.
func TestI4_CopiesOnHitPath(t *testing.T) {
	for _, size := range []int{1, 3, 64} {
		g := newCountingGate(t)
		var asked atomic.Int64
		p := newPlain(t, size, func(cfg *resource.Config[*token]) {
			cfg.Admission = g
			cfg.Eviction = evictFunc(func(i resource.Info) error { // ends one now and then, either way
				if n := asked.Add(1); n%997 == 0 {
					return errOld
				}
				return nil
			})
			cfg.Health = &dueHealth{due: func(i resource.Info) bool { return i.Leases%101 == 100 }}
		})
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		var served atomic.Int64
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				copies := make(chan resource.Lease[*token])
				var other sync.WaitGroup
				other.Go(func() {
					for l := range copies {
						l.Release()
					}
				})
				for n := 0; ctx.Err() == nil; n++ {
					l, err := p.AcquireWith(ctx, resource.Request{Priority: n % 3})
					if err != nil {
						break
					}
					served.Add(1)
					p.hold(l.Value())
					p.drop(l.Value())
					copies <- l
					switch n % 50 {
					case 7:
						l.Fail(errSick)
					case 9:
						l.Discard(nil)
					default:
						l.Release()
					}
				}
				close(copies)
				other.Wait()
			})
		}
		wg.Wait()
		g.check()
		if served.Load() < 100 {
			t.Errorf("size %d: only %d leases", size, served.Load())
		}
		if err := unbalanced(p.Stats()); err != nil {
			t.Error(err)
		}
	}
}

// I7: who comes to wait while a release on the hit path is under way is served,
// by it or by the next.
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

// A Done runs after the resource has gone back: who asks in it finds it idle.
func TestI4_DoneAfterReturn(t *testing.T) {
	var p *plain
	var idle []int
	p = newPlain(t, 1, func(cfg *resource.Config[*token]) {
		cfg.Admission = admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
			return func(resource.Outcome) { idle = append(idle, p.Stats().Idle) }, nil
		})
	})
	for range 3 {
		p.must(context.Background()).Release()
	}
	if len(idle) != 3 || idle[0] != 1 || idle[1] != 1 || idle[2] != 1 {
		t.Errorf("idle in Done: %v, want 1 each time", idle)
	}
}

// A lease without a Done does not end with that of the lease before it, however
// it ends.
func TestI4_NoDoneAfterDone(t *testing.T) {
	ends := map[string]func(l resource.Lease[*token]){
		"release": func(l resource.Lease[*token]) { l.Release() },
		"fail":    func(l resource.Lease[*token]) { l.Fail(errSick) },
		"discard": func(l resource.Lease[*token]) { l.Discard(nil) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			var ran int
			done := func(resource.Outcome) { ran++ }
			p := newPlain(t, 1, func(cfg *resource.Config[*token]) {
				cfg.Admission = admitFunc(func(_ context.Context, r resource.Request) (resource.Done, error) {
					if r.Class == "none" {
						return nil, nil
					}
					return done, nil
				})
			})
			p.must(context.Background()).Release()
			p.must(context.Background()).Release()
			l, err := p.AcquireWith(context.Background(), resource.Request{Class: "none"})
			if err != nil {
				t.Fatal(err)
			}
			end(l)
			if ran != 2 {
				t.Errorf("Done ran %d times for two permits", ran)
			}
		})
	}
}

// A caller that a policy turns down after it was admitted gives its own permit
// back, not the one that the resource had with it before.
func TestI4_StalePermit(t *testing.T) {
	ledger := &ledger{}
	var evict atomic.Bool
	edit := func(h *harness) {
		h.cfg.Admission = ledger
		h.cfg.Eviction = evictFunc(func(i resource.Info) error {
			if evict.Load() {
				return errOld
			}
			return nil
		})
	}
	script(t, 1, edit, func(h *harness) {
		it := h.stock(1)[0]
		evict.Store(true)
		c := h.acquire()
		h.wantDestroyed(it, errOld)
		c.cancel()
		c.wantErr(context.Canceled)
		evict.Store(false)
		h.wantMake().finish()
		if err := ledger.check(); err != nil || ledger.given() != 2 {
			t.Errorf("%d permits: %v", ledger.given(), err)
		}
		if o := ledger.last(); o.Verdict != resource.Ignored || !errors.Is(o.Err, nil) {
			t.Errorf("the second was told %+v, want Ignored", o)
		}
	})
}

// What was lent before it proved itself proves itself in a later lease: failed
// makes before it are then forgotten.
func TestOutage_ProvedInALaterLease(t *testing.T) {
	dying := true
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		h.onWatch = func(it *item) {
			if dying {
				dying = it.n < 2
				it.invalidate(errDown)
			}
		}
		h.cfg.Broken = func(error) bool { return false }
	}
	script(t, 1, edit, func(h *harness) {
		l := h.lend() // after two that died at once
		l.Fail(errSick)
		h.lend().Release()
		dying = true // the next one too
		it := h.lend()
		it.Discard(nil)
		c := h.acquireFor(time.Minute)
		c.await(time.Second)
		if s := h.p.Stats(); s.Outage {
			t.Errorf("an outage, though one has done its work since: %+v", s)
		}
		dying = false
		c.wantLeaseWithin(time.Minute).Release()
	})
}
