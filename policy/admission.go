package policy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/respool/respool/resource"
)

// Reasons why an Admission refuses a request. The [*resource.Rejection] wraps
// one of them; test with errors.Is.
var (
	// ErrFull: the limit is in use.
	ErrFull = errors.New("policy: limit reached")
	// ErrTooLate: the request could not be served before its deadline.
	ErrTooLate = errors.New("policy: cannot be served before the deadline")
	// ErrRate: the rate limit has no token left.
	ErrRate = errors.New("policy: rate limit exceeded")
	// ErrPaused: a [Gate] is paused.
	ErrPaused = errors.New("policy: paused")
	// ErrOpen: a circuit breaker is open, or half-open with no trial left.
	ErrOpen = errors.New("policy: circuit breaker is open")
	// ErrCost: the Cost of the request is negative, or larger than the policy
	// can ever admit with its current settings.
	ErrCost = errors.New("policy: invalid cost")
)

// AdmissionFunc adapts a function to [resource.Admission].
type AdmissionFunc func(ctx context.Context, r resource.Request) (resource.Done, error)

// Admit calls f.
func (f AdmissionFunc) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	return f(ctx, r)
}

// Gauge reports how much of a limit is in use. Both values are snapshots: they
// may have changed by the time the caller reads them.
type Gauge interface {
	Limit() int    // units that may be in flight
	InFlight() int // units in flight; more than Limit for a while after Limit was lowered
}

// Gauged is an Admission whose limit can be read, such as [*Limiter].
type Gauged interface {
	resource.Admission
	Gauge
}

// reject returns a refusal.
func reject(policy string, retryAfter time.Duration, err error) error {
	return &resource.Rejection{Policy: policy, RetryAfter: retryAfter, Err: err}
}

// units returns the cost of a request in units, or a refusal if the cost is negative.
func units(policy string, cost int) (int64, error) {
	switch {
	case cost == 0:
		return 1, nil
	case cost < 0:
		return 0, reject(policy, 0, fmt.Errorf("%w: %d is negative", ErrCost, cost))
	}
	return int64(cost), nil
}

// rejectCost refuses a cost that exceeds the whole limit.
func rejectCost(policy string, cost, limit int64) error {
	return reject(policy, 0, fmt.Errorf("%w: %d is over the limit %d", ErrCost, cost, limit))
}

// argErrors collects the errors in the arguments of a constructor.
type argErrors []string

// require adds an error if ok is false.
func (e *argErrors) require(ok bool, format string, args ...any) {
	if !ok {
		*e = append(*e, fmt.Sprintf(format, args...))
	}
}

// panicIfAny panics with every error, prefixed with the name of the function.
func (e argErrors) panicIfAny(function string) {
	if len(e) > 0 {
		panic("policy: " + function + ": " + strings.Join(e, "; "))
	}
}

// isNilAdmission reports whether p is nil or a nil function.
func isNilAdmission(p resource.Admission) bool {
	f, isFunc := p.(AdmissionFunc)
	return p == nil || isFunc && f == nil
}
