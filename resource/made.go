package resource

import (
	"math/rand/v2"
	"time"
)

// probation is how long a resource that nobody has used must live for its making
// to count as a success.
const probation = 5 * time.Second

// makeDone puts what was made into the pool.
func (p *Pool[T]) makeDone(res resident[*entry[T]]) {
	e := res.res.Value()
	m := e.making
	e.making = nil
	p.lock()
	p.startClock()
	e.since = p.clock.tick.Load()
	if m.id == 0 {
		m.id = p.registry.ids.Add(1)
	}
	e.id, e.res = m.id, res
	p.registry.add(e)
	k := &p.maker
	stale := k.end(m)
	p.counts.made++
	p.counts.makeTime += m.took
	ended := false
	if !stale {
		k.gauge.Made(m.took)
		if !e.word.Invalidated() { // else Watch found it dead: no success
			k.last = nil
			ended = k.breaker.Made(m.began, p.cap.max)
		}
	}
	if e.era.over.Load() && !stale {
		p.putOld(e)
	} else {
		p.put(e, false)
	}
	p.warmed()
	tries := p.takeTries()
	p.grow()
	lives := error(nil)
	if e.loc == gone {
		lives = e.cause // Reset, Close or Resize came meanwhile
	}
	p.unlock()
	told(tries)
	m.report(lives)
	p.trace.made(m.asker, MakeEvent{ID: e.id, Took: m.took})
	if ended {
		p.trace.outage(nil)
	}
}

// putOld finds the place of e, whose making began before the last Reset: it is
// destroyed, unless a caller waits that came before the Reset which ended its
// era, and that would not get anything else in time. That lease is its only one,
// as put destroys it then. The pool is locked.
func (p *Pool[T]) putOld(e *entry[T]) {
	if !p.closed && !p.ordered && !e.word.Invalidated() && !p.cap.surplus() {
		now := p.clock.now()
		w, more := p.waiters.first(e.reach(), now)
		p.more = p.more || more
		if w != nil && w.Since < e.era.ended {
			e.spared, e.era = e.era.cause, new(era) // one of its own, which does not end
			p.grant(e, w, now)
			return
		}
	}
	p.put(e, false)
}

// report tells the call of MakeOne that m is for, if there is one.
func (m *making[T]) report(err error) {
	if m.result != nil {
		m.result <- err // never blocks
	}
}

// makeFailed frees the slot, tells one waiter if nothing can serve it any more
// and, if makes keep failing, begins an outage.
func (p *Pool[T]) makeFailed(m *making[T], err error) {
	if !m.lost {
		p.releaseQuota(m, Outcome{Verdict: Failed, Err: err, Latency: m.took})
	}
	p.lock()
	k := &p.maker
	stale := k.end(m)
	p.cap.free()
	p.counts.failedMakes++
	began := false
	if !stale && !p.closed { // else it says nothing: it was canceled
		began = k.breaker.Failed(p.clock.now(), m.began, k.coming(p.cap.max), rand.Float64())
		k.last = err
		p.tellOne(err)
	}
	m.unbegin()
	tries := p.endTries()
	p.grow()
	p.unlock()
	told(tries)
	m.report(err)
	p.trace.made(m.asker, MakeEvent{Took: m.took, Err: err})
	if began {
		p.trace.outage(err)
	}
}

// tellOne refuses the first waiter with err, why a make failed, if nothing else
// is on its way to it: neither a lease that may end nor another make. The pool
// is locked.
func (p *Pool[T]) tellOne(err error) {
	w := p.waiters.front()
	if w == nil || p.cfg.Outage != FailFast || p.recoverable(&w.Request) || p.maker.coming(p.cap.max) >= p.waiters.active() {
		return
	}
	now := p.clock.now()
	waited := now - w.Since
	p.depart(w, now)
	w.err = p.failureLocked(ReasonMakeFailed, err, waited, 0)
	p.counts.waits.fail(w.lasted)
	p.waiters.wake(w)
}

// unbegin has another make begin for the call of Warm that m was for. The pool
// is locked.
func (m *making[T]) unbegin() {
	if m.warmer != nil {
		m.warmer.begun--
	}
}

// stillborn notes that e, just made, was found unusable before it did any work.
// Nobody is told: another may be better, and if none is an outage begins soon.
// The pool is locked.
func (p *Pool[T]) failedEarly(e *entry[T], cause error) {
	k := &p.maker
	k.last = cause
	if k.breaker.Stillborn(p.clock.now(), e.made, k.coming(p.cap.max), rand.Float64()) {
		p.busy++
		go func() {
			defer p.unbusy()
			p.trace.outage(cause)
		}()
	}
}

// withdraw frees the slot of a make that has not begun.
func (p *Pool[T]) withdraw(m *making[T]) {
	p.lock()
	p.maker.end(m)
	p.cap.free()
	p.counts.withdrawn++
	m.unbegin()
	err := error(ErrFull)
	if p.closed {
		err = ErrClosed
	}
	tries := p.endTries()
	p.grow()
	p.unlock()
	told(tries)
	m.report(err)
}
