package resource

import (
	"context"
	"time"
)

// Close ends the pool: waiters get [ErrClosed] at once, creations are canceled, idle
// resources destroyed, leased ones when their lease ends. It returns nil when nothing of
// the pool runs any more, or a [*CloseError] when ctx ends before; the closing continues,
// and Close may be called again to wait for it.
//
// Give ctx a deadline. Close waits for every lease that has not ended: if one leaked, or
// the caller of Close holds it, Close waits until ctx ends, and with context.Background()
// for ever. A deferred Close then blocks while a panic unwinds, and the panic is never
// printed. The CloseError names the resources that are still leased.
func (p *Pool[T]) Close(ctx context.Context) error {
	p.beginClose()
	return p.awaitClose(ctx)
}

// beginClose closes the pool and does not wait.
func (p *Pool[T]) beginClose() {
	p.lock()
	var canceled [2]*creation[T]
	if !p.closed {
		p.closed = true
		p.setSlowPathLocked()
		canceled = p.maker.all()
		p.shutLocked()
	}
	p.cancel(ErrClosed) // runs no user code: see createOp.permits
	tries := p.maker.takeTries()
	p.unlock()
	notifyTries(tries)
	cancelAll(canceled, ErrClosed)
}

// awaitClose waits until nothing of the pool runs any more.
func (p *Pool[T]) awaitClose(ctx context.Context) error {
	select {
	case <-p.drained:
	default:
		select {
		case <-p.drained:
		case <-ctx.Done():
			err := &CloseError{Err: ctxError(ctx)}
			p.addOut(err)
			return err
		}
	}
	p.life.close()
	return nil
}

// shutLocked turns away the waiters and retires the idle resources.
func (p *Pool[T]) shutLocked() {
	for _, t := range []*time.Timer{p.alarm.timer, p.sweeper, p.ticker} {
		if t != nil {
			t.Stop()
		}
	}
	p.refuseWaitersLocked()
	p.maker.warmed(0, 0, ErrClosed)
	p.cap.leave()
	p.endEraLocked(ErrClosed)
}

// named is how many leased resources a CloseError names.
const named = 16

// addOut adds to e what has not ended. The IDs are not of the same instant as the rest: to
// find them among many resources takes more than one hold of the lock.
func (p *Pool[T]) addOut(e *CloseError) {
	p.mu.Lock()
	load, _ := p.loadLocked()
	e.Busy += p.busy
	p.mu.Unlock()
	e.Load.add(load)
	most := min(named, len(e.Leased)+load.Leased)
	p.inspector.each(func(entry *entry[T]) bool {
		if len(e.Leased) == most {
			return false
		}
		if !entry.idle() {
			e.Leased = append(e.Leased, entry.id)
		}
		return true
	})
}

// endEraLocked invalidates every resource that exists or is being created. The idle ones
// move to the reaper as whole lists, except those that a policy is asked about, which
// stay until it has answered. A leased resource that has a local slot would return there
// without a check of its era, so each of those few is invalidated by itself.
func (p *Pool[T]) endEraLocked(cause error) {
	if p.era.over.Load() {
		return // the pool is closed
	}
	for i := range p.slots {
		if e := p.slots[i].e.Load(); e != nil && !e.word.Invalidated() {
			e.cause, e.fate = cause, fateOther
			e.word.Invalidate()
		}
	}
	p.idle.flushSlots(0)
	p.era.cause, p.era.ended = cause, p.clock.now()
	p.era.over.Store(true)
	for e := range p.idle.reserved {
		p.idle.list.remove(e)
	}
	p.cap.die(p.reaper.addList(&p.health.unverified))
	p.cap.die(p.reaper.addList(&p.idle.list))
	for e := range p.idle.reserved {
		p.idle.list.push(e)
	}
	if !p.closed {
		p.era = newEra(p.ctx)
	}
	reapOp[T]{p}.reapLocked()
}
