package metrics

import (
	"math"
	"slices"
	"time"
)

// Histogram is a distribution of durations with buckets that grow by
// 2^(1/4), the scheme of OpenTelemetry's exponential histograms of scale 2.
// The zero Histogram is empty.
//
// Its methods know more of one that a [Meter] made: each bucket's values by the
// quarter, so that a quantile is no more than 4.5 % off. Of one that is put
// together by hand they know the buckets alone, and a quantile is off by no more
// than the 19 % that a bucket is wide.
type Histogram struct {
	Count   int64         // of all values
	Sum     time.Duration // stops at 146 years
	Zero    int64         // of those, how many were under a microsecond
	First   int           // index of Buckets[0]: values over 2^(First/4) ns and up to 2^((First+1)/4) ns
	Buckets []int64       // how many values each has

	quarters []int64 // of each of Buckets, four counts; nil: not known
}

// Mean is the average; 0 if there is nothing.
func (h Histogram) Mean() time.Duration {
	if h.Count <= 0 {
		return 0
	}
	return h.Sum / time.Duration(h.Count)
}

// Quantile is the value that a part q of all values does not exceed: 0.5 gives
// the median. q under 0 counts as 0, over 1 as 1. Those under a microsecond
// count as 0. It is 0 if there is nothing.
func (h Histogram) Quantile(q float64) time.Duration {
	if h.Count <= 0 || q != q {
		return 0
	}
	rank := min(max(q, 0), 1) * float64(h.Count)
	rank = max(rank, 1) // the least value is the first of them
	if rank <= float64(h.Zero) {
		return 0
	}
	seen, last := float64(h.Zero), 0.0
	for c := range h.cells {
		n := float64(c.n)
		if rank <= seen+n {
			// As if they were spread evenly, each in the middle of its part.
			part := min(max((rank-seen-0.5)/n, 0), 1)
			return duration(c.from + part*(c.to-c.from))
		}
		seen, last = seen+n, c.to
	}
	return duration(last) // Count is more than there is
}

// duration is that of ns, at most the longest there is: the index of a bucket may
// be anything.
func duration(ns float64) time.Duration {
	if !(ns < math.MaxInt64) {
		return math.MaxInt64
	}
	return time.Duration(ns)
}

// Cumulative is, for each of bounds, how many values do not exceed it, as the
// buckets of a classic histogram count. Where a bound lies within a bucket it
// takes that part of the bucket; so counts at two times of one Histogram never
// go down, if the bounds are the same. Those under a microsecond count as 0.
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

// Merge is both together. Neither changes.
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
	h.Count += o.Count
	h.Zero += o.Zero
	if h.Sum > math.MaxInt64-o.Sum {
		h.Sum = math.MaxInt64
	} else {
		h.Sum += o.Sum
	}
	return h
}

// add adds the buckets of o, which h has too.
func (h Histogram) add(o Histogram) {
	for i, n := range o.Buckets {
		h.Buckets[o.First-h.First+i] += n
	}
	if h.quarters == nil || !o.knowsQuarters() {
		return // a bucket whose quarters do not add up is taken whole
	}
	for i, n := range o.quarters {
		h.quarters[4*(o.First-h.First)+i] += n
	}
}

func (h Histogram) knowsQuarters() bool {
	return h.quarters != nil && len(h.quarters) == 4*len(h.Buckets)
}

// cell is a range of values, in nanoseconds, with how many there are.
type cell struct {
	from, to float64
	n        int64
}

// cells yields those that are not empty, in order: a bucket, or its quarters
// where they are known. The reader may have changed Buckets.
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

// edge is where the bucket with that index begins.
func edge(index float64) float64 { return math.Exp2(index / 4) }
