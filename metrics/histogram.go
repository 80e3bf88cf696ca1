package metrics

import (
	"math"
	"slices"
	"time"

	"github.com/respool/respool/resource"
)

// Histogram is a distribution of durations in buckets that grow by 2^(1/4), as
// OpenTelemetry's exponential histograms of scale 2 do. The zero Histogram is empty.
//
// A Histogram made by a [Meter] has four counts for each bucket, so a quantile is at
// most 4.5 % off. For one made by hand only the buckets are known, and a quantile is
// off by at most 19 %, the width of a bucket.
type Histogram struct {
	Count   int64         // all values
	Sum     time.Duration // at most 146 years
	Zero    int64         // values under a microsecond
	First   int           // index of Buckets[0], which has the values over 2^(First/4) ns and up to 2^((First+1)/4) ns
	Buckets []int64       // number of values in each bucket

	quarters []int64 // four counts for each of Buckets; nil: not known
	squares  float64 // the sum of the squares of the weights with which values were counted; 0: not known
}

// measured is how many values, all counted alike, tell as much as those of h: it is less than Count if
// each of them stood for several.
func (h Histogram) measured() float64 {
	if count := float64(h.Count); h.squares > count {
		return count * count / h.squares
	}
	return float64(h.Count)
}

// HistogramOf returns d as a Histogram, as for the Took of a [resource.Multiplexer].
func HistogramOf(d resource.Durations) Histogram {
	h := Histogram{Count: d.Zero, Sum: d.Sum, Zero: d.Zero}
	if len(d.Buckets) == 0 {
		return h
	}
	skip := d.First - 4*floorDiv(d.First, 4) // 0 unless it was made by hand
	h.First = floorDiv(d.First, 4)
	h.Buckets = make([]int64, (skip+len(d.Buckets)+3)/4)
	h.quarters = make([]int64, 4*len(h.Buckets))
	for i, n := range d.Buckets {
		h.Count += n
		h.Buckets[(skip+i)/4] += n
		h.quarters[skip+i] = n
	}
	return h
}

// floorDiv returns a/b rounded down.
func floorDiv(a, b int) int {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// Mean returns the average; 0 if there are no values.
func (h Histogram) Mean() time.Duration {
	if h.Count <= 0 {
		return 0
	}
	return h.Sum / time.Duration(h.Count)
}

// weights is squares where that is known, else as if each value had been counted for itself.
func (h Histogram) weights() float64 {
	if h.squares == 0 {
		return float64(h.Count)
	}
	return h.squares
}

// Quantile returns the value that a part q of all values does not exceed; 0.5 gives
// the median. q is clamped to 0 and 1. Values under a microsecond count as 0. Quantile
// returns 0 if there are no values or q is NaN.
func (h Histogram) Quantile(q float64) time.Duration {
	if h.Count <= 0 || q != q {
		return 0
	}
	rank := min(max(q, 0), 1) * float64(h.Count)
	rank = max(rank, 1) // the least value has rank 1
	if rank <= float64(h.Zero) {
		return 0
	}
	seen, last := float64(h.Zero), 0.0
	for c := range h.cells {
		n := float64(c.n)
		if rank <= seen+n {
			// As if the values were spread evenly, each in the middle of its part.
			part := min(max((rank-seen-0.5)/n, 0), 1)
			return duration(c.from + part*(c.to-c.from))
		}
		seen, last = seen+n, c.to
	}
	return duration(last) // Count exceeds the sum of the buckets
}

// duration converts nanoseconds, at most to the longest Duration: the index of a bucket
// is not bounded.
func duration(ns float64) time.Duration {
	if !(ns < math.MaxInt64) {
		return math.MaxInt64
	}
	return time.Duration(ns)
}

// Cumulative returns, for each of bounds, the number of values that do not exceed it,
// as the buckets of a classic histogram do. If a bound is within a bucket, it takes
// that part of the bucket, so with the same bounds no count falls when the Histogram
// grows. Values under a microsecond count as 0.
func (h Histogram) Cumulative(bounds []time.Duration) []int64 {
	counts := make([]int64, len(bounds))
	for i, bound := range bounds {
		if bound >= 0 {
			counts[i] = h.Zero
		}
	}
	for c := range h.cells {
		for i, bound := range bounds {
			switch b := float64(bound); {
			case b >= c.to:
				counts[i] += c.n
			case b > c.from:
				counts[i] += int64(float64(c.n) * (b - c.from) / (c.to - c.from))
			}
		}
	}
	return counts
}

// Merge returns the sum of both. Neither changes.
func (h Histogram) Merge(o Histogram) Histogram {
	if len(h.Buckets) == 0 || len(o.Buckets) == 0 {
		if len(h.Buckets) == 0 {
			h, o = o, h
		}
		h.Buckets, h.quarters = slices.Clone(h.Buckets), slices.Clone(h.quarters)
	} else {
		first := min(h.First, o.First)
		end := max(h.First+len(h.Buckets), o.First+len(o.Buckets))
		both := Histogram{Count: h.Count, Sum: h.Sum, Zero: h.Zero, First: first, Buckets: make([]int64, end-first)}
		if h.knowsQuarters() || o.knowsQuarters() {
			both.quarters = make([]int64, 4*len(both.Buckets))
		}
		both.add(h)
		both.add(o)
		h = both
	}
	h.squares = h.weights() + o.weights()
	h.Count += o.Count
	h.Zero += o.Zero
	if h.Sum > math.MaxInt64-o.Sum {
		h.Sum = math.MaxInt64
	} else {
		h.Sum += o.Sum
	}
	return h
}

// add adds the buckets of o, which are within those of h.
func (h Histogram) add(o Histogram) {
	for i, n := range o.Buckets {
		h.Buckets[o.First-h.First+i] += n
	}
	if h.quarters == nil || !o.knowsQuarters() {
		return // cells ignores quarters that do not add up to their bucket
	}
	for i, n := range o.quarters {
		h.quarters[4*(o.First-h.First)+i] += n
	}
}

// since returns the values of h that are not in o, an earlier state of h.
func (h Histogram) since(o Histogram) Histogram {
	d := Histogram{Count: h.Count - o.Count, Sum: max(0, h.Sum-o.Sum), Zero: h.Zero - o.Zero, First: h.First,
		Buckets: slices.Clone(h.Buckets), quarters: slices.Clone(h.quarters)}
	for i, n := range o.Buckets {
		d.Buckets[o.First-h.First+i] -= n
	}
	for i, n := range o.quarters {
		d.quarters[4*(o.First-h.First)+i] -= n
	}
	return d
}

func (h Histogram) knowsQuarters() bool {
	return h.quarters != nil && len(h.quarters) == 4*len(h.Buckets)
}

// cell is a range, in nanoseconds, with the number of values in it.
type cell struct {
	from, to float64
	n        int64
}

// cells yields the cells that are not empty, in order: the quarters of a bucket or, if
// they are not known, the bucket. The user may have changed Buckets.
func (h Histogram) cells(yield func(cell) bool) {
	known := h.knowsQuarters()
	for i, n := range h.Buckets {
		if n <= 0 {
			continue
		}
		at := float64(h.First + i)
		if known {
			four := h.quarters[4*i : 4*i+4]
			if four[0]+four[1]+four[2]+four[3] == n {
				for k, n := range four {
					from := at + float64(k)/4
					if n > 0 && !yield(cell{edge(from), edge(from + 0.25), n}) {
						return
					}
				}
				continue
			}
		}
		if !yield(cell{edge(at), edge(at + 1), n}) {
			return
		}
	}
}

// edge returns the lower bound of the bucket with that index.
func edge(index float64) float64 { return math.Exp2(index / 4) }
