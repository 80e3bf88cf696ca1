package resource

import (
	"context"
	"time"
)

// check has e, which is idle, checked in the background, aside meanwhile. ctx has
// the values for the check. The pool is locked.
func (p *Pool[T]) check(ctx context.Context, e *entry[T], i Info, t *trial[T]) {
	c := &call{began: p.since(), trial: t != nil}
	if t != nil {
		t.call = c
	}
	p.setAside(e)
	p.doctor.calls.add(c)
	p.busy++
	go p.checkAside(ctx, e, i, c, t)
}

// checkAside runs one check.
func (p *Pool[T]) checkAside(ctx context.Context, e *entry[T], i Info, c *call, t *trial[T]) {
	defer p.unbusy()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.cfg.MakeTimeout)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	defer time.AfterFunc(p.doctor.calls.limit, p.onOverdue).Stop()
	r := report{ill: ErrGoexit} // unless ask returns
	// Deferred, so that it happens also if Check ends this goroutine.
	defer func() {
		p.checked(e, c, t, &r)
		if r.told {
			p.traceCheck(i, r.took, r.ill)
		}
	}()
	r.took, r.ill = p.ask(ctx, e, i)
	r.cut = r.ill != nil && p.ctx.Err() != nil // Close has cut it short: nothing is known
	r.told = !r.cut
	r.kept = r.cut || p.passes(e, r.ill)
}

// report is what came of a check in the background.
type report struct {
	took time.Duration
	ill  error
	kept bool
	cut  bool
	told bool // Trace is to be told
}

// checked puts e where the report says.
func (p *Pool[T]) checked(e *entry[T], c *call, t *trial[T], r *report) {
	p.lock()
	defer p.unlock()
	d := &p.doctor
	since, suspect := e.since, d.suspect.Active()
	d.calls.remove(c)
	there := p.backFromAside(e)
	switch {
	case r.cut:
	case r.kept:
		if there { // before others that are readmitted
			p.lendChecked(e, t, suspect)
		}
		if r.ill == nil {
			p.checkPassed(since)
		}
	default:
		if there {
			p.retire(e, r.ill, &p.n.unhealthy)
		}
		p.checkFailed(since, r.took)
	}
	if t != nil {
		close(t.done)
	}
	p.wakeRounds()
	if d.suspect.Active() && d.done() {
		p.trust()
	}
	p.serve()
	if e.place == shelf && p.waiters.n > 0 && !(p.ordered && p.matches()) {
		d.calls.countOut() // it came back and nobody can use it: so may the others
	}
	p.grow()
}

// lendChecked lends e, which is idle and whose check has just passed, to the
// caller that had it checked, or else to the first that waits and can use it;
// with a Queue, unlock sees to that. If e was suspect the waiter has no check of
// its own made: it waited for this one. The pool is locked.
func (p *Pool[T]) lendChecked(e *entry[T], t *trial[T], suspect bool) {
	if t != nil && !t.gone {
		p.shelf.remove(e)
		t.lease = p.lend(e, t.seat)
		return
	}
	if suspect {
		e.verified = max(1, p.nowTick())
	}
	if p.ordered {
		return
	}
	now := p.since()
	if w := p.nextFor(e, now); w != nil {
		p.grantIdle(e, w, now)
	}
}

// justVerified reports whether e has passed a check so recently, and not been
// lent since, that it was on its way to whoever is to get it. The pool is locked.
func (p *Pool[T]) justVerified(e *entry[T]) bool {
	return e.verified > 0 && p.nowTick()-e.verified <= 1
}

// onOverdue has another check begin in the stead of one that is overdue.
func (p *Pool[T]) onOverdue() {
	p.lock()
	defer p.unlock()
	p.doctor.calls.look(p.since())
	p.wakeRounds()
	p.grow()
}

// wakeRounds wakes the examiner if it waits for a check to end. The pool is
// locked.
func (p *Pool[T]) wakeRounds() {
	select {
	case p.doctor.freed <- struct{}{}:
	default:
	}
}
