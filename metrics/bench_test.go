package metrics_test

import (
	"context"
	"testing"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// metered is a pool, with a meter or without.
func metered(b *testing.B, on bool, size int) (*resource.Pool[int], *metrics.Meter) {
	m, err := metrics.New("bench", metrics.Config{})
	if err != nil {
		b.Fatal(err)
	}
	cfg := resource.Config[int]{Make: func(context.Context) (int, error) { return 1, nil }, MaxSize: size}
	if on {
		cfg.Trace = m.Trace(nil)
	}
	p, err := resource.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	if err := m.Watch(p); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		m.Close()
		if err := p.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return p, m
}

// What a meter costs a lease that finds an idle resource.
func BenchmarkHit(b *testing.B) {
	for name, on := range map[string]bool{"off": false, "on": true} {
		b.Run(name, func(b *testing.B) {
			p, _ := metered(b, on, 16)
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				l, err := p.Acquire(ctx)
				if err != nil {
					b.Fatal(err)
				}
				l.Release()
			}
		})
	}
}

// What a scrape costs, and a look at the first hundred, with 10,000 leases held
// whose beginning was sampled.
func BenchmarkSnapshot(b *testing.B) {
	const size = 10_000
	p, m := metered(b, true, size)
	for range size {
		l, err := p.Acquire(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		defer l.Release()
	}
	for name, limit := range map[string]int{"0": 0, "100": 100} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				m.Snapshot(limit)
			}
		})
	}
}

// What a point of the history costs, which each meter takes every two seconds.
func BenchmarkHistory(b *testing.B) {
	p, m := metered(b, true, 16)
	l, err := p.Acquire(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	defer l.Release()
	b.ReportAllocs()
	for b.Loop() {
		m.Remember()
	}
}

// What the live page costs each second with 10,000 leases held, all sampled, at
// a handful of places in the code.
func BenchmarkSnapshot_AllSampled(b *testing.B) {
	const size = 10_000
	m, err := metrics.New("bench", metrics.Config{})
	if err != nil {
		b.Fatal(err)
	}
	p, err := resource.New(resource.Config[int]{
		Make: func(context.Context) (int, error) { return 1, nil }, MaxSize: size, SampleLeases: 1, Trace: m.Trace(nil),
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := m.Watch(p); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(m.Close)
	for i := range size {
		calls(10+i%5, func() {
			l, err := p.Acquire(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(l.Release)
		})
	}
	b.ReportAllocs()
	for b.Loop() {
		if s := m.Snapshot(size); len(s.Held) != size {
			b.Fatalf("%d leases are held", len(s.Held))
		}
	}
}

// calls calls f after so many other calls.
//
//go:noinline
func calls(n int, f func()) {
	if n == 0 {
		f()
		return
	}
	calls(n-1, f)
}
