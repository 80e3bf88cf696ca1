package resource

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// An acquire goes one of three ways:
//
//   - Acquire itself takes the resource in the caller's local slot (Pool.hit), if no
//     policy is to be asked, or only an Eviction that has said beforehand that it keeps the
//     resource (Predictable, Capped);
//   - acquireOp.fast does the same with other policies: every one is asked in one frame, which
//     contains their panics. A frame for each, or guard with its closure, would cost more
//     than most policies do;
//   - acquireOp.slow does the rest: it continues where fast stopped, takes the lock,
//     waits in the queue and has resources checked. There each call is guarded by
//     itself.

// hit leases the resource in a local slot if the pool is in its ordinary state. If the
// Eviction would have to be asked, hit leases nothing, unless asks says that its caller asks.
func (p *Pool[T]) hit(slot int, asks bool) (l Lease[T], ok bool) {
	if p.slowPath.Load() != 0 || len(p.slots) == 0 {
		return l, false
	}
	e := p.slots[slot].e.Load()
	if e == nil {
		return l, false
	}
	var gen uint64
	var idle int64
	if asks || !p.mode.predicts {
		gen, idle, ok = e.word.Take(&p.clock.tick)
	} else if !p.mode.above() {
		gen, idle, ok = e.word.TakeWithin(&p.clock.tick, &e.bounds)
	}
	if !ok {
		return l, false
	}
	return Lease[T]{e, gen | uint64(idle)<<idleShift}, true
}

// sample reports l, which hit has leased, to Trace.Leased if it is sampled.
func (l Lease[T]) sample(ctx context.Context, r *Request) {
	p := l.e.pool
	if l.e.sampled(l.gen(), p.sampler.mask.Load()) {
		a := acquireOp[T]{lease: l}
		a.introduce(ctx, p, r)
	}
}

// acquireUncounted is AcquireWith for a Keyed, which may try again.
func (p *Pool[T]) acquireUncounted(ctx context.Context, r Request) (Lease[T], error) {
	slot := localIndex(len(p.slots))
	if p.mode.plain(&r) && ctx.Err() == nil {
		if l, ok := p.hit(slot, false); ok {
			l.noteShared(&r)
			if p.mode.sampled {
				l.sample(ctx, &r)
			}
			return l, nil
		}
	}
	l, err := p.acquire(ctx, &r, slot)
	l.noteShared(&r)
	return l, err
}

// acquire is Acquire where there are policies to ask, or the caller's local slot has
// nothing.
func (p *Pool[T]) acquire(ctx context.Context, r *Request, slot int) (Lease[T], error) {
	if ctx.Err() != nil {
		return Lease[T]{}, p.failure(ReasonCanceled, ctxError(ctx), 0)
	}
	if r.MaxWait > 0 && p.cfg.Admission != nil { // which may block; without one slow bounds ctx
		bounded, cancel := context.WithTimeoutCause(ctx, r.MaxWait, ErrMaxWait)
		defer cancel()
		ctx = bounded
	}
	if p.slowPath.Load() == timeNext && p.slowPath.CompareAndSwap(timeNext, 0) {
		return p.timedAcquire(ctx, r, slot)
	}
	if p.mode.bare && !r.Fresh && p.slowPath.Load() == 0 {
		if l, ok := p.listed(slot); ok {
			return l, nil
		}
	}
	var a acquireOp[T]
	if p.mode.asked {
		a.fast(ctx, p, r, slot)
		if a.lent {
			return a.lease, nil
		}
	}
	return a.slow(ctx, p, r, slot)
}

// listed leases the idle resource that slow would lend, if there is one and no policy is to be
// asked. Under load most resources are leased, the one in the caller's local slot too, so this
// is the usual way; slow has state for waits and policies, which takes as long to set up.
func (p *Pool[T]) listed(slot int) (l Lease[T], ok bool) {
	p.lock()
	p.startClockLocked()
	if !p.closed && p.waiters.mayPass(0) {
		if e := p.idle.take(nil, slot); e != nil {
			idle := p.clock.tick.Load() - e.since
			l, ok = p.lendLocked(e, slot), true
			l.found(idle)
		}
	}
	p.unlock()
	if ok && l.e.invalid() { // invalidated meanwhile
		l.drop(nil)
		return Lease[T]{}, false
	}
	return l, ok
}

// timeNext is the bit of slowPath that says that the next acquire is to be timed. A
// hit must not read a clock, so acquires that do not wait are timed by sample: at each
// tick the next one is sent off the hit path. Its time counts for every acquire that got
// a lease since the last sample.
const timeNext = 4

// timedAcquire is acquire, timed. The caller has cleared timeNext.
func (p *Pool[T]) timedAcquire(ctx context.Context, r *Request, slot int) (l Lease[T], err error) {
	before := p.clock.now()
	began := p.clock.now() // the time that reading the clock takes is subtracted below
	ok := false
	if p.mode.plain(r) {
		if l, ok = p.hit(slot, false); ok {
			if p.mode.sampled {
				l.sample(ctx, r)
			}
		}
	}
	if !ok {
		l, err = p.acquire(ctx, r, slot)
	}
	took := p.clock.now() - began - (began - before)
	if err == nil {
		p.mu.Lock()
		_, begun := p.idle.slotLevels()
		p.counts.timing.add(took-l.Waited(), p.counts.acquired+begun)
		p.mu.Unlock()
	}
	return l, err
}

// step says whose code runs in the frame of a fast path.
type step uint8

const (
	inPool step = iota // the pool's
	inAdmit
	inContext
	inEvict
	inDue
	inDone
	inLeased
)

// where is the name of the step in a PanicError.
func (s step) where() string {
	return [...]string{inPool: "", inAdmit: "Admission", inContext: "", inEvict: "Evict", inDue: "Due", inDone: "Done", inLeased: "Trace"}[s]
}

// evaluation is what the policies say of a resource from the facts alone.
type evaluation struct {
	cause error // why the Eviction would end it; nil: it keeps it
	total int   // Info.Total when it was asked
	due   bool  // the Health wants to check it
}

// acquireOp is one acquire: what it holds, and how far it has come. Its methods get the
// pool as an argument, since on a hit it would cost a store and several loads to keep it
// here.
type acquireOp[T any] struct {
	lease   Lease[T]
	done    Done       // its Admission's
	idle    int64      // for how many ticks the resource of lease was idle
	refused error      // what the Admission returned
	found   evaluation // of the resource of lease
	step    step
	broke   error // what step did instead of returning
	lent    bool  // the lease is the caller's
	only    bool  // it takes what is idle: it neither waits nor has a resource created
}

// fast leases the resource in the caller's local slot, if the Admission admits the
// caller and the other policies keep the resource. If not, the op says how far it got.
func (a *acquireOp[T]) fast(ctx context.Context, p *Pool[T], r *Request, slot int) {
	defer func() {
		switch a.step {
		case inPool:
		case inContext: // the panic of the caller's context goes on to the caller
			a.letGo(p)
		default:
			a.stumbled(p, recover())
		}
	}()
	if admission := p.cfg.Admission; admission != nil {
		a.step = inAdmit
		var done Done
		var err error
		if r == &ordinary { // the zero Request is written where Admit expects it, and not copied twice
			done, err = admission.Admit(ctx, Request{})
		} else {
			done, err = admission.Admit(ctx, *r)
		}
		a.step = inPool
		if err != nil {
			a.refused = err
			return
		}
		a.done, a.step = done, inContext
		ended := ctx.Err() != nil
		a.step = inPool
		if ended {
			return // slowAcquire.find sees that too
		}
	}
	if r.Fresh || r.MinRemaining != 0 && p.mode.evicts {
		return // the idle set finds one that fits
	}
	var ok bool
	if a.lease, ok = p.hit(slot, true); !ok {
		return
	}
	a.idle = a.lease.idle()
	if p.mode.judged && !a.keeps(p) {
		return
	}
	if p.cfg.Admission != nil {
		a.lease.e.done.store(a.done)
	}
	a.lent = true
	if p.sampler.begins {
		a.greet(ctx, p, r)
	}
}

// keeps reports whether the policies let the resource pass without a check; if not,
// a.found is what they say. It runs in the frame of fast.
func (a *acquireOp[T]) keeps(p *Pool[T]) bool {
	var i Info
	e, tick, leases := a.lease.e, p.clock.tick.Load(), int64(a.lease.gen())-1
	asks := p.mode.asksEviction(&e.bounds, tick, a.idle, leases)
	if !asks && p.cfg.Health == nil {
		return true
	}
	e.facts(&i, tick, a.idle, leases)
	if asks {
		var cause error
		a.step = inEvict
		if p.cfg.Eviction != nil {
			cause = p.cfg.Eviction.Evict(i)
		}
		if cause == nil && p.cfg.EvictIf != nil {
			cause = p.cfg.EvictIf(e.value, i)
		}
		a.step = inPool
		if cause != nil {
			a.found.cause, a.found.total = cause, i.Total
			return false
		}
	}
	if p.policies.scheduled != nil {
		a.found.due = true // also if Due panics
		a.step = inDue
		a.found.due = p.policies.scheduled.Due(i)
		a.step = inPool
	} else {
		a.found.due = p.cfg.Health != nil
	}
	return !a.found.due
}

// introduce is greet in a frame of its own.
func (a *acquireOp[T]) introduce(ctx context.Context, p *Pool[T], r *Request) {
	defer func() {
		if a.step != inPool {
			a.stumbled(p, recover())
		}
	}()
	a.greet(ctx, p, r)
}

// greet reports the lease to Trace.Leased, if it is sampled. If Leased panics the
// caller has the lease all the same. It runs in the frame of fast or introduce.
func (a *acquireOp[T]) greet(ctx context.Context, p *Pool[T], r *Request) {
	s := &p.sampler
	mask := s.mask.Load()
	if !a.lease.e.sampled(a.lease.gen(), mask) {
		return
	}
	s.mark(a.lease, int64(mask)+1)
	if f := s.trace.trace.Leased; f != nil {
		a.step = inLeased
		f(ctx, LeaseEvent{ID: a.lease.e.id, Lease: a.lease.gen(), Request: *r})
		a.step = inPool
	}
}

// stumbled ends a step that did not return. After a panic the acquire continues with
// acquireOp.slow; after a Goexit it never does, so what it holds is let go.
func (a *acquireOp[T]) stumbled(p *Pool[T], panicked any) {
	continues := false
	defer func() {
		if !continues {
			a.letGo(p)
		}
	}()
	a.broke = broken(a.step.where(), panicked)
	p.guard.contained(a.broke)
	continues = panicked != nil
}

// letGo gives back what an acquire that lends nothing holds: its permit and, if a policy or
// Trace is ending its goroutine, its lease.
func (a *acquireOp[T]) letGo(p *Pool[T]) {
	// Deferred: Trace.Ended may end this goroutine.
	defer p.policies.giveBack(a.done, Outcome{})
	if a.lease.e != nil {
		a.lease.drop(ErrGoexit)
	}
}

// slowAcquire is an acquire off the hit path.
type slowAcquire[T any] struct {
	acquireOp[T]
	p        *Pool[T]
	any      bool // of a caller of AcquireAny
	ctx      context.Context
	ended    <-chan struct{} // ctx's Done
	deadline time.Duration   // ctx's, on the pool's clock; 0: none
	r        Request
	slot     int           // the caller's local slot
	min      time.Duration // r.MinRemaining, if there is an Eviction to ask
	verified bool          // the resource of lease needs no check
	until    time.Duration // when a NoWait acquire stops waiting for checks; 0: not known yet

	// Of its wait.
	waited  bool
	turn    int64         // its ordinal among all that have waited; 0: none yet
	start   time.Duration // when it began to wait
	lasted  time.Duration // from start to when it last left the queue
	counted bool          // the wait was counted as served or failed
	starved bool          // it gave up a claim on the total of a Keyed when its context ended
}

// slow continues where fast stopped. It has a frame of its own for slowAcquire, so that
// the stack of a goroutine that only takes the fast path stays small.
func (a *acquireOp[T]) slow(ctx context.Context, p *Pool[T], r *Request, slot int) (Lease[T], error) {
	var s slowAcquire[T] // not a literal, which would be built elsewhere and copied
	s.acquireOp, s.p = *a, p
	defer func() {
		if !s.lent {
			s.countFailedWait()
			s.letGo(p)
		}
	}()
	if s.lease.e != nil {
		s.lease.e.vetting.Store(s.lease.gen())
	}
	if r.MaxWait > 0 && p.cfg.Admission == nil {
		bounded, cancel := context.WithTimeoutCause(ctx, r.MaxWait, ErrMaxWait)
		defer cancel()
		ctx = bounded
	}
	if err := s.admission(ctx); err != nil {
		return Lease[T]{}, err
	}
	s.begin(ctx, r, slot)
	if s.step == inEvict { // Evict panicked: the resource is kept, and the Health was not asked
		s.evaluate(true)
	}
	err := s.find()
	if s.waited {
		if err == nil {
			s.countServedWait()
		} else {
			s.countFailedWait()
		}
		if p.trace.trace.Waited != nil {
			s.traceWait(err)
		}
	}
	if err != nil {
		return Lease[T]{}, err
	}
	s.lend()
	return s.lease, nil
}

// begin notes what the caller asks for. It calls ctx.Done before the caller waits: it may be the
// user's method, and panic.
func (s *slowAcquire[T]) begin(ctx context.Context, r *Request, slot int) {
	s.ctx, s.ended, s.r, s.slot = ctx, ctx.Done(), *r, slot
	s.r.MinRemaining = min(max(0, r.MinRemaining), everything-1) // within the range of reach
	if s.p.mode.evicts {
		s.min = s.r.MinRemaining
	}
	if d, ok := ctx.Deadline(); ok {
		s.deadline = max(1, d.Sub(s.p.clock.base))
	}
}

// lend makes the lease the caller's.
func (s *slowAcquire[T]) lend() {
	p := s.p
	s.lease.found(s.idle)
	if p.sampler.begins {
		s.greetLate()
	}
	if p.cfg.Admission != nil {
		s.lease.e.done.store(s.done)
	}
	if !p.mode.bare {
		s.lease.e.vetting.Store(0)
	}
	s.lent = true
}

// traceWait reports the wait.
func (s *slowAcquire[T]) traceWait(err error) {
	e := WaitEvent{Request: s.r, Waited: s.waitedFor(), Err: err}
	if s.lease.e != nil {
		e.ID = s.lease.e.id
	}
	s.p.trace.waited(s.ctx, e)
}

// admission returns the error of an acquire that the Admission did not admit; nil if it
// did.
func (s *slowAcquire[T]) admission(ctx context.Context) error {
	p := s.p
	var err error
	if s.step == inAdmit { // it panicked
		err = &Rejection{Policy: "Admission", Err: s.broke}
	} else {
		_, err = p.policies.admitted(ctx, "Admission", nil, s.refused)
	}
	if err == nil {
		return nil
	}
	if !p.guard.is(err, ErrRejected) {
		return p.failure(endReason(ctx), err, 0)
	}
	if p.ctx.Err() != nil { // a loop of an acquire and a Wait must learn that the pool is closed
		return p.failure(ReasonClosed, ErrClosed, 0)
	}
	p.trace.rejected(ctx, err)
	return p.failure(ReasonAdmission, err, 0)
}

// find leases a resource that the policies let pass. The op may already hold one, which
// has been evaluated.
func (s *slowAcquire[T]) find() error {
	for {
		if s.lease.e == nil {
			if err := s.take(); err != nil {
				return err
			}
			if s.p.mode.judged {
				s.evaluate(false)
			}
		}
		if ok, err := s.accept(); ok || err != nil {
			return err
		}
	}
}

// accept reports whether the caller gets the resource of the lease, which has been evaluated.
// If not, or with an error, the op holds none any more.
func (s *slowAcquire[T]) accept() (ok bool, err error) {
	p := s.p
	if p.mode.judged {
		if ok, err := s.vet(); !ok || err != nil {
			return false, err
		}
	}
	if !p.mode.bare { // a policy may have taken long
		if err := s.tooLate(); err != nil {
			s.drop()
			return false, err
		}
	}
	if s.lease.e.invalid() {
		s.drop() // invalidated meanwhile
		return false, nil
	}
	return true, nil
}

// drop gives back the resource of the lease, which the caller will not see.
func (s *slowAcquire[T]) drop() {
	s.lease.drop(nil)
	s.lease = Lease[T]{}
}

// tooLate returns why the caller cannot use the resource any more; nil: it can.
func (s *slowAcquire[T]) tooLate() error {
	switch {
	case s.ctx.Err() != nil:
		return s.gaveUp()
	case s.p.ctx.Err() != nil:
		return s.fail(ReasonClosed, ErrClosed)
	}
	return nil
}

// fail returns the error of the acquire.
func (s *slowAcquire[T]) fail(reason Reason, err error) error {
	return s.p.failure(reason, err, s.waitedFor())
}

// gaveUp returns the error of an acquire that ends with its context. If the caller waited for
// a slot of a total that is used up, Load counts that slot in Wanting.
func (s *slowAcquire[T]) gaveUp() error {
	err := s.fail(endReason(s.ctx), ctxError(s.ctx))
	if s.starved {
		err.(*AcquireError).Load.Wanting++
	}
	return err
}

func (s *slowAcquire[T]) waitedFor() time.Duration {
	if !s.waited {
		return 0
	}
	return s.p.clock.now() - s.start
}

// constraint is what the caller asks of a resource; nil: nothing.
func (s *slowAcquire[T]) constraint() *Request {
	if s.min > 0 || s.r.Fresh {
		return &s.r
	}
	return nil
}

// take leases the first resource that the caller can use, idle or after a wait.
func (s *slowAcquire[T]) take() error {
	p := s.p
	s.verified = false
	constraint := s.constraint()
	if constraint == nil && s.turn == 0 {
		if l, ok := p.hit(s.slot, true); ok {
			s.lease, s.idle = l, l.idle()
			return nil
		}
	}
	p.lock()
	p.startClockLocked()
	if p.closed {
		p.unlock()
		return s.fail(ReasonClosed, ErrClosed)
	}
	var e *entry[T]
	if p.waiters.mayPass(s.turn) {
		if s.min > 0 {
			s.evaluateIdle() // unlocks meanwhile
		}
		if e = p.idle.take(constraint, s.slot); e != nil {
			e.wasIdle = true // with a Queue it may not have been set yet: see handOverLocked
		}
	} else {
		e = p.leftOverLocked(constraint)
	}
	if e == nil {
		return s.enqueue()
	}
	if p.mode.judged && e.since < p.clock.tick.Load() {
		p.clock.catchUp()
	}
	s.idle = max(0, p.clock.tick.Load()-e.since)
	s.lease = p.lendLocked(e, s.slot)
	p.unlock()
	return nil
}

// enqueue adds the caller to the queue and waits, or returns why it does not wait. The
// pool is locked; enqueue unlocks it.
func (s *slowAcquire[T]) enqueue() error {
	p := s.p
	switch {
	case s.only:
		p.unlock()
		return errNothingIdle
	case s.r.NoWait:
		p.missedLocked()
		p.unlock()
		return s.fail(ReasonNoneIdle, ErrNoneIdle)
	case p.closed:
		p.unlock()
		return s.fail(ReasonClosed, ErrClosed)
	}
	now := p.clock.now()
	if err := s.turnedAwayLocked(now); err != nil {
		return s.turnAway(err)
	}
	w := s.waiterLocked(now)
	s.joinLocked(w)
	p.unlock()
	return s.await(w)
}

// errNothingIdle is why an acquire that takes only what is idle got nothing.
var errNothingIdle = errors.New("resource: nothing idle")

// turnedAwayLocked returns why the caller would wait in vain; nil: it would not.
func (s *slowAcquire[T]) turnedAwayLocked(now time.Duration) *AcquireError {
	p, k := s.p, &s.p.maker
	switch away := p.waiters.away; {
	case away != nil:
		return p.failureLocked(refusalReason(away), away, 0, 0)
	case p.cfg.Outage != FailFast:
	case k.hopeless(now, p.cap.max) && !p.recoverableLocked(&s.r):
		k.sought = true
		p.changed = true
		return p.outageErrorLocked(now, 0)
	case k.inVain(s.deadline, now, p.cap.dying) && !p.recoverableLocked(&s.r):
		waited := time.Duration(0)
		if s.waited {
			waited = now - s.start
		}
		return p.failureLocked(refusalReason(k.barredBy), k.barredBy, waited, k.barred-now)
	}
	return nil
}

// turnAway returns err of turnedAwayLocked. The pool is locked; turnAway unlocks it.
func (s *slowAcquire[T]) turnAway(err *AcquireError) error {
	s.p.unlock()
	if err.Reason != ReasonOutage {
		s.p.trace.rejected(s.ctx, err)
	}
	return err
}

// waiterLocked returns a waiter for the caller, that is in no queue.
func (s *slowAcquire[T]) waiterLocked(now time.Duration) *waiter[T] {
	p := s.p
	if !s.waited {
		s.waited, s.start = true, now
		p.counts.waited++
		if s.any {
			p.counts.anyWaited++
		}
	}
	w := p.waiters.spare()
	w.Request, w.Since, w.Deadline = s.r, s.start, s.deadline
	w.turn, w.ctx, w.deadline, w.min, w.slot = s.turn, s.ctx, s.deadline, s.min, s.slot
	return w
}

// joinLocked adds w to the queue. It is served at once if something is idle for it.
func (s *slowAcquire[T]) joinLocked(w *waiter[T]) {
	p := s.p
	p.waiters.enter(w)
	// From here on a release to a local slot sees slowPath; what was left there before
	// is found now.
	p.setSlowPathLocked()
	p.idle.flushSlots(0)
	p.serveAndGrowLocked()
}

// await waits until w is served or refused, or its context ends.
func (s *slowAcquire[T]) await(w *waiter[T]) error {
	p := s.p
	select {
	case <-w.ready:
	case <-s.ended:
		p.lock()
		if w.waiting() {
			claimed := p.cap.claimed
			p.departLocked(w, p.clock.now())
			s.starved = p.cap.claimed < claimed
			p.unlock()
		} else {
			p.unlock()
			<-w.ready // the goroutine that took it out of the queue is about to send
		}
	}
	lease, err := s.collect(w)
	if err != nil {
		return err
	}
	// A caller whose context has ended will not use the resource: it goes to the next waiter
	// (I8).
	if s.ctx.Err() != nil {
		if lease.e != nil {
			lease.drop(nil)
		}
		return s.gaveUp()
	}
	s.lease = lease
	return nil
}

// collect takes over what became of w, which has left the queue.
func (s *slowAcquire[T]) collect(w *waiter[T]) (Lease[T], error) {
	p := s.p
	p.handOff.ran(&w.handOff)
	s.turn, s.idle, s.verified = w.turn, w.idle, w.verified
	s.lasted, s.counted = w.lasted, w.err != nil
	lease, err, rejected := w.lease, w.err, w.rejected
	p.waiters.release(w)
	if rejected {
		p.trace.rejected(s.ctx, err)
	}
	return lease, err
}

// countServedWait counts that an acquire that had to wait got its lease.
func (s *slowAcquire[T]) countServedWait() {
	s.counted = true
	s.lease.e.wait.waited.Store(max(1, int64(s.lasted)))
	s.lease.e.wait.lease.Store(s.lease.gen())
	s.p.counts.waits.serve(s.lasted, s.any)
}

// countFailedWait counts, if an acquire had to wait and is not counted yet, that it got
// nothing.
func (s *slowAcquire[T]) countFailedWait() {
	if !s.waited || s.counted {
		return
	}
	s.counted = true
	s.p.mu.Lock()
	s.p.counts.waits.fail(s.lasted, s.any)
	s.p.mu.Unlock()
}

// greetLate is greet off the hit path.
func (s *slowAcquire[T]) greetLate() {
	e := LeaseEvent{ID: s.lease.e.id, Lease: s.lease.gen(), Request: s.r}
	if s.waited {
		e.Waited = max(1, s.p.clock.now()-s.start)
	}
	s.p.sampler.introduce(s.ctx, s.lease, e)
}

// missedLocked notes that an acquire that does not wait found nothing idle.
func (p *Pool[T]) missedLocked() {
	if !p.closed && !p.cap.full() {
		p.maker.missed = true
		p.changed = true
	}
}

// leftOverLocked takes a resource that is idle although callers wait, because none of
// them can use it, for a caller that asked for r and can; nil if there is none.
func (p *Pool[T]) leftOverLocked(r *Request) *entry[T] {
	if !p.hasConstraintsLocked() || p.matchesLocked() {
		return nil
	}
	return p.idle.takeListed(r)
}

// lendLocked leases e, which the calling goroutine has to itself, to a caller with that local
// slot.
func (p *Pool[T]) lendLocked(e *entry[T], slot int) Lease[T] {
	p.idle.leaveSlot(e)
	p.counts.acquired++
	e.slot, e.verified = slot, 0
	tick := p.clock.tick.Load()
	if !p.mode.bare {
		e.vetting.Store(uint64(e.word.Load().Leases) + 1)
	}
	gen := e.word.Lend(tick)
	e.known.note(int64(gen), tick)
	return Lease[T]{e, gen}
}

// acquired returns what an acquire returns to its caller, and counts and reports an
// error. Every exported acquire ends with it, once.
func (p *Pool[T]) acquired(ctx context.Context, l Lease[T], err error) (Lease[T], error) {
	if err != nil {
		// Reported first: if Trace ends the goroutine the acquire returns nothing and
		// is not counted.
		p.trace.failed(ctx, err.(*AcquireError))
		p.counts.fail(reasonOf(err))
	}
	return l, err
}

// failure returns the error of an acquire.
func (p *Pool[T]) failure(reason Reason, err error, waited time.Duration) error {
	retry := p.guard.retryAfter(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failureLocked(reason, err, waited, retry)
}

// failureLocked is failure with the pool locked: it calls no method of err.
func (p *Pool[T]) failureLocked(reason Reason, err error, waited, retry time.Duration) *AcquireError {
	a := &AcquireError{Err: err, Reason: reason, Waited: waited, RetryAfter: max(0, retry), LastMake: p.maker.last}
	a.Load, _ = p.loadLocked()
	if a.LastMake != nil {
		a.LastMakeAgo = p.clock.now() - p.maker.lastAt
	}
	if !p.closed {
		a.sooner = p.maker.noLater()
	}
	if retry > 0 {
		a.retryAt = time.Now().Add(retry)
	}
	return a
}

// ctxError is why ctx ended: its Err, and its cause if that says more. At the end of MaxWait
// it is ErrMaxWait alone: the caller's own context has not ended, so the text must not name
// one.
func ctxError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == ErrMaxWait {
		return ErrMaxWait
	}
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// AcquireAllIdle leases all resources that are idle now, in the order in which they would be
// lent. It is for a round of checks or keepalives of the caller's own. It never blocks and
// creates nothing; nil means that nothing is idle, or that the pool is closed. The caller
// ends each lease: with [Lease.ReleaseUnused], which leaves the order and the idle times as
// they were, or with Discard.
//
// Resources that callers wait for are left to them, and so is a resource that a Health is
// checking. No policy is asked: no Admission, Eviction or Health. The leases count in Stats
// and are reported to Trace like any other.
//
// Until they are given back other callers have to do without these resources, and more may
// be created for them or for MinIdle. [Config.Health] checks a few at a time and costs no
// capacity.
func (p *Pool[T]) AcquireAllIdle() []Lease[T] {
	slot := localIndex(len(p.slots))
	p.lock()
	p.idle.flushSlots(0)
	most := p.idle.available()
	p.unlock()
	if most <= 0 {
		return nil
	}
	leases := make([]Lease[T], 0, most)
	for holds, more := 1, true; more; holds++ {
		leases, more = p.lendIdle(leases, min(most, len(leases)+listChunk), slot)
		more = more && len(leases) < most
		letOthersLock(holds)
	}
	if p.sampler.begins {
		introduceAll(p, leases)
	}
	if len(leases) == 0 {
		return nil
	}
	return leases
}

// lendIdle adds to leases those of idle resources, up to most of them. It
// reports whether there may be more.
func (p *Pool[T]) lendIdle(leases []Lease[T], most, slot int) ([]Lease[T], bool) {
	p.lock()
	defer p.unlock()
	p.startClockLocked()
	for len(leases) < most && !p.closed {
		var e *entry[T]
		if p.waiters.n == 0 {
			e = p.idle.take(nil, slot)
		} else {
			e = p.leftOverLocked(nil)
		}
		if e == nil {
			return leases, false
		}
		e.wasIdle = true  // see slowAcquire.take
		e.done.store(nil) // no Admission has let this lease in
		idle := max(0, p.clock.tick.Load()-e.since)
		l := p.lendLocked(e, slot)
		e.vetting.Store(0) // no policy looks at it
		l.found(idle)
		leases = append(leases, l)
	}
	return leases, !p.closed
}

// introduceAll reports the leases that are sampled. If Trace ends the goroutine no caller has
// them, so their resources are destroyed.
func introduceAll[T any](p *Pool[T], leases []Lease[T]) {
	returned := false
	defer func() {
		if returned {
			return
		}
		for _, l := range leases {
			defer l.finish(ErrGoexit, Outcome{}) // deferred, since Trace.Ended may end the goroutine again
		}
	}()
	for _, l := range leases {
		p.sampler.introduce(context.Background(), l, LeaseEvent{ID: l.e.id, Lease: l.gen()})
	}
	returned = true
}
