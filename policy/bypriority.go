package policy

import (
	"context"

	"github.com/respool/respool/resource"
)

// ByPriority sends each request to the admission that pick returns for its
// Priority. Nil admits; a nil *Limiter, as a map has for a key that it lacks, is
// not that nil and panics. pick is called for every request, by many goroutines at
// once; let it choose among admissions made beforehand. Which there are is not known,
// so those that follow [resource.Pool.Resize] are not told of it here: resize them
// yourself. Panics if pick is nil.
func ByPriority(pick func(priority int) resource.Admission) resource.Admission {
	var m misuse
	m.unless(pick != nil, "pick is nil")
	m.report("ByPriority")
	return byPriority(pick)
}

type byPriority func(priority int) resource.Admission

// Admit implements [resource.Admission].
func (pick byPriority) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	p := pick(r.Priority)
	if p == nil {
		return nil, nil
	}
	return p.Admit(ctx, r)
}
