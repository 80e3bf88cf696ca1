package main

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/expo"
)

// latencies counts durations, and forgets them when they are read.
type latencies struct {
	buckets [41 * expo.PerOctave]atomic.Int64
} // up to 36 minutes

func (l *latencies) add(d time.Duration) {
	l.buckets[min(max(expo.Index(uint64(max(d, 1))), 0), len(l.buckets)-1)].Add(1)
}

// take returns how many durations there were since the last take, and the upper bound of the bucket
// with their quantile q.
func (l *latencies) take(q float64) (n int64, at time.Duration) {
	var counts [len(l.buckets)]int64
	for i := range l.buckets {
		counts[i] = l.buckets[i].Swap(0)
		n += counts[i]
	}
	rank := int64(math.Ceil(q * float64(n)))
	for i, c := range counts {
		if rank -= c; c > 0 && rank <= 0 {
			return n, time.Duration(math.Exp2(float64(i+1) / expo.PerOctave))
		}
	}
	return n, 0
}
