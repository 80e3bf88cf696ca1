package resource

import (
	"context"
	"time"
)

// A resource whose end the Eviction foresees by its age, and that is in use or needed
// for MinIdle, gets a replacement before it ends, where the maximum allows: so no caller
// has to wait for one. Where it does not, it ends a little earlier than it must. Either
// way one is created at a time, so that resources created together are not replaced in
// a burst.

// renew creates a replacement, if one is to be created and nothing is against it. The
// pool is locked.
func (p *Pool[T]) renew(now time.Duration) {
	k := &p.maker
	if !k.owed && len(k.fading) == 0 || p.waiters.n > 0 || p.cap.dying > 0 || !k.mayRenew(now) {
		return
	}
	switch {
	case p.cap.over():
	case p.cap.full():
		if e, end := k.roll(); e != nil {
			p.retire(e, end, fateEvicted)
		}
	case k.replacement() && p.cap.take(1, 0, p.waiters.n == 0) > 0:
		p.startCreation(newCreation[T](context.Background()), &p.counts.begun.Replacements)
	}
}
