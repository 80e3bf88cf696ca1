package resource

import (
	"math/rand/v2"
	"time"

	"github.com/jackc/puddle/v2"
)

// infancy is how long a resource that nobody has used must live for its making
// to count as a success.
const infancy = 5 * time.Second

// makeDone puts what was made into the pool.
func (p *Pool[T]) makeDone(m *making[T], res *puddle.Resource[*entry[T]]) {
	e := res.Value()
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
	if m.epoch != p.epoch {
		p.condemn(e, p.reset, &p.n.other)
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

// makeRefused frees the place of a make that a MakeGate or Quota did not let
// begin. The next is tried when the refusal said, or a little later. Waiters
// are told if it did not say, and nothing they could hope for is out.
func (p *Pool[T]) makeRefused(m *making[T], err error) {
	var retry time.Duration
	_ = p.isolate("Rejection", func() { retry = p.retryAfter(err) }) // may call methods of err
	p.lock()
	p.making--
	p.asking--
	p.vacatePlace(false)
	p.n.refused++
	p.bar(retry)
	if retry <= 0 && p.making == 0 && p.nothingOut() && p.cfg.Outage == FailFast {
		p.n.rejected += int64(p.waiters.n)
		p.refuseAll(true, func(waited time.Duration) error { return p.failureLocked(err, waited, 0) })
	}
	p.warmed(err)
	p.grow()
	p.unlock()
	if f := p.cfg.Trace.Refused; f != nil {
		_ = p.isolate("Trace", func() { f(m.ctx, err) })
	}
}

// bar keeps makes from being tried for as long as a refusal said, or, if it did
// not, for a time that doubles with each. Those of one burst count once. The
// pool is locked.
func (p *Pool[T]) bar(retry time.Duration) {
	now := p.since()
	first := now >= p.barred || p.refusals == 0
	switch {
	case retry > 0:
		p.barred = max(p.barred, plus(now, max(retry, barredFor)))
	case first:
		p.barred = plus(now, barredFor<<min(p.refusals, maxBarred))
	}
	if first {
		p.refusals++
	}
}

// barredFor is how long no make is tried after a refusal that did not say. It
// doubles from refusal to refusal, up to maxBarred times.
const (
	barredFor = 50 * time.Millisecond
	maxBarred = 5
)

// withdraw frees the place of a make that has not begun.
func (p *Pool[T]) withdraw() {
	p.lock()
	defer p.unlock()
	p.making--
	p.vacatePlace(false)
	p.grow()
}

// hopeless reports whether a caller who came now should be told at once: makes
// keep failing, none is due, and nothing is out that could come back. The pool
// is locked.
func (p *Pool[T]) hopeless(now time.Duration) bool {
	return p.breaker.Open() && p.cfg.Outage == FailFast && p.nothingOut() &&
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

func (p *Pool[T]) traceOutage(cause error) {
	if f := p.cfg.Trace.Outage; f != nil {
		_ = p.isolate("Trace", func() { f(cause) })
	}
}
