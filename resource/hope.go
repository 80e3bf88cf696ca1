package resource

import "time"

// hopeless reports whether a caller who came now and asks for r should be told at
// once: makes keep failing, none is due, and nothing is out that could come back
// to it. The pool is locked.
func (p *Pool[T]) hopeless(r *Request, now time.Duration) bool {
	k := &p.maker
	return k.breaker.Open() && p.cfg.Outage == FailFast && !p.hopes(r) &&
		(k.breaker.RetryAfter(now) > 0 || k.coming(p.cap.max) > 0)
}

// outageError is what a hopeless caller gets. The pool is locked.
func (p *Pool[T]) outageError(now, waited time.Duration) error {
	err := &outageCause{p.maker.last}
	retry := p.maker.breaker.RetryAfter(now)
	if retry == 0 { // the prober is at it
		retry = max(p.maker.gauge.Usual(), 10*time.Millisecond)
	}
	a := p.failureLocked(ReasonOutage, err, waited, retry)
	if !p.cap.full() { // else there is no room for a try
		a.tried = p.nextTry()
	}
	return a
}

// inVain reports whether a caller who asks for r would wait until that deadline
// for nothing: until then no make is tried, and nothing is out that could come
// back to it. One whose time is over hears so from its context. The pool is
// locked.
func (p *Pool[T]) inVain(r *Request, deadline, now time.Duration) bool {
	return now < deadline && deadline < p.maker.barred && p.maker.pending() == 0 && p.cfg.Outage == FailFast && !p.hopes(r)
}

// turnAway makes the error of a caller who would wait in vain. The pool is
// locked; turnAway unlocks it.
func (p *Pool[T]) turnAway(s *search[T], now time.Duration) error {
	waited := time.Duration(0)
	if s.waited {
		waited = now - s.start
	}
	err := p.failureLocked(refusalReason(p.maker.barredBy), p.maker.barredBy, waited, p.maker.barred-now)
	p.unlock()
	p.trace.rejected(s.ctx, err)
	return err
}

// dismiss refuses those who wait and whom nothing can serve any more: what was out
// is gone, or makes fail or are barred since. The pool is locked.
func (p *Pool[T]) dismiss(now time.Duration) {
	freshOnly := !p.nothingOut()
	if p.cfg.Outage != FailFast || freshOnly && p.waiters.fresh() == 0 {
		return
	}
	k := &p.maker
	left := maxPerHold
	if k.breaker.RetryAfter(now) > 0 {
		for w := p.waiters.refusable(freshOnly); w != nil; w = p.waiters.refusable(freshOnly) {
			if left--; left < 0 {
				p.more = true
				return
			}
			k.sought = true
			p.refuse(w, p.outageError(now, now-w.Since), now)
		}
	}
	if k.barred <= now || k.pending() > 0 {
		return
	}
	for w := p.waiters.soonest(freshOnly); w != nil && w.deadline < k.barred; w = p.waiters.soonest(freshOnly) {
		if left--; left < 0 {
			p.more = true
			return
		}
		if w.deadline <= now {
			p.waiters.untime(w) // it hears so from its context
			continue
		}
		w.rejected = true
		p.refuse(w, p.failureLocked(refusalReason(k.barredBy), k.barredBy, now-w.Since, k.barred-now), now)
	}
}

// refusal is the refusal of all who came up to a turn, as far as nothing out
// could come back to them. The zero refusal refuses nobody.
type refusal struct {
	err  error
	last int64
}

// refuseOn refuses some of those who are to be: if the pool is closed all who
// wait, else those of p.refusing. The pool is locked.
func (p *Pool[T]) refuseOn() {
	now := p.clock.now()
	for range maxPerHold {
		if p.closed {
			w := p.waiters.any()
			if w == nil {
				return
			}
			p.refuse(w, p.failureLocked(ReasonClosed, ErrClosed, max(1, now-w.Since), 0), now) // a Keyed tells by Waited who waited
			continue
		}
		w := p.waiters.refusable(!p.nothingOut())
		if w == nil || w.turn > p.refusing.last {
			p.refusing = refusal{}
			return
		}
		w.rejected = true
		p.refuse(w, p.failureLocked(refusalReason(p.refusing.err), p.refusing.err, now-w.Since, 0), now)
	}
	p.more = true
}
