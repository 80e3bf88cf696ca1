package resource

import "time"

// noWaitCheck is an acquire with NoWait that waits for a check in the background.
type noWaitCheck[T any] struct {
	slot  int
	call  *call
	gone  bool          // it does not wait any more
	lease Lease[T]      // of the resource, if it passed
	done  chan struct{} // closed at the end of the check
}

// noWaitCheckTime is how long an acquire with [Request.NoWait] waits for Health
// checks.
const noWaitCheckTime = 10 * time.Millisecond

// checkNoWait checks the resource of *l for an acquire with NoWait. When the time
// of s is up the check goes on in the background, *l is empty, and the error is
// ErrNoneIdle. If it returns neither true nor an error the resource has failed,
// and the caller may try another.
func (p *Pool[T]) checkNoWait(s *search[T], l *Lease[T], i Info) (ok bool, err error) {
	now := p.clock.now()
	if s.until == 0 {
		s.until = now + noWaitCheckTime
	}
	if now >= s.until || !p.mayCheckNoWait(now) {
		p.untouch(s, l, 0)
		return false, p.failure(ReasonNoneIdle, ErrNoneIdle, 0)
	}
	w := &noWaitCheck[T]{slot: s.slot, done: make(chan struct{})}
	e := p.takeBack(l)
	p.lock()
	p.startClock()
	if !e.lendable(&p.cap) {
		p.put(e, false) // retires it
		p.unlock()
		return false, nil
	}
	p.idle.parkAgain(e, s.idle)
	p.check(s.ctx, e, i, w)
	p.unlock()
	timer := time.NewTimer(s.until - now)
	defer timer.Stop()
	select {
	case <-w.done:
	case <-timer.C:
	case <-s.ctx.Done():
	}
	switch {
	case p.leaveCheck(w):
		*l = w.lease
		return l.e != nil, nil
	case s.ctx.Err() != nil:
		return false, p.gaveUp(s)
	default:
		return false, p.failure(ReasonNoneIdle, ErrNoneIdle, 0)
	}
}

// leaveCheck ends the caller's wait and reports whether the check has ended. If
// not, the outcome is the pool's.
func (p *Pool[T]) leaveCheck(w *noWaitCheck[T]) (done bool) {
	p.lock()
	defer p.unlock()
	select {
	case <-w.done:
		return true
	default:
	}
	w.gone = true
	p.calls.checks.leave(w.call)
	p.grow()
	return false
}

// mayCheckNoWait reports whether an acquire with NoWait may have a check begun:
// not if as many checks still run that such acquires have left as may run at once.
func (p *Pool[T]) mayCheckNoWait(now time.Duration) bool {
	p.lock()
	defer p.unlock()
	d := &p.health
	p.calls.checks.look(now)
	return p.calls.checks.left < checkBound(p.cap.max) && !d.stuck(p.cap.max)
}
