package policy

import (
	"context"

	"github.com/respool/respool/resource"
)

// All admits what every one of ps admits. It asks them in order; the first
// refusal is returned as it is, and those asked before are told, in reverse,
// that nothing came of it (an Ignored outcome), also if a later one panics or
// ends the goroutine. The outcome of what was admitted is told to every one, in
// reverse, even if one of them panics.
//
// See the package comment for the order to give them in. An All in an All is
// the same as its members in its place. All of nothing admits everything. Panics
// if a member is nil.
func All(ps ...resource.Admission) resource.Admission {
	var flat []resource.Admission
	for _, p := range members("All", ps) {
		if inner, ok := p.(allAdmissions); ok {
			flat = append(flat, inner...)
		} else {
			flat = append(flat, p)
		}
	}
	if len(flat) == 1 {
		return flat[0]
	}
	return allAdmissions(flat)
}

type allAdmissions []resource.Admission

// Admit implements [resource.Admission].
func (ps allAdmissions) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	var h held
	admitted := false
	defer func() {
		if undo := h.permit(); !admitted && undo != nil {
			undo(resource.Outcome{})
		}
	}()
	for _, p := range ps {
		done, err := p.Admit(ctx, r)
		if err != nil {
			return nil, err
		}
		h.add(done)
	}
	admitted = true
	return h.permit(), nil
}
