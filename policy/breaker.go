package policy

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/respool/respool/resource"
)

// TwoStepBreaker is the part of TwoStepCircuitBreaker in
// github.com/sony/gobreaker/v2 that [Breaker] uses. Allow refuses with an error,
// or returns the function to tell how it went.
type TwoStepBreaker interface {
	Allow() (done func(error), err error)
}

// Breaker admits what b allows and tells it how that went. Its refusals carry
// the error of b and retryAfter, since b does not say how long it stays open:
// give its timeout; zero is not known. Panics if b is nil or retryAfter is
// negative.
//
// An outcome that says nothing (the caller left, or a later policy refused) is
// told as [ErrIgnored]. Let b leave that out of its counts; by default it takes
// it for a failure:
//
//	gobreaker.Settings{
//		IsExcluded: func(err error) bool { return errors.Is(err, policy.ErrIgnored) },
//	}
//
// While half-open, b refuses all but its trials, and a trial lasts as long as
// the permit. So a breaker belongs in Config.MakeGate, where a trial is over
// after Config.MakeTimeout at the latest; as a Config.Admission one caller who
// keeps its lease for an hour keeps the others out for an hour.
func Breaker(b TwoStepBreaker, retryAfter time.Duration) resource.Admission {
	var m misuse
	m.unless(b != nil, "the breaker is nil")
	m.unless(retryAfter >= 0, "retryAfter is %v, not at least 0", retryAfter)
	m.report("Breaker")
	return &breaker{b: b, retryAfter: retryAfter}
}

type breaker struct {
	b          TwoStepBreaker
	retryAfter time.Duration
	refusing   atomic.Pointer[time.Time] // since when; nil: it admits
}

// errFailed is told where a failure has no error.
var errFailed = errors.New("policy: failed")

// Admit implements [resource.Admission].
func (p *breaker) Admit(context.Context, resource.Request) (resource.Done, error) {
	done, err := p.b.Allow()
	if err != nil {
		if p.refusing.Load() == nil {
			now := time.Now()
			p.refusing.CompareAndSwap(nil, &now)
		}
		return nil, refuse("breaker", p.retryAfter, err)
	}
	if p.refusing.Load() != nil {
		p.refusing.Store(nil)
	}
	if done == nil {
		return nil, nil
	}
	return func(o resource.Outcome) { done(told(o)) }, nil
}

// told is an outcome as one error.
func told(o resource.Outcome) error {
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
