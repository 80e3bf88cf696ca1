package resource

// Asking a policy about an idle resource must not take capacity: the resource
// stays in its place on the shelf and is only passed over meanwhile. Growth counts
// it as coming, so that nothing is made because of a question, unless the answer
// takes long: see comingBack.

// backFromAside ends setAside: e may be lent again, or goes if something was
// decided about it meanwhile. It reports whether e is still there. The pool is
// locked.
func (p *Pool[T]) backFromAside(e *entry[T]) bool {
	there := p.outlasts(e)
	p.idle.unreserve(e, there) // not before: e was not among the discards
	return there
}

// outlasts reports whether e, for which a user's function has just returned, may
// be lent again. If not, it retires e. The pool is locked.
func (p *Pool[T]) outlasts(e *entry[T]) bool {
	switch {
	case e.invalid():
		why, cause := e.whyInvalid()
		p.retire(e, cause, why)
	case p.cap.surplus():
		p.retire(e, ErrResized, fateOther)
	default:
		return true
	}
	return false
}

// apart calls f, which asks a policy about e, with the pool unlocked and e
// aside. The pool is locked before and after; it stays unlocked only if f ends
// the goroutine.
func (p *Pool[T]) apart(e *entry[T], f func()) (there bool) {
	p.idle.reserve(e)
	p.unlock()
	returned := false
	defer func() {
		p.lock()
		there = p.backFromAside(e)
		if !returned {
			p.dispatch()
			p.unlock()
		}
	}()
	f()
	returned = true
	return there
}

// judge asks the Eviction, about one idle resource after the other that may be
// lent to s, whether it would still keep it after s.min more age, until one is found. Those that it
// would not keep are marked, and stay for callers who ask for less. The pool is
// locked, and unlocked for each question.
func (p *Pool[T]) judge(s *search[T]) {
	p.idle.flushSlots(0)
	for {
		e := p.idle.first(&s.r)
		if e == nil {
			break
		}
		i := e.info(p.clock.tick.Load(), p.clock.tick.Load()-e.since)
		i.Age = plus(i.Age, s.min)
		var cause error
		there := p.apart(e, func() { cause = p.policies.evict(e.value, i) })
		if there && cause == nil {
			break
		}
		p.idle.anyUnfit = true
		if there {
			p.idle.list.setUnfit(e, s.min)
		}
	}
	p.dispatch()
}
