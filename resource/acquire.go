package resource

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// acquire is Acquire where there are policies to ask, or nothing is on the
// caller's seat.
func (p *Pool[T]) acquire(ctx context.Context, r *Request, slot int) (Lease[T], error) {
	if ctx.Err() != nil {
		return Lease[T]{}, p.failure(ReasonCanceled, ctxError(ctx), 0)
	}
	if r.MaxWait > 0 && p.cfg.Admission != nil { // which may wait; without one onward sees to it
		bounded, cancel := context.WithTimeoutCause(ctx, r.MaxWait, ErrMaxWait)
		defer cancel()
		ctx = bounded
	}
	if p.slowPath.Load() == timeNext && p.slowPath.CompareAndSwap(timeNext, 0) {
		return p.timed(ctx, r, slot)
	}
	return p.acquireNow(ctx, r, slot)
}

// acquireNow is acquire, for a ctx that has not ended.
func (p *Pool[T]) acquireNow(ctx context.Context, r *Request, slot int) (Lease[T], error) {
	if p.onlyBegin && !r.Fresh {
		if l, ok := p.sampledHit(ctx, r, slot); ok {
			return l, nil
		}
	}
	var v visit[T]
	if !p.plain && !p.onlyBegin {
		p.quick(ctx, r, slot, &v)
		if v.lent {
			return v.lease, nil
		}
	}
	return p.onward(ctx, r, slot, &v)
}

// onward is acquire off the hit path: it goes on from where quick has stopped.
func (p *Pool[T]) onward(ctx context.Context, r *Request, slot int, v *visit[T]) (Lease[T], error) {
	var s search[T]
	defer func() {
		if !v.lent {
			p.countFailedWait(&s)
			p.letGo(v)
		}
	}()
	if v.lease.e != nil {
		v.lease.e.vetting.Store(v.lease.gen())
	}
	if r.MaxWait > 0 && p.cfg.Admission == nil {
		bounded, cancel := context.WithTimeoutCause(ctx, r.MaxWait, ErrMaxWait)
		defer cancel()
		ctx = bounded
	}
	if err := p.refusal(ctx, v); err != nil {
		return Lease[T]{}, p.refused(ctx, err)
	}
	// Done is asked for before the caller waits: it may be a method of the
	// caller's own, and panic.
	s = search[T]{ctx: ctx, done: ctx.Done(), r: *r, slot: slot, idle: v.idle}
	s.r.MinRemaining = min(max(0, r.MinRemaining), everything-1) // within what reach can say
	if p.evicts {
		s.min = s.r.MinRemaining
	}
	if d, ok := ctx.Deadline(); ok {
		s.deadline = max(1, d.Sub(p.clock.base))
	}
	if v.step == inEvict { // it panicked, so it keeps, and the Health was not asked
		v.opinion = p.opine(&s, v.lease, true)
	}
	err := p.find(&s, v)
	if s.waited {
		if err == nil {
			s.countServedWait(v.lease)
		} else {
			p.countFailedWait(&s)
		}
		e := WaitEvent{Request: s.r, Waited: p.waitedFor(&s), Err: err}
		if v.lease.e != nil {
			e.ID = v.lease.e.id
		}
		p.trace.waited(s.ctx, e)
	}
	if err != nil {
		return Lease[T]{}, err
	}
	v.lease.found(s.idle)
	if p.tellsBegin {
		p.greetLate(&s, v.lease)
	}
	if p.cfg.Admission != nil {
		v.lease.e.done.store(v.done)
	}
	if !p.plain {
		v.lease.e.vetting.Store(0)
	}
	v.lent = true
	return v.lease, nil
}

// search is one caller's way to a lease.
type search[T any] struct {
	ctx      context.Context
	done     <-chan struct{} // ctx's
	deadline time.Duration   // ctx's, on the pool's clock; 0: none
	r        Request
	slot     int           // the caller's
	min      time.Duration // r.MinRemaining, if there is an Eviction to ask
	waited   bool
	turn     int64         // its ordinal among all that have waited; 0: none yet
	start    time.Duration // when it began to wait
	lasted   time.Duration // from start to when it last left the line
	counted  bool          // its wait was counted as served or failed
	idle     int64         // for how many ticks what it found was idle
	verified bool          // what it found needs no check
	until    time.Duration // when it waits for checks no more, if it must not wait; 0: none yet
}

// wish is what the caller asks of a resource; nil: nothing.
func (s *search[T]) wish() *Request {
	if s.min > 0 || s.r.Fresh {
		return &s.r
	}
	return nil
}

// find leases a resource that the policies let pass, to v.lease. That may hold
// one already, which they have spoken about.
func (p *Pool[T]) find(s *search[T], v *visit[T]) error {
	l := &v.lease
	for {
		if l.e == nil {
			if err := p.get(s, l); err != nil {
				return err
			}
			if p.judged {
				v.opinion = p.opine(s, *l, false)
			}
		}
		if p.judged {
			if ok, err := p.vet(s, l, v.opinion); err != nil {
				return err
			} else if !ok {
				continue
			}
		}
		if !p.plain { // a policy may have taken its time
			if err := p.tooLate(s); err != nil {
				p.drop(*l, nil)
				*l = Lease[T]{}
				return err
			}
		}
		if !l.e.invalid() {
			return nil
		}
		p.drop(*l, nil) // found dead on the way here
		*l = Lease[T]{}
	}
}

// tooLate is why the caller has no use any more for what was found, nil if it has.
func (p *Pool[T]) tooLate(s *search[T]) error {
	switch {
	case s.ctx.Err() != nil:
		return p.gaveUp(s)
	case p.ctx.Err() != nil:
		return p.failure(ReasonClosed, ErrClosed, p.waitedFor(s))
	}
	return nil
}

// get leases whichever resource comes first, to *l.
func (p *Pool[T]) get(s *search[T], l *Lease[T]) error {
	s.verified = false
	wish := s.wish()
	if wish == nil && s.turn == 0 {
		if hit, idle, ok := p.hit(s.slot); ok {
			*l, s.idle = hit, idle
			return nil
		}
	}
	p.lock()
	p.startClock()
	if p.closed {
		p.unlock()
		return p.failure(ReasonClosed, ErrClosed, p.waitedFor(s))
	}
	if p.waiters.mayPass(s.turn) {
		if s.min > 0 {
			p.judge(s) // unlocks meanwhile
		}
		if e := p.idle.take(wish, s.slot); e != nil {
			e.wasIdle = true // with a Queue it may not have been said yet
			if p.judged && e.since < p.clock.tick.Load() {
				p.clock.catchUp()
			}
			s.idle = max(0, p.clock.tick.Load()-e.since)
			*l = p.lend(e, s.slot)
			p.unlock()
			return nil
		}
	} else if e := p.leftOver(wish); e != nil {
		if p.judged && e.since < p.clock.tick.Load() {
			p.clock.catchUp()
		}
		s.idle = max(0, p.clock.tick.Load()-e.since)
		*l = p.lend(e, s.slot)
		p.unlock()
		return nil
	}
	return p.line(s, l)
}

// line puts the caller among those who wait, or says why not. The pool is
// locked; line unlocks it.
func (p *Pool[T]) line(s *search[T], l *Lease[T]) error {
	if s.r.NoWait {
		p.miss()
		p.unlock()
		return p.failure(ReasonNoneIdle, ErrNoneIdle, p.waitedFor(s))
	}
	if p.closed {
		p.unlock()
		return p.failure(ReasonClosed, ErrClosed, p.waitedFor(s))
	}
	now := p.clock.now()
	if p.hopeless(&s.r, now) {
		p.maker.sought = true
		err := p.outageError(now, 0)
		p.grow()
		p.unlock()
		return err
	}
	if p.inVain(&s.r, s.deadline, now) {
		return p.turnAway(s, now)
	}
	w := p.newWaiter(s, now)
	p.waiters.insert(w)
	if p.ordered {
		p.queue.push(w)
	}
	// From here on a release to a slot sees slowPath; what was seated before
	// is found now.
	p.setSlowPath()
	p.idle.flushSlots(0)
	p.dispatch()
	p.unlock()
	return p.await(s, w, l)
}

// miss notes that a caller that does not wait found nothing idle. The pool is
// locked.
func (p *Pool[T]) miss() {
	if !p.closed && !p.cap.full() {
		p.maker.missed = true
		p.grow()
	}
}

// leftOver takes what is idle though callers wait, since none of them can use it,
// and one who asked for r can; nil if there is no such thing. The pool is
// locked.
func (p *Pool[T]) leftOver(r *Request) *entry[T] {
	if !p.choosy() || p.matches() {
		return nil
	}
	e := p.idle.first(r)
	if e != nil {
		p.idle.list.remove(e)
	}
	return e
}

// lend leases e, which is in the pool's hands and nowhere else, to a caller
// with that seat. The pool is locked.
func (p *Pool[T]) lend(e *entry[T], slot int) Lease[T] {
	p.idle.leaveSlot(e)
	p.counts.acquired++
	e.slot, e.verified = slot, 0
	tick := p.clock.tick.Load()
	if !p.plain {
		e.vetting.Store(uint64(e.word.Load().Leases) + 1)
	}
	gen := e.word.Lend(tick)
	e.known.note(int64(gen), tick)
	return Lease[T]{e, gen}
}

// refusal is why the Admission did not admit, nil if it did. It is the context's
// error if that has ended, and else one that matches ErrRejected.
func (p *Pool[T]) refusal(ctx context.Context, v *visit[T]) error {
	if v.step == inAdmit { // it panicked
		return &Rejection{Policy: "Admission", Err: v.broke}
	}
	_, err := p.policies.admitted(ctx, "Admission", nil, v.refused)
	return err
}

// refused reports that the Admission turned a caller away, and makes its error.
func (p *Pool[T]) refused(ctx context.Context, err error) error {
	if !p.guard.is(err, ErrRejected) {
		return p.failure(endReason(ctx), err, 0)
	}
	p.trace.rejected(ctx, err)
	return p.failure(ReasonAdmission, err, 0)
}

// ctxError is why ctx ended: its Err, and its cause if that says more.
func ctxError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// hit takes the resource in that local slot, the caller's, if the pool is in its ordinary
// state. idle is for how many ticks it was idle.
func (p *Pool[T]) hit(slot int) (l Lease[T], idle int64, ok bool) {
	if p.slowPath.Load() != 0 || len(p.slots) == 0 {
		return l, 0, false
	}
	e := p.slots[slot].e.Load()
	if e == nil {
		return l, 0, false
	}
	gen, idle, ok := e.word.Take(&p.clock.tick)
	if !ok {
		return l, 0, false
	}
	return Lease[T]{e, gen | uint64(idle)<<idleShift}, idle, true
}
