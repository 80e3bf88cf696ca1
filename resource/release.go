package resource

import (
	"context"
	"fmt"
	"time"
)

// How long callers that wait count on a resource that ReleaseAfter has checked: as long
// as a creation usually takes, within these bounds. On a network the check is one round
// trip, and a dial takes two or more.
const (
	minVetting = 10 * time.Millisecond
	maxVetting = 100 * time.Millisecond
)

// resetOp calls a user function that a released resource must pass before it is lent
// again: OnRelease, or the check of a ReleaseAfter. Meanwhile the resource is idle and
// in no list.
type resetOp[T any] struct {
	p    *Pool[T]
	e    *entry[T]
	list *callList // that has call
	call *call

	where   string                               // the function's name in errors
	f       func(ctx context.Context, v T) error // the function
	timeout time.Duration                        // of its context; 0: none
	why     fate                                 // of the resource if f fails
	used    bool                                 // the lease before used the resource
}

// beginReset has OnRelease called for e, whose lease has just ended with that outcome,
// if it is to be lent again. It reports false if e is to be put as it is. The pool is
// locked.
func (p *Pool[T]) beginReset(e *entry[T], o Outcome) bool {
	if p.cfg.OnRelease == nil || o.Verdict == Ignored { // no caller had the lease
		return false
	}
	if !e.lendable(&p.cap) {
		return false
	}
	p.idle.leaveSlot(e)
	e.since = p.clock.tick.Load()
	op := &resetOp[T]{
		p: p, e: e, list: &p.calls.resets,
		where: "OnRelease", f: p.cfg.OnRelease, timeout: p.cfg.ReleaseTimeout, why: fateReleaseFailed, used: true,
	}
	op.start()
	return true
}

// beginVetting has check called for e, whose lease has just ended and whose since is
// set, if e is to be lent again; else it retires e. The pool is locked.
func (p *Pool[T]) beginVetting(e *entry[T], check func(ctx context.Context, v T) error) {
	if !e.lendable(&p.cap) {
		p.stays(e, false)
		return
	}
	if e.loc == inSlot {
		p.idle.leaveSlot(e)
		e.stamp = p.idle.list.stamp()
	}
	p.calls.vettings.slowAfter = min(max(minVetting, p.maker.gauge.Usual()), maxVetting)
	op := &resetOp[T]{p: p, e: e, list: &p.calls.vettings, where: "ReleaseAfter", f: check, why: fateUnhealthy}
	op.start()
	p.changed = true
}

// start starts the call. Its context is that of the resource's era: after a Reset or
// Close the resource is not lent again. The pool is locked.
func (op *resetOp[T]) start() {
	op.e.loc, op.e.wasIdle = releasing, true
	op.call = &call{began: op.p.clock.now()}
	op.list.add(op.call)
	op.p.busy++
	go op.run(op.e.era.ctx)
}

// run calls the function.
func (op *resetOp[T]) run(ctx context.Context) {
	defer op.p.unbusy()
	if op.timeout > 0 {
		bounded, cancel := context.WithTimeoutCause(ctx, op.timeout, ErrReleaseTimeout)
		defer cancel()
		ctx = bounded
	}
	cause := error(ErrGoexit) // unless it returns
	// Deferred, so that it happens also if the function ends this goroutine.
	defer func() { op.done(cause) }()
	var err error
	if broke := op.p.guard.call(op.where, func() { err = op.f(ctx, op.e.value) }); broke != nil {
		err = broke
	}
	if context.Cause(ctx) == ErrReleaseTimeout {
		if err == nil {
			err = ErrReleaseTimeout
		} else {
			err = fmt.Errorf("%w: %w", ErrReleaseTimeout, err)
		}
	}
	cause = err
}

// done moves the resource on when the function has returned. cause is why it failed.
func (op *resetOp[T]) done(cause error) {
	p, e := op.p, op.e
	p.lock()
	defer p.unlock()
	p.startClock()
	op.list.remove(op.call)
	switch {
	case !p.outlasts(e):
	case cause != nil:
		p.retire(e, cause, op.why)
	case op.used:
		e.loc = moving
		p.put(e, true)
		p.handOff.take() // its releaser has returned long ago
		return
	default:
		e.loc = moving
		if p.stays(e, false) {
			p.idle.park(e)
		}
		return
	}
	p.changed = true
}
