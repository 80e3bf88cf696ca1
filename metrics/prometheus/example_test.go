package prometheus_test

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/respool/respool/metrics"
	pools "github.com/respool/respool/metrics/prometheus"
	"github.com/respool/respool/resource"
)

// A meter watches the pool, and a collector shows all meters that watch one.
// The registry is served as ever, by promhttp.
func Example() {
	m, err := metrics.New("db", metrics.Config{})
	if err != nil {
		panic(err)
	}
	defer m.Close()
	p, err := resource.New(resource.Config[int]{
		Make:    func(context.Context) (int, error) { return 42, nil },
		MaxSize: 4,
		Trace:   m.Trace(nil),
	})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer p.Close(ctx)
	if err := m.Watch(p); err != nil {
		panic(err)
	}

	registry := prometheus.NewRegistry()
	registry.MustRegister(pools.Of())

	for range 3 {
		if err := p.Do(ctx, func(context.Context, int) error { return nil }); err != nil {
			panic(err)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		panic(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			switch f.GetName() {
			case "resource_pool_limit":
				fmt.Println("limit", m.Gauge.GetValue())
			case "resource_pool_wait_seconds":
				fmt.Println("acquires", m.Histogram.GetSampleCount())
			}
		}
	}
	// Output:
	// limit 4
	// acquires 3
}

// Other names, for pools of one kind.
func ExampleNewCollector() {
	m, err := metrics.New("chat", metrics.Config{})
	if err != nil {
		panic(err)
	}
	c, err := pools.NewCollector(pools.Config{
		Meters:      []pools.Meter{m},
		Prefix:      "ws_pool",
		ConstLabels: prometheus.Labels{"region": "west"},
		Buckets:     []float64{0.001, 0.01, 0.1, 1},
	})
	if err != nil {
		panic(err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		panic(err)
	}
	for _, f := range families[:4] {
		fmt.Println(f.GetName())
	}

	_, err = pools.NewCollector(pools.Config{Prefix: "ws-pool"})
	fmt.Println(err)
	// Output:
	// ws_pool_abandoned_makes
	// ws_pool_acquires_total
	// ws_pool_check_seconds
	// ws_pool_create_seconds
	// prometheus: Config.Prefix "ws-pool" cannot begin the name of a metric
}
