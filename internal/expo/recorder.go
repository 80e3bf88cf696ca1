package expo

import (
	"math"
	"sync/atomic"
	"time"
)

// The range of a Recorder. A duration under Least counts as zero, one over the last
// bucket, 2^50 ns or 13 days, counts in that bucket.
const (
	Least = time.Microsecond
	First = 39 * PerOctave / 4 // index of the first bucket, which begins at 861 ns
	size  = 50*PerOctave - First
)

// most is the limit of a sum: 2^62 ns, 146 years.
const most = math.MaxInt64 / 2

// Recorder counts durations. The zero Recorder is ready for use. It is safe for
// concurrent use.
type Recorder struct{ shards [4]shard }

// shard is a part of the counts, in cache lines of its own.
type shard struct {
	sum     atomic.Int64
	zero    atomic.Int64
	buckets atomic.Pointer[[size]atomic.Int64] // nil: all are 0
	_       [40]byte
}

// Record counts d n times. Goroutines with different keys seldom contend. The first
// Record in a shard allocates. A negative d counts as 0. If n is not positive, nothing
// is counted.
func (r *Recorder) Record(key uint64, d time.Duration, n int64) {
	if n <= 0 {
		return
	}
	s := &r.shards[key%uint64(len(r.shards))]
	d = max(d, 0)
	if d < Least {
		s.zero.Add(n)
	} else {
		s.counts()[min(Index(uint64(d))-First, size-1)].Add(n)
	}
	if int64(d) > most/n {
		s.sum.Store(most)
	} else if sum := s.sum.Add(int64(d) * n); sum > most || sum < 0 {
		s.sum.Store(most)
	}
}

func (s *shard) counts() *[size]atomic.Int64 {
	b := s.buckets.Load()
	if b == nil {
		s.buckets.CompareAndSwap(nil, new([size]atomic.Int64))
		b = s.buckets.Load()
	}
	return b
}

// Counts is a copy of the counts of a Recorder.
type Counts struct {
	Sum     time.Duration
	Zero    int64   // durations under Least
	Buckets []int64 // Buckets[0] has index First
}

// Read returns the counts. A concurrent Record may be in them, or in part of them.
func (r *Recorder) Read() Counts {
	c := Counts{Buckets: make([]int64, size)}
	for i := range r.shards {
		s := &r.shards[i]
		c.Sum = min(c.Sum+time.Duration(s.sum.Load()), most)
		c.Zero += s.zero.Load()
		b := s.buckets.Load()
		if b == nil {
			continue
		}
		for i := range b {
			c.Buckets[i] += b[i].Load()
		}
	}
	return c
}
