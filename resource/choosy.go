package resource

import "time"

// A caller may ask for what not everything idle has: a MinRemaining, or Fresh.
// Then something can lie idle though callers wait, and in a full pool it has to
// make room for one that they can use.

// choosy reports whether what is idle may be of no use to some who wait. The pool
// is locked.
func (p *Pool[T]) choosy() bool { return p.unfit || p.waiters.fresh > 0 }

// wishes are the least that is asked for, among those who ask for Fresh and among
// the others: what is too old for these is too old for all of their kind.
type wishes struct{ used, fresh *Request }

// leastWishes are those of all who wait. The pool is locked.
func (p *Pool[T]) leastWishes() (l wishes) {
	for w := p.waiters.front; w != nil; w = w.next {
		least := &l.used
		if w.Request.Fresh {
			least = &l.fresh
		}
		if *least == nil || w.Request.MinRemaining < (*least).MinRemaining {
			*least = &w.Request
		}
	}
	return l
}

// wanted reports whether somebody who waits can use e, which is idle. The pool is
// locked.
func (e *entry[T]) wanted(l *wishes) bool {
	return l.used != nil && e.fits(l.used) || l.fresh != nil && e.fits(l.fresh)
}

// unwanted returns the first, from e upwards, that nobody can use of those whose
// wishes l are, and that no policy looks at; nil if there is none. The pool is
// locked.
func (e *entry[T]) unwanted(l *wishes) *entry[T] {
	for e != nil && (e.aside || e.wanted(l)) {
		e = e.up
	}
	return e
}

// makeRoom retires idle resources that nobody who waits can use, where the pool is
// full and they keep better ones from being made. The pool is locked.
func (p *Pool[T]) makeRoom() {
	if p.shelf.n == p.aside {
		return
	}
	coming := p.making + p.dying + max(0, p.max-p.live)
	missing := max(0, p.waiters.n-p.waiters.fresh-p.aside) + p.waiters.fresh - coming
	if p.lastMake != nil {
		missing = min(missing, 1-coming) // makes fail just now: do not give up all for them
	}
	if missing <= 0 {
		return
	}
	least := p.leastWishes()
	for e := p.shelf.bottom.unwanted(&least); e != nil && missing > 0; missing-- {
		up := e.up
		p.retire(e, p.misfit(e), &p.n.other)
		e = up.unwanted(&least)
	}
}

// misfit is why e makes room for who waits. The pool is locked.
func (p *Pool[T]) misfit(e *entry[T]) error {
	if p.waiters.fresh > 0 && !e.unused() {
		return ErrNotFresh
	}
	return ErrNearEnd
}

// maxPassed is how often a waiter for whom everything is too near its end is
// passed over before it gets a place.
const maxPassed = 8

// yieldsPlace is why e, which has come back and w can use, is to make room for
// somebody before w, who can not; nil: it is w's. Else, in a full pool, those
// behind might have it again and again, and that one nothing. The pool is locked,
// and has no Queue.
func (p *Pool[T]) yieldsPlace(e *entry[T], w *waiter[T], now time.Duration) error {
	front := p.waiters.front
	if front == w {
		return nil
	}
	coming := p.making + p.dying
	for f := front; p.waiters.fresh > 0 && f != w; f = f.next {
		if !f.Request.Fresh || f.expired(now) {
			continue
		}
		if coming--; coming < 0 {
			if p.roomHelps(now) {
				return ErrNotFresh
			}
			break
		}
	}
	if front.Request.Fresh || e.fits(&front.Request) {
		return nil
	}
	if front.passed++; front.passed > maxPassed && p.making+p.dying+p.aside == 0 && p.roomHelps(now) {
		return ErrNearEnd
	}
	return nil
}

// roomHelps reports whether it takes one less for another to be made, and that
// may be tried now. The pool is locked.
func (p *Pool[T]) roomHelps(now time.Duration) bool {
	if p.breaker.Open() || p.barred > now || p.lastMake != nil && p.making+p.dying > 0 {
		return false
	}
	return p.live >= p.max || p.claimed > 0 && p.shared.budget.Short()
}
