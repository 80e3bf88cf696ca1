package policy

import (
	"context"
	"time"

	"github.com/respool/respool/resource"
)

// Recorder is told how it went by [PermitBreaker] and [Throttle]. It is part of
// the CircuitBreaker and of the AdaptiveThrottler of
// github.com/failsafe-go/failsafe-go.
type Recorder interface {
	RecordSuccess()        // it went well
	RecordError(err error) // it ended in err, which need not count as a failure
	RecordFailure()        // it failed without an error
}

// PermittingBreaker is the part of CircuitBreaker in
// github.com/failsafe-go/failsafe-go/circuitbreaker that [PermitBreaker] uses.
type PermittingBreaker interface {
	Recorder
	TryAcquirePermit() bool        // whether one more may begin
	IsHalfOpen() bool              // whether what it permits now are trials
	RemainingDelay() time.Duration // until it allows trials; 0 if it does
}

// PermitBreaker admits what b permits and records how that went. What b does not
// permit is refused with [ErrOpen] and the time until it allows a trial; while
// the trials are out that is not known. Panics if b is nil.
//
// Of an outcome that says nothing (the caller left, or a later policy refused)
// nothing is recorded, except of a trial: b has no way to take one back, and
// would stay half-open and refuse for ever. It is recorded as a failure, so b
// opens again for its delay and then has another trial. In an [All] a
// PermitBreaker belongs last, and for the reason told at [Breaker] it belongs in
// Config.MakeGate.
func PermitBreaker(b PermittingBreaker) resource.Admission {
	var m misuse
	m.unless(b != nil, "the breaker is nil")
	m.report("PermitBreaker")
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
		return nil, refuse("breaker", p.b.RemainingDelay(), ErrOpen)
	}
	if p.b.IsHalfOpen() {
		return p.trial, nil
	}
	return p.ordinary, nil
}

// record tells to an outcome, unless it says nothing.
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
