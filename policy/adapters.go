package policy

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/respool/respool/resource"
)

// Adapters for circuit breakers, throttlers, limiters and semaphores of other
// libraries. Each adapter names the methods that it needs in an interface, so this
// package does not import those libraries.

// ErrIgnored is the error that [Breaker] passes to a [TwoStepBreaker] for an
// Ignored outcome.
var ErrIgnored = errors.New("policy: outcome ignored")

// TwoStepBreaker is the part of TwoStepCircuitBreaker in
// github.com/sony/gobreaker/v2 that [Breaker] uses. Allow returns an error to
// refuse, or the function that reports the result.
type TwoStepBreaker interface {
	Allow() (done func(error), err error)
}

// Breaker admits what b allows and reports the outcomes to b. Its refusals wrap
// the error of b and carry retryAfter: b does not report how long it stays open, so
// pass its timeout; zero means unknown. Panics if b is nil or retryAfter is
// negative.
//
// An Ignored outcome (the caller left, or a later policy refused) is reported as
// [ErrIgnored]. By default b counts it as a failure; exclude it from the counts:
//
//	gobreaker.Settings{
//		IsExcluded: func(err error) bool { return errors.Is(err, policy.ErrIgnored) },
//	}
//
// While half-open, b refuses everything but its trials, and a trial lasts as long
// as the permit. Use Breaker as Config.MakeGate, where a trial ends after
// Config.MakeTimeout at the latest; as Config.Admission, one caller that holds its
// lease for an hour blocks all others for an hour.
func Breaker(b TwoStepBreaker, retryAfter time.Duration) resource.Admission {
	var e argErrors
	e.require(b != nil, "the breaker is nil")
	e.require(retryAfter >= 0, "retryAfter must not be negative, got %v", retryAfter)
	e.panicIfAny("Breaker")
	return &breaker{b: b, retryAfter: retryAfter}
}

type breaker struct {
	b             TwoStepBreaker
	retryAfter    time.Duration
	refusingSince atomic.Pointer[time.Time] // nil while it admits
}

// errFailed stands for a failure without an error.
var errFailed = errors.New("policy: failed")

// Admit implements [resource.Admission].
func (p *breaker) Admit(context.Context, resource.Request) (resource.Done, error) {
	done, err := p.b.Allow()
	if err != nil {
		if p.refusingSince.Load() == nil {
			now := time.Now()
			p.refusingSince.CompareAndSwap(nil, &now)
		}
		return nil, reject("breaker", p.retryAfter, err)
	}
	if p.refusingSince.Load() != nil {
		p.refusingSince.Store(nil)
	}
	if done == nil {
		return nil, nil
	}
	return func(o resource.Outcome) { done(outcomeError(o)) }, nil
}

// outcomeError converts an outcome to the error that a TwoStepBreaker expects.
func outcomeError(o resource.Outcome) error {
	switch {
	case o.Verdict == resource.OK:
		return nil
	case o.Verdict == resource.Ignored:
		return ErrIgnored
	case o.Err == nil:
		return errFailed
	}
	return o.Err
}

// Recorder receives the outcomes that [PermitBreaker] and [Throttle] record. It is
// part of CircuitBreaker and of AdaptiveThrottler in
// github.com/failsafe-go/failsafe-go.
type Recorder interface {
	RecordSuccess()        // the operation succeeded
	RecordError(err error) // it ended with err; the Recorder decides whether that is a failure
	RecordFailure()        // it failed without an error
}

// record reports an outcome to the Recorder. Ignored outcomes are not recorded.
func record(to Recorder, o resource.Outcome) {
	switch {
	case o.Verdict == resource.OK:
		to.RecordSuccess()
	case o.Verdict == resource.Ignored:
	case o.Err == nil:
		to.RecordFailure()
	default:
		to.RecordError(o.Err)
	}
}

// PermittingBreaker is the part of CircuitBreaker in
// github.com/failsafe-go/failsafe-go/circuitbreaker that [PermitBreaker] uses.
type PermittingBreaker interface {
	Recorder
	TryAcquirePermit() bool        // reports whether one more operation may begin
	IsHalfOpen() bool              // reports whether the permits given out now are trials
	RemainingDelay() time.Duration // until trials are allowed; 0 if they are
}

// PermitBreaker admits what b permits and records the outcomes. Refusals wrap
// [ErrOpen] and carry the time until b allows a trial; while all trials are in
// flight that time is unknown. Panics if b is nil.
//
// An Ignored outcome (the caller left, or a later policy refused) is not recorded,
// except that of a trial: b cannot take a trial back, so it would stay half-open and
// refuse for ever. An ignored trial is recorded as a failure: b opens again for its
// delay and then allows another trial. For this reason a PermitBreaker should be the
// last member of an [All], and for the reason given at [Breaker] it should be used as
// Config.MakeGate.
func PermitBreaker(b PermittingBreaker) resource.Admission {
	var e argErrors
	e.require(b != nil, "the breaker is nil")
	e.panicIfAny("PermitBreaker")
	p := &permitBreaker{b: b}
	p.ordinary = func(o resource.Outcome) { record(b, o) }
	p.trial = func(o resource.Outcome) {
		record(b, o)
		if o.Verdict == resource.Ignored && b.IsHalfOpen() {
			b.RecordFailure()
		}
	}
	return p
}

type permitBreaker struct {
	b               PermittingBreaker
	ordinary, trial resource.Done
}

// Admit implements [resource.Admission]. It does not block.
func (p *permitBreaker) Admit(context.Context, resource.Request) (resource.Done, error) {
	if !p.b.TryAcquirePermit() {
		return nil, reject("breaker", p.b.RemainingDelay(), ErrOpen)
	}
	if p.b.IsHalfOpen() {
		return p.trial, nil
	}
	return p.ordinary, nil
}

// Throttler is the part of AdaptiveThrottler in
// github.com/failsafe-go/failsafe-go/adaptivethrottler that [Throttle] uses.
type Throttler interface {
	Recorder
	AcquirePermit() error // returns an error to refuse; does not block
}

// Throttle refuses a random share of the requests, as t decides from the failure
// rate, and records the outcomes of the others. Ignored outcomes are not recorded. A
// refusal wraps the error of t and has no RetryAfter: the very next request may be
// admitted. Panics if t is nil.
func Throttle(t Throttler) resource.Admission {
	var e argErrors
	e.require(t != nil, "the throttler is nil")
	e.panicIfAny("Throttle")
	return &throttle{t, func(o resource.Outcome) { record(t, o) }}
}

type throttle struct {
	t    Throttler
	done resource.Done
}

// Admit implements [resource.Admission]. It does not block.
func (p *throttle) Admit(context.Context, resource.Request) (resource.Done, error) {
	if err := p.t.AcquirePermit(); err != nil {
		return nil, reject("throttle", 0, err)
	}
	return p.done, nil
}

// AdaptiveLimiter is the part of AdaptiveLimiter in
// github.com/failsafe-go/failsafe-go/adaptivelimiter that [Adaptive] uses. P is
// its Permit type and is inferred.
type AdaptiveLimiter[P AdaptivePermit] interface {
	// AcquirePermit blocks until a permit is available or ctx ends.
	AcquirePermit(ctx context.Context) (P, error)
	// TryAcquirePermit does not block.
	TryAcquirePermit() (P, bool)
}

// AdaptivePermit is Permit in
// github.com/failsafe-go/failsafe-go/adaptivelimiter.
type AdaptivePermit interface {
	Record() // returns the permit; the time that it was held is a latency sample
	Drop()   // returns the permit without a sample
}

// Adaptive admits as many requests at once as l allows. Other requests wait until
// their context ends, or are refused with the error of l if its queue is full; with
// NoWait they are refused with [ErrFull]. Panics if l is nil.
//
// Use it as Config.MakeGate, not as Config.Admission. l treats the time between
// AcquirePermit and Record as the latency of the server, and lowers its limit when that
// grows. For a MakeGate it is the duration of one resource creation, which is a latency.
// For an Admission it is the duration of the lease: when callers hold their leases
// longer, which is no sign of overload, l lowers the limit of a healthy server.
//
// Only creations that succeeded or timed out are latency samples. The duration of a
// failed or abandoned creation says nothing about load: a refused connection fails
// immediately.
func Adaptive[P AdaptivePermit](l AdaptiveLimiter[P]) resource.Admission {
	var e argErrors
	e.require(l != nil, "the limiter is nil")
	e.panicIfAny("Adaptive")
	return &adaptive[P]{l}
}

type adaptive[P AdaptivePermit] struct{ l AdaptiveLimiter[P] }

// Admit implements [resource.Admission].
func (p *adaptive[P]) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	const name = "adaptive"
	if r.NoWait {
		permit, ok := p.l.TryAcquirePermit()
		if !ok {
			return nil, reject(name, 0, ErrFull)
		}
		return returnPermit(permit), nil
	}
	permit, err := p.l.AcquirePermit(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, reject(name, 0, err)
	}
	return returnPermit(permit), nil
}

func returnPermit(permit AdaptivePermit) resource.Done {
	return func(o resource.Outcome) {
		if o.Verdict == resource.OK || o.Verdict == resource.Failed && isTimeout(o.Err) {
			permit.Record()
		} else {
			permit.Drop()
		}
	}
}

func isTimeout(err error) bool {
	return errors.Is(err, resource.ErrMakeTimeout) || errors.Is(err, context.DeadlineExceeded)
}

// WeightedSemaphore is the method set of Weighted in golang.org/x/sync/semaphore.
type WeightedSemaphore interface {
	// Acquire acquires n and blocks until n is available or ctx ends.
	Acquire(ctx context.Context, n int64) error
	// TryAcquire acquires n if it can do so without blocking.
	TryAcquire(n int64) bool
	// Release releases n.
	Release(n int64)
}

// Semaphore admits a request when s has room for its Cost. Other requests wait in
// the order of s until their context ends; with NoWait they are refused with
// [ErrFull]. Use it to share one limit with code outside the pool; otherwise [Limit]
// is faster and refuses immediately. A Cost larger than all of s waits until its
// context ends. Panics if s is nil.
func Semaphore(s WeightedSemaphore) resource.Admission {
	var e argErrors
	e.require(s != nil, "the semaphore is nil")
	e.panicIfAny("Semaphore")
	return &semaphore{s: s, releaseOne: func(resource.Outcome) { s.Release(1) }}
}

type semaphore struct {
	s          WeightedSemaphore
	releaseOne resource.Done
}

// Admit implements [resource.Admission].
func (p *semaphore) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	const name = "semaphore"
	n, err := units(name, r.Cost)
	if err != nil {
		return nil, err
	}
	if r.NoWait {
		if !p.s.TryAcquire(n) {
			return nil, reject(name, 0, ErrFull)
		}
	} else if err := p.s.Acquire(ctx, n); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, reject(name, 0, err)
	}
	if n == 1 {
		return p.releaseOne, nil
	}
	return func(resource.Outcome) { p.s.Release(n) }, nil
}
