package resource

import (
	"context"
	"time"
)

// Trace is a set of functions that the pool calls when something slow happens.
// An acquire that finds an idle resource, and the release after it, call none,
// unless the lease is sampled: of such leases Leased and Ended are told, and
// [Config.SampleLeases] says how many that are. Nil functions are skipped. They
// are called with no lock held, by many goroutines at once, and delay what they
// observe: they should be quick. A panic in one is contained and counted in
// [Stats.Panics].
type Trace struct {
	// Waited is called when an acquire that had to wait has ended. ctx is the
	// caller's.
	Waited func(ctx context.Context, e WaitEvent)
	// Failed is called when an acquire returns an error, once for each and before
	// it returns, for whatever reason. ctx is the caller's, and e must not be
	// changed. A TryAcquire that finds nothing is counted in [Stats.Failures] and
	// not reported.
	Failed func(ctx context.Context, e *AcquireError)
	// Rejected is called when an Admission or a Queue refused a caller.
	Rejected func(ctx context.Context, err error)
	// Made is called when a make has ended. ctx has the values of the caller
	// for whom it was begun.
	Made func(ctx context.Context, e MakeEvent)
	// Refused is called when a MakeGate or Quota refused a make.
	Refused func(ctx context.Context, err error)
	// Checked is called when a health check has ended, passed or failed. One
	// that was cut short, by the end of its caller's context or by Close, has
	// found nothing and is not told; nor is one that ended its goroutine, but
	// to Panicked.
	Checked func(e CheckEvent)
	// Destroyed is called when a Destroy has ended. The place of the resource is
	// free by then, and its successor may be there already; Close waits for the
	// call.
	Destroyed func(e DestroyEvent)
	// Outage is called when makes begin to keep failing (cause is the last
	// failure) and when one succeeds again (cause is nil).
	Outage func(cause error)
	// Panicked is called when a panic or Goexit was contained.
	Panicked func(err error)

	// Leased is called when a lease has begun that is sampled (see
	// Config.SampleLeases), on the goroutine of the caller, before it has the
	// lease. ctx is the caller's. If Leased panics the caller has the lease all
	// the same; if it ends its goroutine the resource is destroyed.
	Leased func(ctx context.Context, e LeaseEvent)
	// Ended is called when a lease has ended that was sampled, or that lasted
	// for about 200 ms or more, on the goroutine that ended it: for each call of
	// Leased once, and after it, though perhaps after the next lease of that
	// resource has begun. Of leases that a policy ended before the caller had
	// them neither is called.
	Ended func(e EndEvent)
}

// LeaseEvent is a lease that has begun.
type LeaseEvent struct {
	ID      uint64        // of the resource
	Lease   uint64        // the resource's how manieth, from 1
	Request Request       // what the caller asked for
	Waited  time.Duration // 0: it did not wait
}

// EndEvent is a lease that has ended.
//
// A distribution of how long leases last, or their number or sum, is right on
// average if each event counts max(1, Sampled) times. Every lease of about 200 ms
// or more is told, sampled or not, and so stands for itself; a shorter one that
// was sampled stands for those that were not.
type EndEvent struct {
	ID    uint64 // of the resource
	Lease uint64 // the resource's how manieth, from 1
	// Held is exact if Sampled, else from a clock that ticks every 100 ms.
	Held time.Duration
	// Sampled is for how many leases it stands, itself included. It is 0 if
	// Leased was not called for it.
	Sampled int64
	Cause   error // why the resource is destroyed now; nil: it was given back or hijacked
}

// WaitEvent is an acquire that had to wait.
type WaitEvent struct {
	Request Request       // what the caller asked for
	Waited  time.Duration // from its place in the line to the end
	ID      uint64        // of the resource it got; 0: none
	Err     error         // why it got none
}

// MakeEvent is a make that has ended.
type MakeEvent struct {
	ID   uint64        // of the new resource; 0: none
	Took time.Duration // of Make and Watch
	Err  error         // why it failed; nil: it succeeded
}

// CheckEvent is a health check that has ended.
type CheckEvent struct {
	Info Info          // of the resource
	Took time.Duration // of Check
	Err  error         // what Check said; nil: it passed
}

// DestroyEvent is a resource that is gone.
type DestroyEvent struct {
	Info  Info          // of the resource, at its end
	Cause error         // why; nil never
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
