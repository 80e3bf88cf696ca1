package otel_test

import (
	"context"
	"fmt"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/otel"
	"github.com/respool/respool/resource"
)

// A meter watches the pool; instruments and histograms export it, and waits are
// spans. Here a reader and an exporter stand for those of the program.
func Example() {
	producer, err := otel.NewProducer(otel.Config{})
	if err != nil {
		panic(err)
	}
	reader := sdkmetric.NewManualReader(sdkmetric.WithProducer(producer))
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	defer meters.Shutdown(context.Background())
	spans := tracetest.NewInMemoryExporter()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	defer tracers.Shutdown(context.Background())

	if _, err := otel.Register(meters, otel.Config{}); err != nil {
		panic(err)
	}
	m, err := metrics.New("db", metrics.Config{})
	if err != nil {
		panic(err)
	}
	defer m.Close()
	p, err := resource.New(resource.Config[int]{
		Make:    func(context.Context) (int, error) { return 42, nil },
		MaxSize: 4,
		Trace:   m.Trace(otel.Trace(tracers.Tracer(otel.Scope), "db", "")),
	})
	if err != nil {
		panic(err)
	}
	if err := m.Watch(p); err != nil {
		panic(err)
	}
	for range 3 {
		if err := p.Do(context.Background(), func(context.Context, int) error { return nil }); err != nil {
			panic(err)
		}
	}

	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		panic(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if d, ok := m.Data.(metricdata.ExponentialHistogram[float64]); ok && m.Name == "resource.pool.wait_time" {
				fmt.Println(m.Name, d.DataPoints[0].Count)
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		panic(err)
	}
	// Only the first had to wait: for the resource to be made.
	for _, name := range []string{otel.WaitSpan, otel.MakeSpan} {
		n := 0
		for _, s := range spans.GetSpans() {
			if s.Name == name {
				n++
			}
		}
		fmt.Println(name, n)
	}
	// Output:
	// resource.pool.wait_time 3
	// wait_for_resource 1
	// make_resource 1
}
