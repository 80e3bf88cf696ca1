// Package seconds converts the histograms of metrics to seconds, the unit of
// Prometheus and OpenTelemetry.
package seconds

import (
	"math"
	"time"

	"github.com/respool/respool/metrics"
)

// perDouble is the number of buckets from a duration to its double, in both units.
const perDouble = 4

// apart is the number of buckets between a nanosecond and a second. It is not an
// integer, so a bound in seconds is within a bucket in nanoseconds.
var apart = perDouble * math.Log2(1e9)

// UpTo returns the number of values of h that do not exceed each of bounds, which are
// in seconds and ascending. No count falls when h grows.
func UpTo(h metrics.Histogram, bounds []float64) []int64 {
	durations := make([]time.Duration, len(bounds))
	for i, b := range bounds {
		durations[i] = duration(b)
	}
	return h.Cumulative(durations)
}

// Buckets returns h in buckets whose bounds are powers of 2^(1/4) in seconds:
// counts[i] is the number of values over 2^((first+i)/4) s and up to
// 2^((first+i+1)/4) s, without those of h.Zero. Buckets at the ends may be empty. No
// count falls when h grows.
func Buckets(h metrics.Histogram) (first int, counts []int64) {
	if len(h.Buckets) == 0 {
		return 0, nil
	}
	first = int(math.Floor(float64(h.First) - apart))
	edges := make([]time.Duration, len(h.Buckets)+1)
	for i := range edges {
		edges[i] = duration(math.Exp2(float64(first+i+1) / perDouble))
	}
	counts = h.Cumulative(edges)
	for i := len(counts) - 1; i > 0; i-- {
		counts[i] -= counts[i-1]
	}
	counts[0] -= h.Zero
	return first, counts
}

// Count returns the number of values of h as the sum of the buckets: collectors reject
// a histogram whose count differs from that sum.
func Count(h metrics.Histogram) int64 {
	n := h.Zero
	for _, b := range h.Buckets {
		n += b
	}
	return n
}

// duration converts s seconds, at most to the longest Duration.
func duration(s float64) time.Duration {
	if ns := math.Round(s * 1e9); ns < math.MaxInt64 {
		return time.Duration(ns)
	}
	return math.MaxInt64
}
