package policy

import (
	"context"

	"github.com/respool/respool/resource"
)

// Throttler is the part of AdaptiveThrottler in
// github.com/failsafe-go/failsafe-go/adaptivethrottler that [Throttle] uses.
type Throttler interface {
	Recorder
	AcquirePermit() error // refuses, or admits, without blocking
}

// Throttle refuses at random the share of the requests that t finds should not
// be sent to a server that fails, and records how the others went. Nothing is
// recorded of an outcome that says nothing. A refusal carries the error of t; a
// RetryAfter there is not: the next request may be let through. Panics if t is
// nil.
func Throttle(t Throttler) resource.Admission {
	var m misuse
	m.unless(t != nil, "the throttler is nil")
	m.report("Throttle")
	return &throttle{t, func(o resource.Outcome) { record(t, o) }}
}

type throttle struct {
	t    Throttler
	done resource.Done
}

// Admit implements [resource.Admission]. It does not block.
func (p *throttle) Admit(context.Context, resource.Request) (resource.Done, error) {
	if err := p.t.AcquirePermit(); err != nil {
		return nil, refuse("throttle", 0, err)
	}
	return p.done, nil
}
