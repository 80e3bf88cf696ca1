package policy

import (
	"errors"
	"fmt"
	"time"

	"github.com/respool/respool/resource"
)

// Why an admission refused: what the [*resource.Rejection] wraps. Test with
// errors.Is.
var (
	// ErrFull: as much as the limit allows is in flight.
	ErrFull = errors.New("policy: full")
	// ErrTooLate: the caller's turn would come after its deadline.
	ErrTooLate = errors.New("policy: would be too late")
	// ErrRate: the rate allows no more right now.
	ErrRate = errors.New("policy: over the rate")
	// ErrPaused: a [Gate] is paused.
	ErrPaused = errors.New("policy: paused")
	// ErrOpen: a breaker is open, or half-open and out of trials.
	ErrOpen = errors.New("policy: breaker is open")
	// ErrCost: the Cost of the request is negative, or more than the policy
	// could ever admit as it is set now.
	ErrCost = errors.New("policy: impossible cost")
)

// ErrIgnored is what a [TwoStepBreaker] is told when the outcome says nothing.
var ErrIgnored = errors.New("policy: outcome to be ignored")

// refuse makes a refusal.
func refuse(policy string, retryAfter time.Duration, err error) error {
	return &resource.Rejection{Policy: policy, RetryAfter: retryAfter, Err: err}
}

// units is what r costs; if that is negative, a refusal as well.
func units(policy string, r resource.Request) (int64, error) {
	switch {
	case r.Cost == 0:
		return 1, nil
	case r.Cost < 0:
		return 0, refuse(policy, 0, fmt.Errorf("%w: %d is negative", ErrCost, r.Cost))
	}
	return int64(r.Cost), nil
}

// tooMuch refuses a cost that is over what the policy has altogether.
func tooMuch(policy string, cost, limit int64) error {
	return refuse(policy, 0, fmt.Errorf("%w: %d is over the limit %d", ErrCost, cost, limit))
}
