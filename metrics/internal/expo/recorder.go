package expo

import (
	"math"
	"sync/atomic"
	"time"
)

// The range of a Recorder: what is shorter than Least counts as zero, what is
// longer than its last bucket, 2^50 ns or 13 days, counts there.
const (
	Least = time.Microsecond
	First = 39 * PerOctave / 4 // index of its first bucket; it begins at 861 ns
	size  = 50*PerOctave - First
)

// most is where a sum stops: 2^62 ns, 146 years.
const most = math.MaxInt64 / 2

// Recorder counts durations. The zero Recorder is ready for use, by many
// goroutines at once.
type Recorder struct{ shards [4]shard }

// shard is a part of the counts, with its own cache lines.
type shard struct {
	sum     atomic.Int64
	zero    atomic.Int64
	buckets atomic.Pointer[[size]atomic.Int64] // nil: all are 0
	_       [40]byte
}

// Record counts d, n times. Goroutines whose key differs seldom meet. The first
// of a key allocates. A negative d counts as 0; n that is not positive is not
// counted.
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

// Counts is what a Recorder has counted.
type Counts struct {
	Sum     time.Duration
	Zero    int64   // under Least
	Buckets []int64 // from index First on
}

// Read returns what has been counted. What is recorded meanwhile may be in it,
// or in part of it.
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
