package resource

import "time"

// trial is a caller that must not wait and has a check run for it.
type trial[T any] struct {
	seat  int
	call  *call
	gone  bool          // it does not wait any more
	lease Lease[T]      // of what passed; none if it did not
	done  chan struct{} // closed at the end of the check
}

// trialTime is how long an acquire with [Request.NoWait] lets a Health check
// take.
const trialTime = 10 * time.Millisecond

// try checks what *l holds for a caller that must not wait: longer than trialTime
// the check goes on without it, and the resource is the pool's. If it reports
// false and no error the caller may look for another.
func (p *Pool[T]) try(s *search[T], l *Lease[T], i Info) (ok bool, err error) {
	now := p.since()
	if s.until == 0 {
		s.until = now + trialTime
	}
	if !p.mayTry(s, now) {
		p.untouch(s, l, 0)
		return false, p.failure(ErrNoneIdle, 0)
	}
	t := &trial[T]{seat: s.seat, done: make(chan struct{})}
	e := p.takeBack(l)
	p.lock()
	p.startClock()
	if e.word.Doomed() || p.closed || p.live-p.dying > p.max {
		p.put(e, false) // retires it
		p.unlock()
		return false, nil
	}
	p.parkAgain(e, s.idle)
	p.check(s.ctx, e, i, t)
	p.unlock()
	timer := time.NewTimer(s.until - now)
	defer timer.Stop()
	select {
	case <-t.done:
	case <-timer.C:
	case <-s.ctx.Done():
	}
	if done := p.leaveTrial(t); t.lease.e != nil || done {
		*l = t.lease
		return l.e != nil, nil
	}
	if s.ctx.Err() != nil {
		return false, p.gaveUp(s)
	}
	return false, p.failure(ErrNoneIdle, 0)
}

// leaveTrial ends a caller's wait for the check that t is about. It reports
// whether that has ended; if not, what comes of it is the pool's.
func (p *Pool[T]) leaveTrial(t *trial[T]) (done bool) {
	p.lock()
	defer p.unlock()
	select {
	case <-t.done:
		return true
	default:
	}
	t.gone = true
	p.doctor.calls.endTrial(t.call)
	p.grow()
	return false
}

// mayTry reports whether a caller that must not wait may still have a check
// begun.
func (p *Pool[T]) mayTry(s *search[T], now time.Duration) bool {
	if now >= s.until {
		return false
	}
	p.lock()
	defer p.unlock()
	d := &p.doctor
	d.calls.look(now)
	return !d.full(p.max) && !d.stuck(p.max)
}
