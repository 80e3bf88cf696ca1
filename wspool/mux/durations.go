package mux

import (
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/expo"
	"github.com/respool/respool/resource"
)

// What a sampled call costs is two readings of the clock and four additions, 150 ns or so.
// Between two sweeps so many calls are sampled, which are all of a quiet client, and one in
// sampleCalls of the others.
const (
	sampleBudget = 32
	sampleCalls  = 64
)

// durations is the distribution of the durations of calls, of which it samples some.
type durations struct {
	budget atomic.Int32 // calls that are sampled whatever their number is
	last   atomic.Int64 // number of the last call that was sampled
	took   expo.Recorder
}

// refill is called from time to time.
func (d *durations) refill() { d.budget.Store(sampleBudget) }

// sample returns for how many calls the call with the number n stands: those since the last one
// that was sampled; 0: it is not sampled.
func (d *durations) sample(n int64) int64 {
	if n%sampleCalls != 0 && (d.budget.Load() <= 0 || d.budget.Add(-1) < 0) {
		return 0
	}
	for {
		last := d.last.Load()
		if n <= last {
			return 1 // a later call was faster
		}
		if d.last.CompareAndSwap(last, n) {
			return n - last
		}
	}
}

// add counts a sampled call that began then.
func (d *durations) add(began time.Time, weight int64) { d.took.Record(0, time.Since(began), weight) }

// read returns the distribution.
func (d *durations) read() resource.Durations {
	c := d.took.Read()
	out := resource.Durations{Sum: c.Sum, Zero: c.Zero}
	first, end := len(c.Buckets), 0
	for i, n := range c.Buckets {
		if n > 0 {
			first, end = min(first, i), i+1
		}
	}
	if end > 0 {
		first -= first % 4
		out.First, out.Buckets = expo.First+first, c.Buckets[first:end]
	}
	return out
}
