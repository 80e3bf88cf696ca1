package policy

import (
	"context"

	"github.com/respool/respool/resource"
)

// AdmissionFunc is a function that is an Admission.
type AdmissionFunc func(ctx context.Context, r resource.Request) (resource.Done, error)

// Admit calls f.
func (f AdmissionFunc) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	return f(ctx, r)
}

// Gauge tells how much of a limit is used. Both are snapshots: by the time they
// are read they may have changed.
type Gauge interface {
	Limit() int    // how many units may be in flight
	InFlight() int // how many are; more than Limit for a while after it was lowered
}

// Gauged is an admission whose limit can be read, such as [*Limiter].
type Gauged interface {
	resource.Admission
	Gauge
}

// present reports whether p can be asked.
func present(p resource.Admission) bool {
	if f, ok := p.(AdmissionFunc); ok {
		return f != nil
	}
	return p != nil
}

// members checks those of a combinator, and copies them.
func members(constructor string, ps []resource.Admission) []resource.Admission {
	var m misuse
	for i, p := range ps {
		m.unless(present(p), "member %d is nil", i)
	}
	m.report(constructor)
	return append([]resource.Admission(nil), ps...)
}
