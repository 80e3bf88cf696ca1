package resource

import "time"

// makeRefused frees the slot of a make that a MakeGate or Quota did not let
// begin. The next is tried when the refusal said, or a little later. Waiters
// are refused if it did not say, and nothing out could come back to them.
func (p *Pool[T]) makeRefused(m *making[T], err error) {
	var retry time.Duration
	_ = p.guard.isolate("Rejection", func() { retry = p.guard.retryAfter(err) }) // may call methods of err
	p.lock()
	k := &p.maker
	k.end(m)
	k.asking--
	p.cap.free()
	p.counts.refused++
	k.bar(p.clock.now(), err, retry)
	if retry <= 0 && k.pending() == 0 && p.cfg.Outage == FailFast {
		p.waiters.refuseAll(err)
		p.refuseOn()
	}
	m.unbegin()
	tries := p.endTries()
	p.grow()
	p.unlock()
	told(tries)
	m.report(err)
	p.trace.refused(m.asker, err)
}
