package resource

// putLocked finds a use for e, which works and is the caller's to move: it goes to the
// next waiter, lies idle or, if the pool has no use for it, is destroyed. If it was used,
// its user may soon come again, and it lies in that goroutine's local slot.
func (p *Pool[T]) putLocked(e *entry[T], used bool) {
	e.since, e.stamp = p.clock.tick.Load(), p.idle.list.stamp()
	switch {
	case !p.staysLocked(e, used):
	case used && len(p.slots) > 0:
		p.idle.parkLocal(e)
	default:
		p.idle.park(e)
	}
}

// staysLocked reports whether e, which works and is the caller's to move, is to lie idle.
// If not, it hands e to a waiter or retires it.
func (p *Pool[T]) staysLocked(e *entry[T], used bool) bool {
	switch {
	case e.invalid():
		why, cause := e.whyInvalid()
		p.retireLocked(e, cause, why)
		p.changed = true
	case e.spared != nil:
		p.retireLocked(e, e.spared, fateOther)
		p.changed = true
	case p.cap.surplus():
		p.retireLocked(e, ErrResized, fateOther)
	case e.word.Spent():
		p.retireLocked(e, ErrWornOut, fateOther)
		p.changed = true
	case p.shared != nil && memberOf(p).preemptLocked(e, used):
	case p.waiters.n > 0:
		p.handOverLocked(e, used)
	default:
		return true
	}
	return false
}

// handOverLocked gives e to the first waiter that can use it. If e was used the caller is
// its releaser, which then takes handOff's pause.
func (p *Pool[T]) handOverLocked(e *entry[T], used bool) {
	if !p.mode.ordered {
		now := p.clock.now()
		w := p.firstWaiterLocked(e.reach(), now)
		if w != nil {
			if cause := p.waiters.yields(e, w, p.maker.pending()+p.cap.dying, len(p.idle.reserved), p.maker.roomHelps(now, &p.cap)); cause != nil {
				p.retireLocked(e, cause, fateOther)
				return
			}
			held := now - e.granted
			p.grantLocked(e, w, now)
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

// retireLocked has e, which no caller holds and no policy is asked about, destroyed in
// the background. why is the counter that its end belongs to. It does nothing if e is
// among the discards, which are destroyed anyway.
func (p *Pool[T]) retireLocked(e *entry[T], cause error, why fate) {
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
	p.forgetLocked(e, cause, why)
	reapOp[T]{p}.destroyLocked(e)
}

// forgetLocked removes e, whose end begins, from the registry and counts its end.
func (p *Pool[T]) forgetLocked(e *entry[T], cause error, why fate) {
	p.registry.remove(e)
	e.cause = cause
	p.counts.ended[why]++
}

// markDeadLocked keeps e from being lent again: it is destroyed at once if it is idle,
// else when its lease, or the call that has it, ends. The first cause stays.
func (p *Pool[T]) markDeadLocked(e *entry[T], cause error, why fate) {
	if e.loc == gone || e.invalid() {
		return
	}
	e.word.Invalidate()
	e.cause, e.fate = cause, why
	if e.listed() || e.loc == inSlot && e.word.Claim() {
		p.retireLocked(e, cause, why)
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
		p.startClockLocked()
		if e.word.Load().Leases == 0 && p.clock.now()-e.born < probation {
			p.failedEarlyLocked(e, cause)
		}
		p.markDeadLocked(e, cause, fateInvalidated)
		p.changed = true
	}
}

// unreserveLocked ends the reservation of e, about which a policy was asked: e may be
// lent again, or is retired if that was decided meanwhile. It reports whether e is still
// there.
func (p *Pool[T]) unreserveLocked(e *entry[T]) bool {
	there := p.outlastsLocked(e)
	p.idle.unreserve(e, there) // not before: e was not among the discards
	return there
}

// outlastsLocked reports whether e, for which a user function has just returned, may be
// lent again. If not, it retires e.
func (p *Pool[T]) outlastsLocked(e *entry[T]) bool {
	switch {
	case e.invalid():
		why, cause := e.whyInvalid()
		p.retireLocked(e, cause, why)
	case p.cap.surplus():
		p.retireLocked(e, ErrResized, fateOther)
	default:
		return true
	}
	return false
}
