package resource

import (
	"math/rand/v2"
	"time"
)

// infancy is how long a resource that nobody has used must live for its making
// to count as a success.
const infancy = 5 * time.Second

// makeDone puts what was made into the pool.
func (p *Pool[T]) makeDone(m *making[T], res resident[*entry[T]]) {
	e := res.res.Value()
	p.lock()
	p.startClock()
	e.id, e.res, e.index = p.nextID(), res, len(p.all)
	p.all = append(p.all, e)
	p.making--
	p.n.made++
	p.n.makeTime += m.took
	p.gauge.Made(m.took)
	ended := false
	if !e.word.Doomed() { // else Watch found it dead: no success
		p.lastMake = nil
		ended = p.breaker.Made(p.max)
	}
	p.put(e, false)
	p.warmed(nil)
	p.grow()
	p.unlock()
	if f := p.cfg.Trace.Made; f != nil {
		_ = p.isolate("Trace", func() { f(m.ctx, MakeEvent{ID: e.id, Took: m.took}) })
	}
	if ended {
		p.traceOutage(nil)
	}
}

// makeFailed tells one waiter, frees the place and, if makes keep failing,
// begins an outage.
func (p *Pool[T]) makeFailed(m *making[T], err error) {
	if !m.lost {
		p.releaseQuota(m, Outcome{Verdict: Failed, Err: err, Latency: m.took})
	}
	p.lock()
	p.making--
	p.vacatePlace(false)
	p.n.failed++
	began := p.breaker.Failed(p.since(), m.began, p.making, rand.Float64())
	p.lastMake = err
	if w := p.waiters.front; w != nil && p.cfg.Outage == FailFast {
		p.refuse(w, p.failureLocked(err, p.since()-w.Since, 0))
	}
	p.warmed(err)
	p.grow()
	p.unlock()
	if f := p.cfg.Trace.Made; f != nil {
		_ = p.isolate("Trace", func() { f(m.ctx, MakeEvent{Took: m.took, Err: err}) })
	}
	if began {
		p.traceOutage(err)
	}
}

// stillborn notes that e, just made, was found unusable before it did any work.
// Nobody is told: another may be better, and if none is an outage begins soon.
// The pool is locked.
func (p *Pool[T]) stillborn(e *entry[T], cause error) {
	p.lastMake = cause
	if p.breaker.Stillborn(p.since(), e.made, p.making, rand.Float64()) {
		p.busy++
		go func() {
			defer p.unbusy()
			p.traceOutage(cause)
		}()
	}
}

// withdraw frees the place of a make that has not begun.
func (p *Pool[T]) withdraw() {
	p.lock()
	defer p.unlock()
	p.making--
	p.vacatePlace(false)
	p.grow()
}

func (p *Pool[T]) traceOutage(cause error) {
	if f := p.cfg.Trace.Outage; f != nil {
		_ = p.isolate("Trace", func() { f(cause) })
	}
}
