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

// roomHelps reports whether it takes one less for another to be made, and that
// may be tried now. The pool is locked.
func (p *Pool[T]) roomHelps(now time.Duration) bool {
	k := &p.maker
	if k.breaker.Open() || k.barred > now || k.last != nil && k.pending()+p.cap.dying > 0 {
		return false
	}
	return p.cap.roomHelps()
}
