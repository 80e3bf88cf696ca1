package policy

import (
	"context"
	"errors"
	"time"

	"github.com/respool/respool/resource"
)

// Any admits what one of ps admits: the first that does. All but the last are
// asked with NoWait, so only the last may keep the caller waiting. If all
// refuse, the error has every refusal in it and the smallest RetryAfter of them;
// it is called "any". Panics if ps is empty or a member is nil.
//
//	policy.Any(policy.Limit(10), policy.Rate(overflow)) // ten, and above that so many a second
func Any(ps ...resource.Admission) resource.Admission {
	var m misuse
	m.unless(len(ps) > 0, "no members")
	m.report("Any")
	ps = members("Any", ps)
	if len(ps) == 1 {
		return ps[0]
	}
	return anyAdmission(ps)
}

type anyAdmission []resource.Admission

// Admit implements [resource.Admission].
func (ps anyAdmission) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	var refusals []error
	last, noWait := len(ps)-1, r.NoWait
	for i, p := range ps {
		r.NoWait = noWait || i < last
		done, err := p.Admit(ctx, r)
		if err == nil {
			return done, nil
		}
		refusals = append(refusals, err)
	}
	if ctx.Err() != nil && !errors.Is(refusals[last], resource.ErrRejected) {
		return nil, refusals[last] // not refused: the caller left
	}
	return nil, refuse("any", soonest(refusals), errors.Join(refusals...))
}

// soonest is the smallest RetryAfter that is known; 0 if none is.
func soonest(refusals []error) (retry time.Duration) {
	for _, err := range refusals {
		var r *resource.Rejection
		if errors.As(err, &r) && r.RetryAfter > 0 && (retry == 0 || r.RetryAfter < retry) {
			retry = r.RetryAfter
		}
	}
	return retry
}
