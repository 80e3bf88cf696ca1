package metrics_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// The meter is created before the pool, whose Config has its Trace, and watches the pool
// afterwards.
func Example() {
	m, err := metrics.New("api", metrics.Config{Overdue: time.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	p, err := resource.New(resource.Config[int]{
		Make:    func(context.Context) (int, error) { return 1, nil },
		MaxSize: 4,
		Trace:   m.Trace(nil),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer p.Close(ctx)
	if err := m.Watch(p); err != nil {
		fmt.Println(err)
		return
	}

	l, err := p.Acquire(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	s := m.Snapshot(10)
	fmt.Printf("%s: %d of %d leased, %d waits, the slowest make under a second: %v\n",
		s.Name, s.Leased, s.Max, s.Wait.Count, s.Make.Quantile(1) < time.Second)
	fmt.Println("held:", len(s.Held), "by", s.Held[0].Stack[0].Func)
	l.Release()
	fmt.Println("held:", len(m.Snapshot(10).Held))
	// Output:
	// api: 1 of 4 leased, 1 waits, the slowest make under a second: true
	// held: 1 by github.com/respool/respool/metrics_test.Example
	// held: 0
}

// Counts below bounds are what a classic histogram of Prometheus wants.
func ExampleHistogram_Cumulative() {
	h := metrics.Histogram{Count: 10, Zero: 4, First: 80, Buckets: []int64{3, 2, 0, 1}} // from 2^20 ns, about 1 ms
	fmt.Println(h.Cumulative([]time.Duration{time.Microsecond, 1<<20 - 1, 1 << 21, time.Second}))
	// Output: [4 4 10 10]
}

// The profile of the leases that are held, for go tool pprof.
func ExampleWriteLeases() {
	f, err := os.CreateTemp("", "leases-*.pprof")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.Remove(f.Name())
	if err := metrics.WriteLeases(f); err != nil {
		fmt.Println(err)
	}
	fmt.Println(f.Close())
	// Output: <nil>
}
