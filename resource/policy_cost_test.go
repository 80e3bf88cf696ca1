package resource_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/respool/respool/resource"
)

// What policies cost a hit: BenchmarkHit/none is the pool without any, and the
// others are to be read as what they add to it.

// stored is an Admission that gives everybody the same Done.
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

// sampling is a Trace that does little with what it is told.
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
			b.ReportAllocs()
			for b.Loop() {
				l, err := p.Acquire(context.Background())
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
	p, err := resource.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			b.Error(err)
		}
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
