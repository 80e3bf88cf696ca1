package resource

// put finds a use for e, which works and is the caller's to move: it goes to the next
// waiter, lies idle or, if the pool has no use for it, is destroyed. If it was used, its
// user may soon come again, and it lies in that goroutine's local slot. The pool is locked.
func (p *Pool[T]) put(e *entry[T], used bool) {
	e.since, e.stamp = p.clock.tick.Load(), p.idle.list.stamp()
	switch {
	case !p.stays(e, used):
	case used && len(p.slots) > 0:
		p.idle.parkLocal(e)
	default:
		p.idle.park(e)
	}
}

// stays reports whether e, which works and is the caller's to move, is to lie idle. If not,
// it hands e to a waiter or retires it. The pool is locked.
func (p *Pool[T]) stays(e *entry[T], used bool) bool {
	switch {
	case e.invalid():
		why, cause := e.whyInvalid()
		p.retire(e, cause, why)
		p.changed = true
	case e.spared != nil:
		p.retire(e, e.spared, fateOther)
		p.changed = true
	case p.cap.surplus():
		p.retire(e, ErrResized, fateOther)
	case e.word.Spent():
		p.retire(e, ErrWornOut, fateOther)
		p.changed = true
	case p.shared != nil && memberOf(p).preempt(e, used):
	case p.waiters.n > 0:
		p.handOver(e, used)
	default:
		return true
	}
	return false
}

// handOver gives e to the first waiter that can use it. If e was used the caller is its
// releaser, which then takes handOff's pause. The pool is locked.
func (p *Pool[T]) handOver(e *entry[T], used bool) {
	if !p.mode.ordered {
		now := p.clock.now()
		w := p.firstWaiter(e.reach(), now)
		if w != nil {
			if cause := p.waiters.yields(e, w, p.maker.pending()+p.cap.dying, len(p.idle.reserved), p.maker.roomHelps(now, &p.cap)); cause != nil {
				p.retire(e, cause, fateOther)
				return
			}
			held := now - e.granted
			p.grant(e, w, now)
			if used {
				p.handOff.observe(&w.handOff, held, now)
			}
			return
		}
	}
	fresh := !e.wasIdle
	p.idle.park(e)
	if p.mode.ordered && fresh {
		e.wasIdle = false // dispatch has the Queue choose its waiter
	}
	p.changed = true
}

// retire has e, which no caller holds and no policy is asked about, destroyed in the
// background. why is the counter that its end belongs to. It does nothing if e is among the
// discards, which are destroyed anyway. The pool is locked.
func (p *Pool[T]) retire(e *entry[T], cause error, why fate) {
	switch {
	case e.discarded():
		return
	case e.loc == inSlot:
		p.idle.leaveSlot(e)
	case e.loc == inList:
		p.idle.list.remove(e)
	case e.loc == inUnverified:
		p.health.unverified.remove(e)
	}
	p.cap.die(1)
	p.forget(e, cause, why)
	reapOp[T]{p}.destroy(e)
}

// forget removes e, whose end begins, from the registry and counts its end. The pool is
// locked.
func (p *Pool[T]) forget(e *entry[T], cause error, why fate) {
	p.registry.remove(e)
	e.cause = cause
	p.counts.ended[why]++
}

// markDead keeps e from being lent again: it is destroyed at once if it is idle, else when
// its lease, or the call that has it, ends. The first cause stays. The pool is locked.
func (p *Pool[T]) markDead(e *entry[T], cause error, why fate) {
	if e.loc == gone || e.invalid() {
		return
	}
	e.word.Invalidate()
	e.cause, e.fate = cause, why
	if e.listed() || e.loc == inSlot && e.word.Claim() {
		p.retire(e, cause, why)
	}
}

// invalidate is the function that Watch is given.
func (p *Pool[T]) invalidate(e *entry[T], cause error) {
	if cause == nil {
		cause = ErrInvalidated
	}
	p.lock()
	defer p.unlock()
	if e.loc != gone && !e.invalid() {
		p.startClock()
		if e.word.Load().Leases == 0 && p.clock.now()-e.born < probation {
			p.failedEarly(e, cause)
		}
		p.markDead(e, cause, fateInvalidated)
		p.changed = true
	}
}

// unreserve ends the reservation of e, about which a policy was asked: e may be lent
// again, or is retired if that was decided meanwhile. It reports whether e is still
// there. The pool is locked.
func (p *Pool[T]) unreserve(e *entry[T]) bool {
	there := p.outlasts(e)
	p.idle.unreserve(e, there) // not before: e was not among the discards
	return there
}

// outlasts reports whether e, for which a user function has just returned, may be lent
// again. If not, it retires e. The pool is locked.
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
