package prometheus

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/internal/label"
	"github.com/respool/respool/metrics/internal/seconds"
)

// A metrics.Histogram has zeros under a microsecond and bounds at powers of 2^(1/4),
// which is schema 2 of native histograms.
const (
	schema        = 2
	zeroThreshold = 1e-6
)

var histograms = []struct {
	name, help, label string
	of                func(s *metrics.Snapshot) []labeled
}{
	{"wait_seconds", "Waits of acquires that got a resource; those that found one idle count as 0.", "",
		one(func(s *metrics.Snapshot) metrics.Histogram { return s.Wait })},
	{"use_seconds", "Durations of leases that have ended, estimated from the sampled ones.", "",
		one(func(s *metrics.Snapshot) metrics.Histogram { return s.Hold })},
	{"create_seconds", "Durations of creations that succeeded.", "",
		one(func(s *metrics.Snapshot) metrics.Histogram { return s.Make })},
	{"check_seconds", "Durations of health checks, passed or failed.", "",
		one(func(s *metrics.Snapshot) metrics.Histogram { return s.Check })},
	{"destroy_seconds", "Durations of the destruction of resources.", "",
		one(func(s *metrics.Snapshot) metrics.Histogram { return s.Close })},
	{"mux_call_seconds", "Durations of calls on shared resources that were answered, estimated from a sample of them.", "mux",
		func(s *metrics.Snapshot) []labeled {
			var names label.Names
			var all []labeled
			for _, m := range s.Multiplexers {
				all = append(all, labeled{metrics.HistogramOf(m.Took), []string{names.Unique(m.Name)}})
			}
			return all
		}},
}

// labeled is a histogram with the labels that it has besides pool.
type labeled struct {
	histogram metrics.Histogram
	labels    []string
}

// one is for a histogram that each pool has once.
func one(of func(s *metrics.Snapshot) metrics.Histogram) func(s *metrics.Snapshot) []labeled {
	return func(s *metrics.Snapshot) []labeled { return []labeled{{histogram: of(s)}} }
}

// histogram is a native histogram with classic buckets.
type histogram struct {
	prometheus.Metric
	classic []*dto.Bucket
}

func newHistogram(d *prometheus.Desc, h metrics.Histogram, bounds []float64, labels ...string) (prometheus.Metric, error) {
	first, counts := seconds.Buckets(h)
	native := make(map[int]int64, len(counts))
	for i, n := range counts {
		if n > 0 {
			// Bucket i of client_golang goes up to 2^(i/4), of seconds up to 2^((i+1)/4).
			native[first+i+1] = n
		}
	}
	m, err := prometheus.NewConstNativeHistogram(d, uint64(seconds.Count(h)), h.Sum.Seconds(),
		native, nil, uint64(h.Zero), schema, zeroThreshold, time.Time{}, labels...)
	if err != nil {
		return nil, err
	}
	classic := make([]*dto.Bucket, len(bounds))
	for i, n := range seconds.UpTo(h, bounds) {
		n := uint64(n)
		classic[i] = &dto.Bucket{UpperBound: &bounds[i], CumulativeCount: &n}
	}
	return &histogram{m, classic}, nil
}

// Write writes the native histogram, which belongs to this scrape, and adds the classic
// buckets.
func (h *histogram) Write(out *dto.Metric) error {
	if err := h.Metric.Write(out); err != nil {
		return err
	}
	out.Histogram.Bucket = h.classic
	// The time of creation is not known, and a wrong one is worse than none.
	out.Histogram.CreatedTimestamp = nil
	return nil
}
