package resource

import (
	"context"
	"slices"
	"time"
)

// A resource whose end the Eviction foresees by its age, and that is in use or
// needed for MinIdle, gets a successor before it ends, where the maximum allows:
// so nobody has to wait for one. Where it does not, it goes a little earlier than
// it must. Either way one is made at a time, so that what was made together is
// not replaced in a burst.

// fading is a resource that will have to go soon.
type fading[T any] struct {
	e   *entry[T]
	end error // what the Eviction will say
}

// expect notes what the sweep found to be near its end. Each is to have one
// successor.
func (p *Pool[T]) expect(some []suspect[T]) {
	p.lock()
	defer p.unlock()
	found := false
	for i := range some {
		if s := &some[i]; s.end != nil && s.cause == nil && s.e.loc != gone && !s.e.expiring {
			p.registry.setExpiring(s.e)
			found = true
			p.fading = append(p.fading, fading[T]{s.e, s.end})
		}
	}
	if len(p.fading) > 2*p.registry.expiring { // most are gone: under load none may get a successor
		p.fading = slices.DeleteFunc(p.fading, func(f fading[T]) bool { return f.e.loc == gone })
	}
	if found {
		p.grow()
	}
}

// renew makes a successor, if one is to be made and nothing speaks against it.
// The pool is locked.
func (p *Pool[T]) renew(now time.Duration) {
	if !p.maker.owed && len(p.fading) == 0 || p.waiters.n > 0 || p.cap.dying > 0 || !p.maker.mayRenew(now) {
		return
	}
	switch {
	case p.cap.over():
	case p.cap.full():
		p.roll()
	case p.heir() && p.cap.take(1, 0, p.waiters.n == 0) > 0:
		p.startMake(makeFor[T](context.Background()), &p.counts.begun.Replacements)
	}
}

// heir reports whether a successor is to be made now. It is owed until a make
// begins, whoever that is for: it has the place. The pool is locked and has room.
func (p *Pool[T]) heir() bool {
	for !p.maker.owed && len(p.fading) > 0 {
		e := p.fading[0].e
		p.fading[0] = fading[T]{}
		p.fading = p.fading[1:]
		p.maker.owed = e.loc != gone && !e.invalid()
	}
	return p.maker.owed
}

// roll ends one idle resource that would have to go soon anyway, to have its
// place for its successor. The pool is locked and full.
func (p *Pool[T]) roll() {
	for range min(len(p.fading), rollSeen) {
		f := p.fading[0]
		p.fading[0] = fading[T]{}
		p.fading = p.fading[1:]
		e := f.e
		switch {
		case e.loc == gone || e.invalid():
		case e.listed() || e.loc == inSlot && e.word.Claim():
			p.maker.owed = true
			p.retire(e, f.end, fateEvicted)
			return
		default: // leased: it goes when it comes back
			p.fading = append(p.fading, f)
		}
	}
}

// rollSeen is how many roll looks at: most may be leased, and it is called often.
// The next call looks at the next.
const rollSeen = 64
