package prometheus

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/internal/seconds"
)

// A metrics.Histogram has zeros under a microsecond and bounds at powers of 2^(1/4),
// which is schema 2 of native histograms.
const (
	schema        = 2
	zeroThreshold = 1e-6
)

var histograms = []struct {
	name, help string
	of         func(s *metrics.Snapshot) metrics.Histogram
}{
	{"wait_seconds", "Waits of acquires that got a resource; those that found one idle count as 0.",
		func(s *metrics.Snapshot) metrics.Histogram { return s.Wait }},
	{"use_seconds", "Durations of leases that have ended, estimated from the sampled ones.",
		func(s *metrics.Snapshot) metrics.Histogram { return s.Hold }},
	{"create_seconds", "Durations of creations that succeeded.",
		func(s *metrics.Snapshot) metrics.Histogram { return s.Make }},
	{"check_seconds", "Durations of health checks, passed or failed.",
		func(s *metrics.Snapshot) metrics.Histogram { return s.Check }},
	{"destroy_seconds", "Durations of the destruction of resources.",
		func(s *metrics.Snapshot) metrics.Histogram { return s.Close }},
}

// histogram is a native histogram with classic buckets.
type histogram struct {
	prometheus.Metric
	classic []*dto.Bucket
}

func newHistogram(d *prometheus.Desc, h metrics.Histogram, bounds []float64, pool string) (prometheus.Metric, error) {
	first, counts := seconds.Buckets(h)
	native := make(map[int]int64, len(counts))
	for i, n := range counts {
		if n > 0 {
			// Bucket i of client_golang goes up to 2^(i/4), of seconds up to 2^((i+1)/4).
			native[first+i+1] = n
		}
	}
	m, err := prometheus.NewConstNativeHistogram(d, uint64(seconds.Count(h)), h.Sum.Seconds(),
		native, nil, uint64(h.Zero), schema, zeroThreshold, time.Time{}, pool)
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
