package resource

import "time"

// A caller may ask for what not everything idle has: a MinRemaining, or Fresh.
// Then something can lie idle though callers wait, and in a full pool it has to
// make room for one that they can use.

// choosy reports whether what is idle may be of no use to some who wait. The pool
// is locked.
func (p *Pool[T]) choosy() bool { return p.idle.anyUnfit || p.waiters.fresh() > 0 }

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
		p.retire(e, p.misfit(e), fateOther)
	}
	if missing > maxPerHold {
		p.more = true
	}
}

// misfit is why e makes room for a waiter. The pool is locked.
func (p *Pool[T]) misfit(e *entry[T]) error {
	if p.waiters.fresh() > 0 && !e.unused() {
		return ErrNotFresh
	}
	return ErrNearEnd
}

// maxPassed is how often a waiter for whom everything is too near its end is
// passed over before it gets a place.
const maxPassed = 8

// yieldsPlace is why e, which has come back and w can use, is to make room for
// a waiter before w, which can not; nil: it is w's. Else, in a full pool, those
// behind might have it again and again, and that one nothing. The pool is locked,
// and has no Queue.
func (p *Pool[T]) yieldsPlace(e *entry[T], w *waiter[T], now time.Duration) error {
	front := p.waiters.front()
	if front == w {
		return nil
	}
	coming := p.maker.pending() + p.cap.dying
	if f := itemOf(p.waiters.line.fresh.At(coming)); f != nil && f.turn < w.turn && p.roomHelps(now) {
		return ErrNotFresh
	}
	if front.Request.Fresh || e.fits(&front.Request) {
		return nil
	}
	if front.passed++; front.passed > maxPassed && coming+len(p.idle.reserved) == 0 && p.roomHelps(now) {
		return ErrNearEnd
	}
	return nil
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
