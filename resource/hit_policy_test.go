package resource_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// I10 with policies: a hit takes no lock, and neither does its release.

// onHit runs f with the lock of p held, once p is on the hit path.
func onHit(t *testing.T, p *plain, f func()) {
	t.Helper()
	within(t, 20*time.Second, func() {
		for {
			p.must(context.Background()).Release() // starts the clock
			if p.Locked(f) {
				return
			}
		}
	})
}

func TestI10_PoliciesTakeNoLock(t *testing.T) {
	for _, c := range costs {
		t.Run(c.name, func(t *testing.T) {
			p := newPlain(t, 1, c.set)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var tok *token
			onHit(t, p, func() {
				l, err := p.Acquire(ctx)
				if err != nil {
					t.Error(err)
				}
				tok = l.Value()
				l.Release()
				l.Release()
				if l, err = p.AcquireWith(ctx, resource.Request{Cost: 3}); err != nil || l.Value() != tok {
					t.Errorf("another one, or %v", err)
				}
				l.Fail(nil)
				if err := p.Do(ctx, func(context.Context, *token) error { return nil }); err != nil {
					t.Error(err)
				}
				l, ok := p.TryAcquire()
				if !ok || l.Value() != tok {
					t.Error("none idle, or another one")
				}
				l.Release()
			})
			s := p.Stats()
			if err := unbalanced(s); err != nil {
				t.Error(err)
			}
			if s.Idle != 1 || s.Leased != 0 || s.Acquired < 5 {
				t.Errorf("%+v, want one idle after 5 leases or more", s)
			}
		})
	}
}

// The hit path asks what the slow one asks: each policy once, of the same facts.
func TestI10_PoliciesAreAsked(t *testing.T) {
	var admitted, done, evict, due atomic.Int64
	var facts [2]resource.Info
	p := newPlain(t, 1, func(cfg *resource.Config[*token]) {
		cfg.Admission = admitFunc(func(_ context.Context, r resource.Request) (resource.Done, error) {
			admitted.Add(int64(1 + r.Cost))
			return func(o resource.Outcome) {
				if o != (resource.Outcome{Verdict: resource.OK}) {
					t.Errorf("Done got %+v", o)
				}
				done.Add(1)
			}, nil
		})
		cfg.Eviction = evictFunc(func(i resource.Info) error { facts[evict.Add(1)%2] = i; return nil })
		cfg.Health = scheduled[*token]{due: func(resource.Info) bool { due.Add(1); return false }}
		cfg.SweepInterval = time.Hour
	})
	onHit(t, p, func() {
		for _, n := range []*atomic.Int64{&admitted, &done, &evict, &due} {
			n.Store(0)
		}
		l, err := p.AcquireWith(context.Background(), resource.Request{Cost: 4})
		if err != nil {
			t.Error(err)
		}
		before := l.Info().Leases
		if a, e, d := admitted.Load(), evict.Load(), due.Load(); a != 5 || e != 1 || d != 1 || done.Load() != 0 {
			t.Errorf("after the acquire: admitted %d, evict %d, due %d, done %d", a, e, d, done.Load())
		}
		if i := facts[1]; i.ID != 1 || i.Leases != before-1 || i.Age < 0 || i.Idle < 0 || i.Checked != i.Age || i.Idlers != 0 {
			t.Errorf("at the acquire of lease %d Evict got %+v", before, i)
		}
		l.Release()
		if e, d := evict.Load(), due.Load(); e != 2 || d != 1 || done.Load() != 1 {
			t.Errorf("after the release: evict %d, due %d, done %d", e, d, done.Load())
		}
		if i := facts[0]; i.ID != 1 || i.Leases != before || i.Idle != 0 || i.Idlers != 0 {
			t.Errorf("at the release of lease %d Evict got %+v", before, i)
		}
		l.Release() // has ended: no policy is called
		if e := evict.Load(); e != 2 || done.Load() != 1 {
			t.Errorf("after a second release: evict %d, done %d", e, done.Load())
		}
	})
}

// The decisions that the hit path leaves to the slow path.

// MinRemaining is checked although the resource in the local slot would not need
// it.
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
			t.Error("lent a resource with 10s left for a MinRemaining of 20s")
		}
	})
}

// The cost of policies on a hit: BenchmarkHit/none is the pool without any, and the
// others are read as the difference from it.

// stored is an Admission with one Done for all permits.
type stored struct{ done resource.Done }

func (s *stored) Admit(context.Context, resource.Request) (resource.Done, error) { return s.done, nil }

// keeping is an Eviction that looks at an age and keeps.
type keeping struct{}

func (*keeping) Evict(i resource.Info) error {
	if i.Age < 0 {
		return errOld
	}
	return nil
}

// notDue is a Health whose check is never due.
type notDue struct{}

func (*notDue) Check(context.Context, *token, resource.Info) error { return errSick }
func (*notDue) Due(i resource.Info) bool                           { return i.Idle < 0 }

// costs are the policies whose cost is measured and held to no allocation.
var costs = []struct {
	name string
	set  func(cfg *resource.Config[*token])
}{
	{"none", func(cfg *resource.Config[*token]) {}},
	{"eviction", func(cfg *resource.Config[*token]) { cfg.Eviction = &keeping{} }},
	{"evict if", func(cfg *resource.Config[*token]) {
		cfg.EvictIf = func(_ *token, i resource.Info) error { return (&keeping{}).Evict(i) }
	}},
	{"health", func(cfg *resource.Config[*token]) { cfg.Health = &notDue{} }},
	{"admission", func(cfg *resource.Config[*token]) {
		cfg.Admission = &stored{func(resource.Outcome) {}}
	}},
	{"sampled", func(cfg *resource.Config[*token]) { cfg.Trace = sampling() }},
	{"all", func(cfg *resource.Config[*token]) {
		cfg.Eviction, cfg.Health, cfg.Admission = &keeping{}, &notDue{}, &stored{func(resource.Outcome) {}}
	}},
	{"all sampled", func(cfg *resource.Config[*token]) {
		cfg.Eviction, cfg.Health, cfg.Admission = &keeping{}, &notDue{}, &stored{func(resource.Outcome) {}}
		cfg.Trace = sampling()
	}},
	{"each sampled", func(cfg *resource.Config[*token]) { cfg.Trace, cfg.SampleLeases = sampling(), 1 }},
}

// sampling is a Trace that does little with its events.
func sampling() *resource.Trace {
	var begun, held atomic.Int64
	return &resource.Trace{
		Leased: func(context.Context, resource.LeaseEvent) { begun.Add(1) },
		Ended:  func(e resource.EndEvent) { held.Add(int64(e.Held)) },
	}
}

func BenchmarkHit(b *testing.B) {
	for _, c := range costs {
		b.Run(c.name, func(b *testing.B) {
			p := newBare(b, 64, c.set)
			ctx := context.Background() // asking another one for Err takes 4 ns
			b.ReportAllocs()
			for b.Loop() {
				l, err := p.Acquire(ctx) // lendOne takes longer than what is measured
				if err != nil {
					b.Fatal(err)
				}
				l.Release()
			}
		})
	}
}

func BenchmarkHitParallel(b *testing.B) {
	for _, c := range costs {
		b.Run(c.name, func(b *testing.B) {
			p := newBare(b, 64, c.set)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					l, err := p.Acquire(context.Background())
					if err != nil {
						b.Error(err)
						return
					}
					l.Release()
				}
			})
		})
	}
}

// newBare makes a pool that is closed at the end of the benchmark.
func newBare(b *testing.B, max int, set func(cfg *resource.Config[*token])) *resource.Pool[*token] {
	b.Helper()
	cfg := resource.Config[*token]{
		MaxSize: max,
		Make:    func(context.Context) (*token, error) { return &token{}, nil },
	}
	set(&cfg)
	p := newPool(b, cfg)
	b.Cleanup(func() {
		closeAll(b, p)
	})
	return p
}

// BenchmarkInspect looks at a pool of 10,000.
func BenchmarkInspect(b *testing.B) {
	const size = 10000
	p := newBare(b, size, func(cfg *resource.Config[*token]) {
		cfg.Describe = func(*token) string { return "a token" }
	})
	if err := p.Warm(context.Background(), size); err != nil {
		b.Fatal(err)
	}
	for name, limit := range map[string]int{"none": 0, "all": size} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if in := p.Inspect(limit); in.Idle != size || len(in.Resources) != limit {
					b.Fatalf("%v, %d listed", in, len(in.Resources))
				}
			}
		})
	}
}
