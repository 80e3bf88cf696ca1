package resource

import (
	"context"
	"sync/atomic"
	"time"
)

// era is the time between two calls of [Pool.Reset], or the one before Close. A
// resource belongs to the era in which its making began, and is not lent any
// more when that is over. So Reset and Close need not visit every resource while
// they hold the lock: what is leased or being made is destroyed when it comes
// back, since put sees that its era is over.
type era struct {
	over  atomic.Bool
	cause error         // why it is over; set before over, under the pool's lock
	ended time.Duration // when that was, on the pool's clock; as cause

	ctx    context.Context // ends when it is over
	cancel context.CancelCauseFunc
}

// newEra returns an era that begins; ctx ends at Close.
func newEra(ctx context.Context) *era {
	e := new(era)
	e.ctx, e.cancel = context.WithCancelCause(ctx)
	return e
}

// invalid reports whether e must not be lent again.
func (e *entry[T]) invalid() bool { return e.era.over.Load() || e.word.Invalidated() }

// whyInvalid returns the fate and the cause of e, which is invalid: those of the
// first thing that invalidated it. The pool is locked.
func (e *entry[T]) whyInvalid() (fate, error) {
	if e.word.Invalidated() {
		return e.fate, e.cause
	}
	return fateOther, e.era.cause
}

// discarded reports whether e is among the discards: it was idle when its era
// ended, and counts as being destroyed. The pool is locked.
func (e *entry[T]) discarded() bool { return e.listed() && e.era.over.Load() }

// endEra invalidates everything made, or being made, so far. What is idle it
// moves to the discards as a whole, except what a policy looks at, which stays
// until that is over. A leased resource that has a slot would return there
// without a look at its era, so each of those few is invalidated by itself. The
// pool is locked.
func (p *Pool[T]) endEra(cause error) {
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
	reapOp[T]{p}.reap()
}
