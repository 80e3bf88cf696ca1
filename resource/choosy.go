package resource

import "time"

// A caller may ask for what not everything idle has: a MinRemaining, or Fresh.
// Then something can lie idle though callers wait, and in a full pool it has to
// make room for one that they can use.

// choosy reports whether what is idle may be of no use to some who wait. The pool
// is locked.
func (p *Pool[T]) hasConstraints() bool { return p.idle.anyUnfit || p.waiters.fresh() > 0 }

// makeRoom retires idle resources that no waiter can use, where the pool is
// full and they keep better ones from being made. The pool is locked.
func (p *Pool[T]) makeRoom() {
	if p.idle.available() == 0 {
		return
	}
	fresh := p.waiters.fresh()
	coming := p.maker.pending() + p.cap.dying + max(0, p.cap.max-p.cap.live)
	missing := max(0, p.waiters.active()-fresh-len(p.idle.reserved)) + fresh - coming
	if p.maker.last != nil {
		missing = min(missing, 1-coming) // creation is failing: do not give up all for it
	}
	n := p.waiters.needs()
	for range min(missing, maxPerHold) {
		e := p.idle.list.unwanted(n)
		if e == nil {
			return
		}
		p.retire(e, p.waiters.misfit(e), fateOther)
	}
	if missing > maxPerHold {
		p.more = true
	}
}

// matches reports whether something idle and a caller who can use it are there.
func (p *Pool[T]) matches() bool {
	return p.waiters.n > 0 && p.idle.available() > 0 && p.waiters.needs().servedBy(p.idle.list.reach())
}

// offList is how many idle resources are neither in the idle list nor in a local slot.
// The pool is locked.
func (p *Pool[T]) offList() int { return p.health.unverified.n + p.calls.offList() }

// makeRoomFromUnverified retires an unverified resource for each waiter for whom
// nothing is being made, if the pool is full, makes succeed, and no check has
// passed for as long as a make takes. Otherwise each waiter of a full pool of dead
// resources would wait for the time-out of a check. The pool is locked.
func (p *Pool[T]) makeRoomFromUnverified(now time.Duration) {
	d := &p.health
	if wait := d.since + max(p.maker.gauge.Usual(), minSuspicion) - now; wait > 0 {
		p.growAgain(now, wait)
		return
	}
	if !p.maker.roomHelps(now, &p.cap) {
		return
	}
	missing := p.waiters.active() - p.maker.pending() - p.cap.dying
	if p.maker.last != nil {
		missing = min(missing, 1)
	}
	for range min(missing, maxPerHold, d.unverified.n) {
		p.retire(d.unverified.first(OldestFirst, nil), ErrSuspect, fateOther)
	}
	p.more = p.more || missing > maxPerHold && d.unverified.n > 0
}

// idlers is how many are idle. The pool is locked.
func (p *Pool[T]) idlers() int {
	onSeats, _ := p.idle.slotLevels()
	return p.idle.list.n + p.offList() + onSeats
}
