package resource

import (
	"fmt"
	"time"
)

// opinion is what the policies say of a resource from the facts alone.
type opinion struct {
	cause error // why the Eviction would end it; nil: it keeps it
	due   bool  // the Health wants to check it
}

// opine asks for one of what l, not yet a caller's, holds; the Eviction only if
// it has not been asked.
func (p *Pool[T]) opine(s *search[T], l Lease[T], asked bool) (o opinion) {
	var i Info
	l.e.tell(&i, p.clock.ticks(), s.idle, int64(l.gen())-1)
	if p.evicts && !asked {
		o.cause = p.policies.evict(l.e.value, i)
	}
	o.due = o.cause == nil && p.cfg.Health != nil && !s.verified && p.policies.due(i)
	return o
}

// vet does what the policies' opinion of the resource that *l holds calls for,
// and a check if one is due. If they turn it down it is destroyed or left to
// others, and *l is empty.
func (p *Pool[T]) vet(s *search[T], l *Lease[T], o opinion) (ok bool, err error) {
	if o.cause != nil {
		return false, p.turnDown(s, l, o.cause, fateEvicted)
	}
	e := l.e
	var i Info
	e.tell(&i, p.clock.ticks(), s.idle, int64(l.gen())-1)
	if s.min > 0 {
		later := i
		later.Age = plus(i.Age, s.min)
		if cause := p.policies.evict(e.value, later); cause != nil {
			return false, p.leave(s, l, cause)
		}
	}
	if !o.due {
		return true, nil
	}
	old := !l.fresh()
	if old && p.health.alert.Load() && p.withhold(s, l) {
		return false, nil
	}
	if s.r.NoWait {
		return p.checkNoWait(s, l, i)
	}
	since := p.clock.ticks() - s.idle
	began := p.clock.now()
	ill := p.policies.check(s.ctx, e.value, i)
	took := p.clock.now() - began
	if ill != nil && s.ctx.Err() != nil {
		p.untouch(s, l, took)
		return false, p.gaveUp(s)
	}
	if p.passes(e, ill) {
		if old && ill == nil && p.health.alert.Load() {
			p.lock()
			p.checkPassed(since)
			p.unlock()
		}
		p.trace.checked(i, took, ill)
		return true, nil
	}
	if old {
		p.lock()
		p.checkFailed(since, took)
		p.unlock()
	}
	err = p.turnDown(s, l, ill, fateUnhealthy)
	p.trace.checked(i, took, ill)
	return false, err
}

// turnDown destroys what *l holds. If it came straight from its making that is
// as good as a failed make, and told as one.
func (p *Pool[T]) turnDown(s *search[T], l *Lease[T], cause error, why fate) error {
	fresh := l.fresh()
	e := p.takeBack(l)
	p.lock()
	p.startClock()
	if fresh {
		p.stillborn(e, cause)
	}
	p.retire(e, cause, why)
	p.grow()
	p.unlock()
	if fresh && p.cfg.Outage == FailFast {
		return p.failure(ReasonMakeFailed, cause, p.waitedFor(s))
	}
	return nil
}

// leave gives what *l holds to callers who ask for less time. What came
// straight from its making can not be bettered: then the caller is told.
func (p *Pool[T]) leave(s *search[T], l *Lease[T], cause error) error {
	fresh := l.fresh()
	e := p.takeBack(l)
	p.lock()
	p.startClock()
	e.unfit, p.idle.anyUnfit = s.min, true // it is on no shelf
	p.put(e, false)
	p.unlock()
	if fresh {
		return p.failure(ReasonNearEnd, fmt.Errorf("a new one would not last as long as asked: %w", cause), p.waitedFor(s))
	}
	return nil
}

// untouch gives back what *l holds as if it had not been looked at. A check of it
// had taken so long when the caller had to leave.
func (p *Pool[T]) untouch(s *search[T], l *Lease[T], took time.Duration) {
	e := p.takeBack(l)
	p.lock()
	p.startClock()
	since := p.clock.tick.Load() - s.idle - int64(took/tickLen)
	if p.health.cut(p.clock.now(), since, took, p.maker.gauge.Usual()) {
		p.scanIdle()
	}
	if p.holdBack(e, since) {
		p.grow()
	} else if p.put(e, false); e.loc == inList {
		p.idle.list.remove(e)
		p.idle.parkAgain(e, s.idle)
	}
	p.unlock()
}

// fresh reports whether what l holds came straight from its making. Its holder
// asks.
func (l Lease[T]) fresh() bool { return l.gen() == 1 && !l.e.wasIdle }

// takeBack ends the lease that *l is and that no caller has seen, and empties
// *l. What it held is in the pool's hands.
func (p *Pool[T]) takeBack(l *Lease[T]) *entry[T] {
	e := l.e
	if !e.word.End(l.n) {
		panic("resource: bug: an unseen lease has ended")
	}
	e.unseen++
	e.takenBack.Add(1)
	*l = Lease[T]{}
	return e
}

// passes notes what a check of e found and reports whether e is kept. Who has e
// to itself calls it.
func (p *Pool[T]) passes(e *entry[T], ill error) bool {
	if ill == nil {
		e.checked.Store(p.clock.ticks() + 1)
		e.failures.Store(0)
		return true
	}
	if !p.guard.is(ill, ErrTolerated) {
		return false
	}
	e.failures.Add(1)
	return true
}
