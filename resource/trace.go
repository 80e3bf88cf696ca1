package resource

import (
	"context"
	"math/bits"
	"sync/atomic"
	"time"
)

// Trace is a set of functions that the pool calls when something slow happens. An acquire
// that finds an idle resource, and the release after it, call none, unless the lease is
// sampled: then Leased and Ended are called, and [Config.SampleLeases] says how often that
// is. Nil functions are skipped.
//
// Many goroutines call them at once, also the same function: those of callers and those of
// the pool. They are called with no lock held, and delay what they observe, so they should
// return soon. A panic in one is contained and counted in [Stats.Panics].
type Trace struct {
	// Waited is called when an acquire that had to wait has ended. ctx is the
	// caller's.
	Waited func(ctx context.Context, e WaitEvent)
	// Failed is called when an acquire returns an error, once for each and before
	// it returns, for whatever reason. ctx is the caller's, and e must not be
	// changed. A TryAcquire that finds nothing is counted in [Stats.Failures] and
	// not reported.
	Failed func(ctx context.Context, e *AcquireError)
	// Rejected is called when a caller was refused: by an Admission or a Queue; or because
	// a MakeGate or Quota refused the creation that it needed, and nothing else could serve
	// it in time (then err matches [ErrMakeRefused]). The refused caller is reported to
	// Failed too. A caller of [Keyed.AcquireAny] is reported to Rejected for each key that
	// refuses it, also if another key serves it, and to Failed only if none does.
	Rejected func(ctx context.Context, err error)
	// Made is called when a creation has ended. ctx has the values of the caller for
	// which it was begun, and no deadline.
	Made func(ctx context.Context, e MakeEvent)
	// Refused is called when a MakeGate or Quota refused a creation, once for each
	// creation, whether callers wait or not. Callers that are refused because of it are
	// reported to Rejected.
	Refused func(ctx context.Context, err error)
	// Checked is called when a health check has ended, passed or failed. A check that
	// was cut short, by the end of its caller's context or by Close, has found nothing
	// and is not reported; one that ended its goroutine is reported only to Panicked.
	Checked func(e CheckEvent)
	// Destroyed is called when a Destroy has ended. The slot of the resource is free by
	// then, and may be in use again; Close waits for the call.
	Destroyed func(e DestroyEvent)
	// Outage is called when creation begins to keep failing (cause is the last failure)
	// and when one succeeds again (cause is nil).
	Outage func(cause error)
	// Panicked is called when a panic or Goexit was contained.
	Panicked func(err error)

	// Leased is called when a sampled lease has begun (see Config.SampleLeases), on the
	// goroutine of the caller, before it has the lease. ctx is the caller's. If Leased
	// panics the caller has the lease all the same; if it ends its goroutine the resource
	// is destroyed.
	Leased func(ctx context.Context, e LeaseEvent)
	// Ended is called when a lease has ended that was sampled, or that lasted for 200 ms
	// or more, and for some of those of 100 ms or more, on the goroutine that ended it: once
	// for each call of Leased, and after it, though perhaps after the next lease of that
	// resource has begun. For leases that a policy ended before the caller had them
	// neither is called.
	Ended func(e EndEvent)
}

// LeaseEvent is a lease that has begun.
type LeaseEvent struct {
	ID      uint64        // of the resource
	Lease   uint64        // ordinal of this lease on its resource, starting at 1
	Request Request       // what the caller asked for
	Waited  time.Duration // 0: it did not wait
}

// EndEvent is a lease that has ended.
//
// Estimates of the number of leases, and of the sum and mean of their holds, are unbiased if each
// event counts max(1, Sampled) times. Every lease of 200 ms or more is reported,
// sampled or not, and so stands for itself, as do those of 100 ms or more that lasted into a second
// tick of the pool's clock, which has ten a second; any other that was sampled stands for those
// that were not.
type EndEvent struct {
	ID    uint64 // of the resource
	Lease uint64 // ordinal of this lease on its resource, starting at 1
	// Held is exact if Sampled is not 0, else an estimate that is up to 100 ms too short or too
	// long, and right on average.
	Held time.Duration
	// Sampled is how many leases it stands for, itself included. It is 0 if
	// Leased was not called for it.
	Sampled int64
	Cause   error // why the resource is destroyed; nil: it was given back or hijacked
}

// WaitEvent is an acquire that had to wait.
type WaitEvent struct {
	Request Request       // what the caller asked for
	Waited  time.Duration // from its entry into the queue to the end
	ID      uint64        // of the resource it got; 0: none
	Err     error         // why it got none
}

// MakeEvent is a creation that has ended.
type MakeEvent struct {
	ID   uint64        // of the new resource; 0: none
	Took time.Duration // of Make and Watch
	Err  error         // why it failed; nil: it succeeded
}

// CheckEvent is a health check that has ended.
type CheckEvent struct {
	Info Info          // of the resource
	Took time.Duration // of Check
	Err  error         // what Check returned; nil: it passed
}

// DestroyEvent is a resource that was destroyed.
type DestroyEvent struct {
	Info  Info          // of the resource, at its end
	Cause error         // why it was destroyed; never nil
	Took  time.Duration // of Destroy
}

// tracer calls the functions of a Trace, each guarded, with no lock held.
type tracer struct {
	guard *guard
	trace *Trace // constant
}

func (t *tracer) waited(ctx context.Context, e WaitEvent) {
	if f := t.trace.Waited; f != nil {
		_ = t.guard.call("Trace", func() { f(ctx, e) })
	}
}

func (t *tracer) failed(ctx context.Context, err *AcquireError) {
	if f := t.trace.Failed; f != nil {
		_ = t.guard.call("Trace", func() { f(ctx, err) })
	}
}

func (t *tracer) rejected(ctx context.Context, err error) {
	if f := t.trace.Rejected; f != nil {
		_ = t.guard.call("Trace", func() { f(ctx, err) })
	}
}

func (t *tracer) made(ctx context.Context, e MakeEvent) {
	if f := t.trace.Made; f != nil {
		_ = t.guard.isolate("Trace", func() { f(ctx, e) })
	}
}

func (t *tracer) refused(ctx context.Context, err error) {
	if f := t.trace.Refused; f != nil {
		_ = t.guard.isolate("Trace", func() { f(ctx, err) })
	}
}

func (t *tracer) checked(i Info, took time.Duration, ill error) {
	if f := t.trace.Checked; f != nil {
		_ = t.guard.call("Trace", func() { f(CheckEvent{Info: i, Took: took, Err: ill}) })
	}
}

func (t *tracer) destroyed(e DestroyEvent) {
	_ = t.guard.isolate("Trace", func() { t.trace.Destroyed(e) })
}

func (t *tracer) outage(cause error) {
	if f := t.trace.Outage; f != nil {
		_ = t.guard.isolate("Trace", func() { f(cause) })
	}
}

func (t *tracer) leased(ctx context.Context, e LeaseEvent) {
	if f := t.trace.Leased; f != nil {
		_ = t.guard.call("Trace", func() { f(ctx, e) })
	}
}

func (t *tracer) ended(e EndEvent) {
	_ = t.guard.call("Trace", func() { t.trace.Ended(e) })
}

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
	if full() && idle.occupied != 0 {
		if leased -= bits.OnesCount64(idle.occupied); !full() {
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

// ending is what is reported to Trace.Ended of a lease. The zero ending is nothing.
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
		if began, ok := l.e.known.began(l.gen()); ok {
			ticks = max(ticks, s.clock.ticks()-began)
		}
		x.held = estimate(ticks, s.clock.passed())
	}
	return x
}

// estimate returns the hold to report of a lease that was not sampled and ended when passed of a tick
// had passed, ticks after the tick in which it began. It lies within the bounds that these give:
// (ticks-1)*tickLen + passed and a tick more.
//
// The mean of all holds must be right. The hold in whole ticks is not: of leases of 1.5 ticks those
// that begin in the second half of a tick are reported, as ones of 2, and the others are sampled, with
// 1.5. So the lease counts as if it had begun as long before the end of its first tick as it ended after the
// beginning of its last: passed is as random as the unknown instant.
//
// In ticks, a lease of h = n + f, with n whole and f < 1, that begins at the part b of a tick has
// ticks + passed = h + b. The estimate is h + f + 2b - 1 if f + b < 1, where ticks is n, and
// h + f + 2b - 2 otherwise. Over all b, from 0 to 1, the mean of that is h. If n is 1 only the
// second case is reported, with b from 1 - f to 1, and its mean alone is h.
//
// A lease that starts the clock of an idle pool begins with a tick. If others keep the clock running
// until it ends its estimate is half a tick too short on average.
func estimate(ticks int64, passed time.Duration) time.Duration {
	return time.Duration(ticks-1)*tickLen + 2*passed
}

// ended reports to Trace.Ended that l has ended.
func (s *sampler[T]) ended(l Lease[T], x ending) {
	if x.weight > 0 || x.held > 0 {
		s.trace.ended(EndEvent{ID: l.e.id, Lease: l.gen(), Held: x.held, Sampled: x.weight, Cause: x.cause})
	}
}
