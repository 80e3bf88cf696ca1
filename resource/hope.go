package resource

import "time"

// hopeless reports whether a caller who came now and asks for r should be told at
// once: makes keep failing, none is due, and nothing is out that could come back
// to it. The pool is locked.
func (p *Pool[T]) hopeless(r *Request, now time.Duration) bool {
	return p.breaker.Open() && p.cfg.Outage == FailFast && !p.hopes(r) &&
		(p.breaker.RetryAfter(now) > 0 || p.making > 0)
}

// outageError is what a hopeless caller gets. The pool is locked.
func (p *Pool[T]) outageError(now, waited time.Duration) error {
	err := &outageCause{p.lastMake}
	retry := p.breaker.RetryAfter(now)
	if retry == 0 { // the prober is at it
		retry = max(p.gauge.Usual(), 10*time.Millisecond)
	}
	return p.failureLocked(err, waited, retry)
}

// inVain reports whether a caller who asks for r would wait until that deadline
// for nothing: until then no make is tried, and nothing is out that could come
// back to it. One whose time is over hears so from its context. The pool is
// locked.
func (p *Pool[T]) inVain(r *Request, deadline, now time.Duration) bool {
	return now < deadline && deadline < p.barred && p.making == 0 && p.cfg.Outage == FailFast && !p.hopes(r)
}

// turnAway makes the error of a caller who would wait in vain. The pool is
// locked; turnAway unlocks it.
func (p *Pool[T]) turnAway(s *search[T], now time.Duration) error {
	p.n.rejected++
	waited := time.Duration(0)
	if s.waited {
		waited = now - s.start
	}
	err := p.failureLocked(p.barredBy, waited, p.barred-now)
	p.unlock()
	if f := p.cfg.Trace.Rejected; f != nil {
		_ = p.guard("Trace", func() { f(s.ctx, err) })
	}
	return err
}

// dismiss tells those who wait and have nothing to hope for any more: what was out
// is gone, or makes fail or are barred since. The pool is locked.
func (p *Pool[T]) dismiss(clock func() time.Duration) {
	if p.cfg.Outage != FailFast || p.waiters.fresh == 0 && !p.nothingOut() {
		return
	}
	if p.breaker.Open() && p.breaker.RetryAfter(clock()) > 0 {
		p.refuseSome(func(w *waiter[T]) bool {
			if p.hopes(&w.Request) {
				return false
			}
			p.sought = true
			return true
		}, func(waited time.Duration) error { return p.outageError(clock(), waited) })
	}
	if p.barred > 0 && p.making == 0 && p.barred > clock() {
		p.refuseSome(func(w *waiter[T]) bool {
			if !p.inVain(&w.Request, w.deadline, clock()) {
				return false
			}
			p.reject(w)
			return true
		}, func(waited time.Duration) error { return p.failureLocked(p.barredBy, waited, p.barred-clock()) })
	}
}
