package policy

import (
	"context"
	"errors"

	"github.com/respool/respool/resource"
)

// Named gives the refusals of p a name of their own in
// [resource.Rejection.Policy], where several policies of one kind must be told
// apart. What else the refusal says stays. The name must not carry a secret: it
// may be shown. Panics if name is empty or p is nil.
func Named(name string, p resource.Admission) resource.Admission {
	var m misuse
	m.unless(name != "", "name is empty")
	m.unless(present(p), "p is nil")
	m.report("Named")
	return &named{name, p}
}

type named struct {
	name string
	p    resource.Admission
}

// Admit implements [resource.Admission].
func (p *named) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	done, err := p.p.Admit(ctx, r)
	if err == nil {
		return done, nil
	}
	if refusal, ok := err.(*resource.Rejection); ok {
		return nil, refuse(p.name, refusal.RetryAfter, refusal.Err)
	}
	if ctx.Err() != nil && !errors.Is(err, resource.ErrRejected) {
		return nil, err // not refused: the caller left
	}
	return nil, refuse(p.name, soonest([]error{err}), err)
}
