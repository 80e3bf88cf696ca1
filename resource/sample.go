package resource

import (
	"context"
	"math/bits"
	"sync/atomic"
	"time"
)

// DefaultSampleLeases is what zero means in [Config.SampleLeases].
const DefaultSampleLeases = 512

// maxSampleLeases is far more than is of use.
const maxSampleLeases = 1 << 30

// longTicks is the hold from which the end of a lease is reported though it was not
// sampled: long leases are what Trace.Ended is used to find.
const longTicks = 2

// sampler decides which leases Trace.Leased and Trace.Ended see. To report each would
// cost more than a lease, so most are passed over: an unsampled lease costs a look at
// its number when it begins, and at its number and its tick when it ends.
type sampler[T any] struct {
	clock        *clock        // constant
	trace        *tracer       // constant
	begins, ends bool          // constant: the beginnings, the ends of some leases are reported
	sparse       uint64        // constant: mask while much is free
	mask         atomic.Uint64 // which leases are sampled: see entry.sampled
	until        int64         // tick up to which every lease is sampled; guarded by the pool's lock
}

// mark is the last lease of a resource that was sampled. The holder of that lease sets
// it; a goroutine that ends a lease, or tries to, reads it.
type mark struct {
	lease  atomic.Uint64
	weight atomic.Int64 // for how many leases it stands
	start  atomic.Int64 // on the pool's clock, exact
}

// sampleMask is SampleLeases, rounded up to a power of two, minus one.
func (c *Config[T]) sampleMask() uint64 {
	n := uint64(c.SampleLeases)
	if n == 0 {
		n = DefaultSampleLeases
	}
	return 1<<bits.Len64(n-1) - 1
}

// judge has every lease sampled while at least four fifths of max are leased, when it
// matters most which caller holds what. leased is how many resources are not idle;
// those in local slots count only if their lease is long: else a small pool whose
// leases come and go would count as used up. Counting these takes a look at all local
// slots, so unless scan is set that is done only to end such a time, not to begin one.
// The pool is locked.
func (s *sampler[T]) judge(idle *idleSet[T], leased, max int, scan bool) {
	most := max - max/5 // four fifths, rounded up; 4*max may overflow
	full := func() bool { return leased >= most }
	if full() && idle.occupied > 0 {
		if leased -= idle.occupied; !full() {
			if !scan && (s.mask.Load() == s.sparse || s.clock.tick.Load() < s.until) {
				return
			}
			leased += idle.longLeases()
		}
	}
	mask := s.sparse
	if full() || s.clock.tick.Load() < s.until {
		mask = 0
	}
	if s.mask.Load() != mask {
		s.mask.Store(mask)
	}
}

// extend has every lease sampled that begins in the next d. It reports whether that is
// longer than before. The pool is locked.
func (s *sampler[T]) extend(d time.Duration) bool {
	until := int64(plus(s.clock.now(), d)/tickLen) + 1
	if d <= 0 || !s.begins || until <= s.until {
		return false
	}
	s.until = until
	s.mask.Store(0)
	return true
}

// sampled reports whether lease gen of e is sampled. Which lease of each row is the
// sampled one differs from resource to resource, so that each lease has the same
// chance.
func (e *entry[T]) sampled(gen, mask uint64) bool { return (gen+e.phase)&mask == 0 }

// mark notes that l is sampled, and for how many leases it stands. Its holder calls
// it.
func (s *sampler[T]) mark(l Lease[T], weight int64) {
	m := &l.e.mark
	m.start.Store(int64(s.clock.now()))
	m.weight.Store(weight)
	m.lease.Store(l.gen())
}

// introduce reports l to Trace.Leased if it is sampled, off the hit path. The first
// lease of a resource always is: as such it stands for itself alone.
func (s *sampler[T]) introduce(ctx context.Context, l Lease[T], e LeaseEvent) {
	mask := s.mask.Load()
	weight := int64(mask) + 1
	switch {
	case l.gen() == uint64(l.e.unseen)+1:
		weight = 1
	case !l.e.sampled(l.gen(), mask):
		return
	}
	s.mark(l, weight)
	s.trace.leased(ctx, e)
}

// ending is what Trace.Ended is told of a lease. The zero ending is nothing.
type ending struct {
	held   time.Duration
	weight int64
	cause  error
}

// ending is that of l, which has not ended yet.
func (s *sampler[T]) ending(l Lease[T]) ending {
	if !s.ends {
		return ending{}
	}
	word := l.e.word.Load() // before the clock, which then is not behind it
	return s.endingAfter(l, word.Ticks(s.clock.ticks()))
}

// endingAfter is ending for a lease that has lasted for so many ticks. It is valid only
// for the caller that then ends l.
func (s *sampler[T]) endingAfter(l Lease[T], ticks int64) (x ending) {
	m := &l.e.mark
	switch {
	case !s.ends:
	case m.lease.Load() == l.gen():
		x.held = max(0, s.clock.now()-time.Duration(m.start.Load()))
		if x.weight = m.weight.Load(); ticks >= longTicks {
			x.weight = 1 // those that were not sampled are reported too
		}
	case ticks >= longTicks:
		x.held = time.Duration(ticks) * tickLen
		if began, ok := l.e.known.began(l.gen()); ok {
			x.held = max(x.held, time.Duration(s.clock.ticks()-began)*tickLen)
		}
	}
	return x
}

// ended reports to Trace.Ended that l has ended.
func (s *sampler[T]) ended(l Lease[T], x ending) {
	if x.weight > 0 || x.held > 0 {
		s.trace.ended(EndEvent{ID: l.e.id, Lease: l.gen(), Held: x.held, Sampled: x.weight, Cause: x.cause})
	}
}
