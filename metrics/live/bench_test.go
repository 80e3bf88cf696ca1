package live

import (
	"context"
	"fmt"
	"testing"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// Twenty viewers with different views of one pool: the cost of an update with 10,000
// leases, all sampled.
func BenchmarkTwenty(b *testing.B) {
	const size = 10_000
	m, err := metrics.New("bench", metrics.Config{})
	if err != nil {
		b.Fatal(err)
	}
	p, err := resource.New(resource.Config[int]{
		Make: func(context.Context) (int, error) { return 1, nil }, MaxSize: size, SampleLeases: 1, Trace: m.Trace(nil),
		Describe: func(int) string { return "RTT 1.2 ms" },
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := m.Watch(p); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(m.Close)
	for range size {
		l, err := p.Acquire(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(l.Release)
	}
	views := []view{{}}
	for _, sort := range []string{"id", "age", "held", "leases"} {
		for i := range 5 {
			views = append(views, view{pool: "bench", sort: sort, find: []string{"", fmt.Sprintf("rtt %d", i)}[min(i, 1)]})
		}
	}
	page := pageOf(b, m)
	b.ReportAllocs()
	for b.Loop() {
		u := page.update()
		for _, v := range views[:20] {
			u.frame(v)
		}
	}
}
