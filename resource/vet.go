package resource

import (
	"fmt"
	"time"
)

// evaluate asks the policies about the resource, the Eviction only if it was not asked
// yet.
func (s *slowAcquire[T]) evaluate(asked bool) {
	p, e := s.p, s.lease.e
	var i Info
	e.facts(&i, p.clock.ticks(), s.idle, int64(s.lease.gen())-1)
	s.found = evaluation{}
	if p.mode.evicts && !asked {
		s.found.cause, s.found.total = p.policies.evict(e.value, i), i.Total
	}
	s.found.due = s.found.cause == nil && p.cfg.Health != nil && !s.verified && p.policies.due(i)
}

// evaluateIdle asks the Eviction, about one idle resource after the other that may be
// lent to the caller, whether it would still keep it after s.min more age, until it
// finds one. The others are marked unfit, and stay for callers that ask for less. The
// pool is locked, and unlocked for each question.
func (s *slowAcquire[T]) evaluateIdle() {
	p := s.p
	p.idle.flushSlots(0)
	for {
		e := p.idle.first(&s.r)
		if e == nil {
			break
		}
		i := e.info(p.clock.tick.Load(), p.clock.tick.Load()-e.since)
		i.Age, i.Total = plus(i.Age, s.min), 0
		var cause error
		there := s.reserved(e, func() { cause = p.policies.evict(e.value, i) })
		if there && cause == nil {
			break
		}
		p.idle.anyUnfit = true
		if there {
			p.idle.setUnfit(e, s.min)
		}
	}
	p.serveAndGrowLocked()
}

// reserved calls f, which asks a policy about e, with the pool unlocked and e reserved.
// The pool is locked before and after; it stays unlocked only if f ends the goroutine.
func (s *slowAcquire[T]) reserved(e *entry[T], f func()) (there bool) {
	p := s.p
	p.idle.reserve(e)
	p.unlock()
	returned := false
	defer func() {
		p.lock()
		there = p.unreserveLocked(e)
		if !returned {
			p.serveAndGrowLocked()
			p.unlock()
		}
	}()
	f()
	returned = true
	return there
}

// vet does what the evaluation of the resource calls for, and a check if one is due. If
// the resource is turned down it is destroyed or left to others, and the op holds none.
func (s *slowAcquire[T]) vet() (ok bool, err error) {
	p := s.p
	e := s.lease.e
	var i Info
	e.facts(&i, p.clock.ticks(), s.idle, int64(s.lease.gen())-1)
	if s.found.cause != nil {
		if cause := e.confirm(i, s.found.total, s.found.cause); cause != nil {
			return false, s.turnDown(cause, fateEvicted)
		}
		s.evaluate(true)
	}
	if s.min > 0 {
		later := i
		later.Age, later.Total = plus(i.Age, s.min), 0
		if cause := p.policies.evict(e.value, later); cause != nil {
			return false, s.leave(cause)
		}
	}
	if !s.found.due {
		return true, nil
	}
	old := !s.lease.fresh()
	if old && p.health.alert.Load() && s.withhold() {
		return false, nil
	}
	if s.r.NoWait {
		return s.checkNoWait(i)
	}
	since := p.clock.ticks() - s.idle
	began := p.clock.now()
	ill := p.policies.check(s.ctx, e.value, i)
	took := p.clock.now() - began
	if ill != nil && s.ctx.Err() != nil {
		s.untouch(took)
		return false, s.gaveUp()
	}
	if p.policies.passes(e, ill, p.clock.ticks()) {
		if old && ill == nil && p.health.alert.Load() {
			p.lock()
			p.checkPassedLocked(since)
			p.unlock()
		}
		p.trace.checked(i, took, ill)
		return true, nil
	}
	if old {
		p.lock()
		p.checkFailedLocked(since, took)
		p.unlock()
	}
	err = s.turnDown(ill, fateUnhealthy)
	p.trace.checked(i, took, ill)
	return false, err
}

// takeBack ends the lease, which no caller has seen. Its resource is the op's to move.
func (s *slowAcquire[T]) takeBack() *entry[T] {
	e := s.lease.e
	if !e.word.End(s.lease.n) {
		panic("resource: bug: an unseen lease has ended")
	}
	e.unseen++
	e.takenBack.Add(1)
	s.lease = Lease[T]{}
	return e
}

// turnDown destroys the resource. If it came straight from its creation that counts as
// a failed creation, and the caller fails as after one.
func (s *slowAcquire[T]) turnDown(cause error, why fate) error {
	p := s.p
	fresh := s.lease.fresh()
	e := s.takeBack()
	p.lock()
	p.startClockLocked()
	if fresh {
		p.failedEarlyLocked(e, cause)
	}
	p.retireLocked(e, cause, why)
	p.changed = true
	p.unlock()
	if fresh && p.cfg.Outage == FailFast {
		return s.fail(ReasonMakeFailed, cause)
	}
	return nil
}

// leave gives the resource to callers that ask for less time. If it came straight from
// its creation no other would last longer: then the acquire fails.
func (s *slowAcquire[T]) leave(cause error) error {
	p := s.p
	fresh := s.lease.fresh()
	e := s.takeBack()
	p.lock()
	p.startClockLocked()
	e.unfit, p.idle.anyUnfit = s.min, true // it is in no list
	p.putLocked(e, false)
	p.unlock()
	if fresh {
		return s.fail(ReasonNearEnd, fmt.Errorf("a new one would not last as long as asked: %w", cause))
	}
	return nil
}

// untouch gives the resource back as if it had not been looked at. A check of it had
// taken so long when the caller had to leave.
func (s *slowAcquire[T]) untouch(took time.Duration) {
	p := s.p
	e := s.takeBack()
	p.lock()
	defer p.unlock()
	p.startClockLocked()
	since := p.clock.tick.Load() - s.idle - int64(took/tickLen)
	if p.health.cut(p.clock.now(), since, took, p.maker.gauge.Usual()) {
		p.health.scanFrom(len(p.registry.all))
		p.startScanLocked()
	}
	if p.holdBackLocked(e, since) {
		p.changed = true
	} else if p.putLocked(e, false); e.loc == inList {
		p.idle.list.remove(e)
		p.idle.parkAgain(e, s.idle)
	}
}

// withhold moves the resource, which is due for a check, to the unverified ones if it
// is suspect. It reports whether the op holds none now.
func (s *slowAcquire[T]) withhold() bool {
	p := s.p
	p.lock()
	defer p.unlock()
	p.startClockLocked()
	since := p.clock.tick.Load() - s.idle
	if !p.health.suspect.Covers(since) {
		return false
	}
	e := s.takeBack()
	if !p.holdBackLocked(e, since) {
		p.putLocked(e, false)
	}
	return true
}

// noWaitCheck is a background check that an acquire with NoWait waits for.
type noWaitCheck[T any] struct {
	slot  int
	call  *call
	left  bool          // the acquire does not wait any more
	lease Lease[T]      // of the resource, if it passed
	done  chan struct{} // closed at the end of the check
}

// noWaitCheckTime is how long an acquire with [Request.NoWait] waits for Health
// checks.
const noWaitCheckTime = 10 * time.Millisecond

// checkNoWait checks the resource for an acquire with NoWait. When the acquire's time
// is up the check continues in the background, the op holds nothing, and the error is
// ErrNoneIdle. If it returns neither true nor an error the resource has failed the
// check, and the caller may try another.
func (s *slowAcquire[T]) checkNoWait(i Info) (ok bool, err error) {
	p := s.p
	now := p.clock.now()
	if s.until == 0 {
		s.until = now + noWaitCheckTime
	}
	if now >= s.until || !s.mayCheckNoWait(now) {
		s.untouch(0)
		return false, p.failure(ReasonNoneIdle, ErrNoneIdle, 0)
	}
	w := &noWaitCheck[T]{slot: s.slot, done: make(chan struct{})}
	e := s.takeBack()
	p.lock()
	p.startClockLocked()
	if !e.lendable(&p.cap) {
		p.putLocked(e, false) // retires it
		p.unlock()
		return false, nil
	}
	p.idle.parkAgain(e, s.idle)
	p.startCheckLocked(s.ctx, e, i, w)
	p.unlock()
	timer := time.NewTimer(s.until - now)
	defer timer.Stop()
	select {
	case <-w.done:
	case <-timer.C:
	case <-s.ctx.Done():
	}
	switch {
	case s.leaveCheck(w):
		s.lease = w.lease
		return s.lease.e != nil, nil
	case s.ctx.Err() != nil:
		return false, s.gaveUp()
	default:
		return false, p.failure(ReasonNoneIdle, ErrNoneIdle, 0)
	}
}

// leaveCheck ends the caller's wait and reports whether the check has ended. If not, its
// outcome is the pool's.
func (s *slowAcquire[T]) leaveCheck(w *noWaitCheck[T]) (done bool) {
	p := s.p
	p.lock()
	defer p.unlock()
	select {
	case <-w.done:
		return true
	default:
	}
	w.left = true
	p.calls.checks.leave(w.call)
	p.changed = true
	return false
}

// mayCheckNoWait reports whether an acquire with NoWait may have a check begun: not if
// as many checks still run that such acquires have left as may run at once.
func (s *slowAcquire[T]) mayCheckNoWait(now time.Duration) bool {
	p := s.p
	p.lock()
	defer p.unlock()
	c := &p.calls.checks
	c.look(now)
	return c.left < checkBound(p.cap.max) && !p.health.stuck(p.cap.max)
}
