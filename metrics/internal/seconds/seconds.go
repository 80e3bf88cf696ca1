// Package seconds tells the histograms of metrics in seconds, as those who
// collect them want them.
package seconds

import (
	"math"

	"github.com/respool/respool/metrics"
)

// perDouble is how many buckets there are from a duration to its double, here
// and there.
const perDouble = 4

// apart is how many buckets a second is away from a nanosecond. It is no whole
// number, so that an edge in seconds lies within a bucket in nanoseconds.
var apart = perDouble * math.Log2(1e9)

// UpTo returns how many values of h are no longer than each of the bounds, in
// seconds and ascending. A bound within a bucket divides its values as if they
// lay evenly on a logarithmic scale; no count falls when h grows.
func UpTo(h metrics.Histogram, bounds []float64) []int64 {
	at := make([]float64, len(bounds))
	for i, b := range bounds {
		at[i] = apart + perDouble*math.Log2(b)
	}
	counts := upTo(h, at)
	for i := range counts {
		counts[i] += h.Zero
	}
	return counts
}

// Buckets returns h in buckets whose edges are powers of 2^(1/4) in seconds:
// counts[i] is how many values are over 2^((first+i)/4) s and up to
// 2^((first+i+1)/4) s. Values that h has as zero are in none. Buckets at the
// ends may be empty.
func Buckets(h metrics.Histogram) (first int, counts []int64) {
	if len(h.Buckets) == 0 {
		return 0, nil
	}
	first = int(math.Floor(float64(h.First) - apart))
	at := make([]float64, len(h.Buckets)+1)
	for i := range at {
		at[i] = apart + float64(first+i+1)
	}
	counts = upTo(h, at)
	for i := len(counts) - 1; i > 0; i-- {
		counts[i] -= counts[i-1]
	}
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

// upTo returns how many values, those of zero left out, lie below each of the
// places, ascending. Place i is the lower edge of the bucket of index i.
func upTo(h metrics.Histogram, at []float64) []int64 {
	counts := make([]int64, len(at))
	var below int64
	next := 0
	for i, x := range at {
		whole := math.Floor(x)
		k := int(whole) - h.First
		for ; next < min(k, len(h.Buckets)); next++ {
			below += h.Buckets[next]
		}
		counts[i] = below
		if k >= 0 && k < len(h.Buckets) {
			// Rounded down, so that both parts only grow.
			counts[i] += int64(float64(h.Buckets[k]) * (x - whole))
		}
	}
	return counts
}
