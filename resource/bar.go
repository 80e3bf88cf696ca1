package resource

import "time"

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
	p.bar(err, retry)
	if retry <= 0 && p.making == 0 && p.cfg.Outage == FailFast {
		p.refuseSome(func(w *waiter[T]) bool {
			if p.hopes(&w.Request) {
				return false
			}
			p.reject(w)
			return true
		}, func(waited time.Duration) error { return p.failureLocked(err, waited, 0) })
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
func (p *Pool[T]) bar(err error, retry time.Duration) {
	now := p.since()
	first := now >= p.barred || p.refusals == 0
	switch {
	case retry > 0:
		if until := plus(now, max(retry, barredFor)); until > p.barred {
			p.barred, p.barredBy = until, err
		}
	case first:
		p.barred, p.barredBy = plus(now, barredFor<<min(p.refusals, maxBarred)), err
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
