package resource

import (
	"context"
	"time"
)

// check starts a check of e, which is on the shelf, in the background; e is aside
// until it returns. The check's context has the values of ctx. If w is not nil,
// its caller gets e. The pool is locked.
func (p *Pool[T]) startCheck(ctx context.Context, e *entry[T], i Info, w *noWaitCheck[T]) {
	c := &call{began: p.clock.now(), awaited: w != nil}
	if w != nil {
		w.call = c
	}
	p.idle.reserve(e)
	p.calls.checks.add(c)
	if p.health.suspect.Covers(e.since) {
		p.calls.checks.slowDown(c)
	}
	p.busy++
	go p.checkAside(ctx, e, i, c, w)
}

// checkAside runs one check in the background.
func (p *Pool[T]) checkAside(ctx context.Context, e *entry[T], i Info, c *call, w *noWaitCheck[T]) {
	defer p.unbusy()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.cfg.checkTimeout())
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	defer time.AfterFunc(p.calls.checks.limit, p.onOverdue).Stop()
	r := checkResult{ill: ErrGoexit}
	// Deferred, so that it happens also if Check ends this goroutine.
	defer func() {
		p.checked(e, c, w, &r)
		if r.returned && !r.cut {
			p.trace.checked(i, r.took, r.ill)
		}
	}()
	began := p.clock.now()
	r.ill = p.policies.check(ctx, e.value, i)
	r.took = p.clock.now() - began
	r.returned = true
	r.cut = r.ill != nil && p.ctx.Err() != nil
	r.kept = r.cut || p.policies.passes(e, r.ill, p.clock.ticks())
}

// checkResult is the outcome of a check in the background.
type checkResult struct {
	took     time.Duration
	ill      error // why it failed
	kept     bool  // it passed, or its failure is tolerated
	cut      bool  // Close has ended its context: the outcome says nothing
	returned bool  // it did not end its goroutine
}

// checked ends a check: it lends e, returns it to the shelf or retires it.
func (p *Pool[T]) checked(e *entry[T], c *call, w *noWaitCheck[T], r *checkResult) {
	p.lock()
	defer p.unlock()
	d := &p.health
	since, suspect := e.since, d.suspect.Active()
	p.calls.checks.remove(c)
	there := p.unreserve(e)
	switch {
	case r.cut:
	case r.kept:
		if there { // before the end of the suspicion, which lends what else is idle
			p.lendChecked(e, w, suspect)
		}
		if r.ill == nil {
			p.checkPassed(since)
		}
	default:
		if there {
			p.retire(e, r.ill, fateUnhealthy)
		}
		p.checkFailed(since, r.took)
	}
	if w != nil {
		close(w.done)
	}
	p.health.wake()
	if d.over(p.clock.now()) {
		p.endSuspicion()
	}
	p.serve()
	if e.loc == inList && p.waiters.n > 0 && !(p.ordered && p.matches()) {
		p.calls.checks.markSlow() // no waiter can use e: do not count on the others either
	}
	p.grow()
}

// lendChecked lends e, which is on the shelf and has just passed a check, to the
// caller of w if that still waits, else to the first waiter that can use it; with a
// Queue, unlock does. If e was suspect the waiter does not check it again: it
// waited for this check. The pool is locked.
func (p *Pool[T]) lendChecked(e *entry[T], w *noWaitCheck[T], suspect bool) {
	if w != nil && !w.left {
		p.idle.list.remove(e)
		w.lease = p.lend(e, w.slot)
		return
	}
	if suspect {
		e.verified = max(1, p.clock.nowTick())
	}
	if p.ordered {
		return
	}
	now := p.clock.now()
	if w := p.nextFor(e, now); w != nil {
		p.grantIdle(e, w, now)
	}
}

// onOverdue lets another check begin in place of one that is overdue.
func (p *Pool[T]) onOverdue() {
	p.lock()
	defer p.unlock()
	p.calls.checks.look(p.clock.now())
	p.health.wake()
	p.grow()
}
