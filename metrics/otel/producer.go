package otel

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/internal/label"
	"github.com/respool/respool/metrics/internal/seconds"
)

// A metrics.Histogram has zeros under a microsecond and bounds at powers of 2^(1/4),
// which is scale 2 of exponential histograms.
const (
	scale         = 2
	zeroThreshold = 1e-6
)

// began is a time before the first meter was made: since then counts only grow.
var began = time.Now()

var histograms = []struct {
	name, help string
	of         func(s *metrics.Snapshot, prefix string) []attributed
}{
	{"wait_time", "Waits of acquires that got a resource; those that found one idle count as 0.",
		one(func(s *metrics.Snapshot) metrics.Histogram { return s.Wait })},
	{"use_time", "Durations of leases that have ended, estimated from the sampled ones.",
		one(func(s *metrics.Snapshot) metrics.Histogram { return s.Hold })},
	{"create_time", "Durations of creations that succeeded.",
		one(func(s *metrics.Snapshot) metrics.Histogram { return s.Make })},
	{"check_time", "Durations of health checks, passed or failed.",
		one(func(s *metrics.Snapshot) metrics.Histogram { return s.Check })},
	{"destroy_time", "Durations of the destruction of resources.",
		one(func(s *metrics.Snapshot) metrics.Histogram { return s.Close })},
	{"mux.call_time", "Durations of calls on shared resources that were answered, estimated from a sample of them.",
		func(s *metrics.Snapshot, prefix string) (all []attributed) {
			var names label.Names
			for _, m := range s.Multiplexers {
				by := attribute.String(prefix+".mux", names.Unique(m.Name))
				all = append(all, attributed{metrics.HistogramOf(m.Took), []attribute.KeyValue{by}})
			}
			return all
		}},
}

// attributed is a histogram with the attributes that it has besides those of the pool.
type attributed struct {
	histogram metrics.Histogram
	more      []attribute.KeyValue
}

// one is for a histogram that each pool has once.
func one(of func(s *metrics.Snapshot) metrics.Histogram) func(s *metrics.Snapshot, prefix string) []attributed {
	return func(s *metrics.Snapshot, _ string) []attributed { return []attributed{{histogram: of(s)}} }
}

// Producer produces the histograms of pools for a reader of the SDK: exponential, of
// scale 2, and cumulative whatever temporality the exporter prefers.
type Producer struct {
	cfg Config
}

var _ sdkmetric.Producer = (*Producer)(nil)

// NewProducer returns a producer for sdkmetric.WithProducer. It copies cfg. The
// error names every bad field.
func NewProducer(cfg Config) (*Producer, error) {
	cfg, err := cfg.ready()
	if err != nil {
		return nil, err
	}
	return &Producer{cfg}, nil
}

// Produce implements sdkmetric.Producer. It takes a snapshot of every meter, which does
// not block a pool, is safe for concurrent use, and fails only if ctx has ended.
func (p *Producer) Produce(ctx context.Context) ([]metricdata.ScopeMetrics, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	points := make([][]metricdata.ExponentialHistogramDataPoint[float64], len(histograms))
	p.cfg.each(func(s *metrics.Snapshot, _ string, common []attribute.KeyValue) {
		for i, h := range histograms {
			for _, one := range h.of(s, p.cfg.Prefix) {
				set := attribute.NewSet(slices.Concat(common, one.more)...)
				points[i] = append(points[i], point(one.histogram, s.Time, set))
			}
		}
	})
	if len(points[0]) == 0 {
		return nil, nil
	}
	all := metricdata.ScopeMetrics{Scope: instrumentation.Scope{Name: Scope}}
	for i, h := range histograms {
		if len(points[i]) == 0 {
			continue
		}
		all.Metrics = append(all.Metrics, metricdata.Metrics{
			Name: p.cfg.Prefix + "." + h.name, Description: h.help, Unit: "s",
			Data: metricdata.ExponentialHistogram[float64]{
				Temporality: metricdata.CumulativeTemporality, DataPoints: points[i],
			},
		})
	}
	return []metricdata.ScopeMetrics{all}, nil
}

func point(h metrics.Histogram, now time.Time, set attribute.Set) metricdata.ExponentialHistogramDataPoint[float64] {
	first, counts := seconds.Buckets(h)
	positive := metricdata.ExponentialBucket{Offset: int32(first)}
	for _, n := range counts {
		positive.Counts = append(positive.Counts, uint64(n))
	}
	return metricdata.ExponentialHistogramDataPoint[float64]{
		Attributes: set, StartTime: began, Time: now,
		Count: uint64(seconds.Count(h)), Sum: h.Sum.Seconds(),
		Scale: scale, ZeroCount: uint64(h.Zero), ZeroThreshold: zeroThreshold,
		PositiveBucket: positive,
	}
}
