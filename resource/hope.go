package resource

import "time"

// outageError is what a hopeless caller gets. The pool is locked.
func (p *Pool[T]) outageError(now, waited time.Duration) error {
	err := &outageCause{p.maker.last}
	retry := p.maker.breaker.RetryAfter(now)
	if retry == 0 { // the prober is at it
		retry = max(p.maker.gauge.Usual(), 10*time.Millisecond)
	}
	a := p.failureLocked(ReasonOutage, err, waited, retry)
	if !p.cap.full() { // else there is no room for a try
		a.tried = p.maker.nextTry()
	}
	return a
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

// refuseOn refuses some of those who are to be: if the pool is closed all who
// wait, else those of p.waiters.refusing. The pool is locked.
func (p *Pool[T]) refuseWaiters() {
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
		if w == nil || w.turn > p.waiters.refusing.last {
			p.waiters.refusing = refusal{}
			return
		}
		w.rejected = true
		p.refuse(w, p.failureLocked(refusalReason(p.waiters.refusing.err), p.waiters.refusing.err, now-w.Since, 0), now)
	}
	p.more = true
}
