package resource

import (
	"context"
	"fmt"
)

// beginOnRelease has OnRelease called for e, whose lease has just ended with that
// outcome, if it is to be lent again. It reports false if e is to be put as it
// is. The pool is locked.
func (p *Pool[T]) beginOnRelease(e *entry[T], o Outcome) bool {
	if p.cfg.OnRelease == nil || o.Verdict == Ignored { // no caller had the lease
		return false
	}
	if !e.lendable(&p.cap) {
		return false
	}
	p.idle.leaveSlot(e)
	e.loc, e.since, e.wasIdle = releasing, p.clock.tick.Load(), true
	c := &call{began: p.clock.now()}
	p.calls.resets.add(c)
	p.busy++
	go p.onRelease(e.era.ctx, e, c)
	return true
}

// onRelease calls OnRelease for e. ctx is that of its era: after a Reset or Close
// e is not lent again.
func (p *Pool[T]) onRelease(ctx context.Context, e *entry[T], c *call) {
	defer p.unbusy()
	ctx, cancel := context.WithTimeoutCause(ctx, p.cfg.ReleaseTimeout, ErrReleaseTimeout)
	defer cancel()
	cause := error(ErrGoexit) // unless it returns
	// Deferred, so that it happens also if OnRelease ends this goroutine.
	defer func() { p.released(e, c, cause) }()
	var err error
	if broke := p.guard.call("OnRelease", func() { err = p.cfg.OnRelease(ctx, e.value) }); broke != nil {
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

// released puts e where it belongs when OnRelease has returned.
func (p *Pool[T]) released(e *entry[T], c *call, cause error) {
	p.lock()
	defer p.unlock()
	p.startClock()
	p.calls.resets.remove(c)
	switch {
	case !p.outlasts(e):
	case cause != nil:
		p.retire(e, cause, fateReleaseFailed)
	default:
		e.loc = moving
		p.put(e, true)
		p.handOff.take() // its releaser has gone on long ago
		return
	}
	p.grow()
}
