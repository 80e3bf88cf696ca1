// Package seconds tells the histograms of metrics in seconds, as those who
// collect them want them.
package seconds

import (
	"math"
	"time"

	"github.com/respool/respool/metrics"
)

// perDouble is how many buckets there are from a duration to its double, here
// and there.
const perDouble = 4

// apart is how many buckets a second is away from a nanosecond. It is no whole
// number, so that an edge in seconds lies within a bucket in nanoseconds.
var apart = perDouble * math.Log2(1e9)

// UpTo returns how many values of h are no longer than each of the bounds, in
// seconds and ascending. None falls when h grows.
func UpTo(h metrics.Histogram, bounds []float64) []int64 {
	durations := make([]time.Duration, len(bounds))
	for i, b := range bounds {
		durations[i] = duration(b)
	}
	return h.Cumulative(durations)
}

// Buckets returns h in buckets whose edges are powers of 2^(1/4) in seconds:
// counts[i] is how many values are over 2^((first+i)/4) s and up to
// 2^((first+i+1)/4) s. Values that h has as zero are in none. Buckets at the
// ends may be empty. No count falls when h grows.
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

// Count returns how many values h has. It sums the buckets: those who collect
// them refuse a histogram whose count is another.
func Count(h metrics.Histogram) int64 {
	n := h.Zero
	for _, b := range h.Buckets {
		n += b
	}
	return n
}

// duration is s seconds; the longest there is if that is longer.
func duration(s float64) time.Duration {
	if ns := math.Round(s * 1e9); ns < math.MaxInt64 {
		return time.Duration(ns)
	}
	return math.MaxInt64
}
