package resource

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/respool/respool/internal/claim"
	"github.com/respool/respool/internal/handoff"
)

// Lease is one caller's hold on one resource, from an acquire until one of Release, Fail,
// Discard or Hijack:
//
//	              ┌─ Release ────────────▶ given back
//	              ├─ Fail(err), Broken ──▶ given back or destroyed
//	acquire ─▶ held
//	              ├─ Discard(cause) ─────▶ destroyed
//	              └─ Hijack ─────────────▶ the caller's own
//
// It is a small value and may be copied; the copies are the same lease. It ends once:
// ending it again, from a copy, at the same time, or after the pool was closed does
// nothing, and never touches the next holder. So defer l.Release() is always right. Ending
// the zero Lease does nothing either.
type Lease[T any] struct {
	e *entry[T]
	n uint64 // from the top: for how many ticks e was idle before, and the lease's number
}

// idleShift is where in a Lease the idle time begins. 28 bits of ticks are 31 days.
const idleShift = claim.NumberBits

// gen returns the lease's number.
func (l Lease[T]) gen() uint64 { return l.n & (1<<idleShift - 1) }

// idle returns for how many ticks the resource was idle before the lease.
func (l Lease[T]) idle() int64 { return int64(l.n >> idleShift) }

// found notes for how many ticks the resource was idle, up to the largest number that fits.
func (l *Lease[T]) found(idle int64) {
	l.n = l.gen() | uint64(min(max(idle, 0), 1<<(64-idleShift)-1))<<idleShift
}

// Value returns the resource. It panics once the lease has ended, since by then another
// caller may hold the resource, and if the Lease is the zero one, which an acquire returns
// with an error.
func (l Lease[T]) Value() T {
	if l.e == nil {
		panic("resource: Value of the zero Lease: no lease began")
	}
	if !l.e.word.Holds(l.n) {
		panic("resource: Value of a lease that has ended")
	}
	return l.e.value
}

// Info returns what is known about the resource. Idle is how long it was idle before this
// lease, up to 31 days. Once the lease has ended it is the zero Info.
func (l Lease[T]) Info() Info {
	if l.e == nil || !l.e.word.Holds(l.n) {
		return Info{}
	}
	i := l.e.info(int64(l.e.pool.clock.now()/tickLen), l.idle())
	i.Leases = int64(l.gen()) - l.e.takenBack.Load()
	return i
}

// Waited returns how long the caller of the acquire waited for this lease: until the
// resource was handed to it. It is 0 if the caller did not have to wait, and once the
// lease has ended.
func (l Lease[T]) Waited() time.Duration {
	if l.e == nil || l.e.wait.lease.Load() != l.gen() {
		return 0
	}
	d := time.Duration(l.e.wait.waited.Load())
	if !l.e.word.Holds(l.n) {
		return 0
	}
	return d
}

// waitNote is the last lease of a resource whose caller had to wait. That caller sets
// it; every copy of a lease reads it.
type waitNote struct {
	lease  atomic.Uint64
	waited atomic.Int64
}

// noteShared notes for Inspect that l was acquired with [Request.Shared]. Its caller calls it;
// l may be the zero Lease.
func (l Lease[T]) noteShared(r *Request) {
	if r.Shared && l.e != nil {
		l.e.shared.Store(l.gen())
	}
}

// fresh reports whether the resource came straight from its creation. The holder
// calls it.
func (l Lease[T]) fresh() bool { return l.gen() == 1 && !l.e.wasIdle }

// Release gives the resource back. A waiting caller gets it at once, or when
// [Config.OnRelease] has returned. Release does not wait for that, nor for anything
// else, with one exception: where resources are held for 50 µs or more and releasers
// were often observed to compute on a processor that the next holder needed, Release
// waits until that holder runs. This takes a few microseconds if holders wait for I/O;
// if it is observed to take long it is not done.
func (l Lease[T]) Release() {
	if l.e == nil {
		return
	}
	p := l.e.pool
	if p.slowPath.Load() == 0 {
		if !p.mode.plainRelease {
			if p.mode.sampledRelease {
				l.releaseSampled(p)
			} else if p.mode.permitRelease {
				l.releasePermit(p)
			} else {
				l.releaseAsking(p)
			}
			return
		}
		tick := p.clock.tick.Load()
		if p.mode.asksEviction(&l.e.bounds, tick, 0, int64(l.gen())) {
			l.releaseAsking(p)
			return
		}
		if l.e.word.Return(l.n, tick) {
			if p.slowPath.Load() != 0 { // a caller began to wait meanwhile
				p.handOff.wait(p.settle(l.e))
			}
			return
		}
		l.putBack(p)
		return
	}
	l.finish(nil, Outcome{Verdict: OK})
}

// putBack is Release where no policy is called, of a resource that has no local slot, or whose
// lease has ended.
func (l Lease[T]) putBack(p *Pool[T]) {
	if !l.e.word.End(l.n) {
		return
	}
	p.lock()
	p.startClockLocked()
	p.counts.returned++
	p.maker.prove(l.e)
	p.putLocked(l.e, true)
	b := p.handOff.take()
	p.unlock()
	if b != nil {
		p.handOff.wait(b)
	}
}

// Fail ends the lease after the holder's work failed with err: [Config.Broken] decides
// whether the resource is destroyed with err as cause or given back. A nil err is a
// Release. A panic in Broken destroys the resource. Broken runs on the caller's goroutine;
// Fail waits for nothing else. It does nothing if the lease has ended.
func (l Lease[T]) Fail(err error) {
	if err == nil {
		l.Release()
		return
	}
	if l.e == nil || !l.e.word.Holds(l.n) {
		return
	}
	cause := err
	// Deferred, so that it happens also if Broken ends this goroutine.
	defer func() { l.finish(cause, Outcome{Verdict: Failed, Err: err}) }()
	if !l.e.pool.policies.broken(err) {
		cause = nil
	}
}

// Discard ends the lease and destroys the resource. The cause is what Destroy and Trace
// see; nil means [ErrDiscarded]. Destroy runs in the background, and Discard does not wait
// for it. It does nothing if the lease has ended.
func (l Lease[T]) Discard(cause error) {
	if l.e == nil {
		return
	}
	if cause == nil {
		cause = ErrDiscarded
	}
	l.finish(cause, Outcome{Verdict: Failed, Err: cause})
}

// Hijack ends the lease and makes the resource the caller's own: the pool forgets it,
// does not destroy it, and its slot is free. It returns false, and the zero T, if the
// lease had ended.
func (l Lease[T]) Hijack() (v T, ok bool) {
	if l.e == nil {
		return v, false
	}
	e, p := l.e, l.e.pool
	x := p.sampler.ending(l)
	if !e.word.End(l.n) {
		return v, false
	}
	done := e.done.load()
	// Return the permits before freeing the slot: the next user of the slot may need
	// them. All is deferred, since each Done may end this goroutine.
	defer p.sampler.ended(l, x)
	defer l.forget()
	defer p.policies.giveBack(e.quota, Outcome{Verdict: OK})
	defer p.policies.giveBack(done, Outcome{Verdict: OK})
	return e.value, true
}

// ReleaseUnused gives the resource back as if this lease had never begun: its idle time
// continues from before it, and it has its position among the idle ones again. A
// waiting caller gets it at once. If it was unused before, it still is for [Request.Fresh].
//
// It is for callers that only looked at it: see [Pool.AcquireAllIdle]. The Eviction is
// not asked, OnRelease is not called, and an Admission learns nothing but that its
// permit is back ([Ignored]). The lease still counts in [Info.Leases] and [Stats].
func (l Lease[T]) ReleaseUnused() {
	l.endUnused(false, func(e *entry[T], since int64) {
		p := e.pool
		e.since = since
		if e.loc == inSlot { // then it was not in the list before its lease
			e.stamp = p.idle.list.stamp()
		}
		if p.staysLocked(e, false) {
			p.idle.restore(e, since)
		}
	})
}

// ReleaseAfter ends the lease as [Lease.ReleaseUnused] does, but the resource is not
// lent again before check has returned nil. An error or a panic destroys the resource,
// with it as the cause ([Stats.Unhealthy]).
//
// The lease does not count in [Info.Leases].
//
// It is for a caller that doubts whether a resource works and cannot wait for a check of
// it: the caller continues with another resource, or waits in the queue with an
// acquire of its own, and gets whichever is ready first. check runs on a goroutine of
// the pool and has the resource to itself; ReleaseAfter does not wait for it. ctx
// carries no values. It ends at [Pool.Reset] and at [Pool.Close], when check must
// return: the resource is destroyed then in any case. There is no other bound; a check
// that has run for longer than [Config.MakeTimeout] counts as [Load.Hanging].
//
// Meanwhile the resource is idle ([Checking] in [Pool.Inspect]) and keeps its position
// among the idle ones. The pool counts on it for a waiting caller only for as long as a
// creation usually takes, from 10 to 100 ms (minVetting, maxVetting); then it creates
// another, if the maximum allows.
func (l Lease[T]) ReleaseAfter(check func(ctx context.Context, v T) error) {
	l.endUnused(true, func(e *entry[T], since int64) {
		e.since = since
		e.pool.beginVettingLocked(e, check)
	})
}

// endUnused ends a lease that did not use its resource. With the pool locked it calls
// next, which moves the resource on; since is the tick from which it counts as idle.
// uncounted says that the lease does not count in Info.Leases.
func (l Lease[T]) endUnused(uncounted bool, next func(e *entry[T], since int64)) {
	if l.e == nil {
		return
	}
	e, p := l.e, l.e.pool
	x := p.sampler.ending(l)
	done, word := e.done.load(), e.word.Load() // before another lease begins
	if !e.word.End(l.n) {
		return
	}
	e.unseen++
	if uncounted {
		e.takenBack.Add(1)
	}
	defer func() { p.sampler.ended(l, x) }() // deferred, since Done may end this goroutine
	p.lock()
	p.startClockLocked()
	p.counts.returned++
	now := p.clock.tick.Load()
	next(e, now-word.Ticks(now)-l.idle())
	if e.loc == gone {
		x.cause = e.cause
	}
	p.unlock()
	p.policies.giveBack(done, Outcome{})
}

// do is the rest of [Pool.Do].
func (l Lease[T]) do(ctx context.Context, f func(context.Context, T) error) error {
	defer l.Discard(errNotReturned) // does nothing if f returned
	err := f(ctx, l.Value())
	l.Fail(err)
	return err
}

// finish ends the lease, if it has not ended. The stages are those of releaseOp.
func (l Lease[T]) finish(cause error, o Outcome) {
	op := releaseOp[T]{lease: l, traced: l.e.pool.sampler.ending(l)}
	op.finish(l.e.done.load(), cause, o)
}

// drop ends a lease that no caller has seen. Its permit is not stored with it yet, and its
// end is reported to Trace only if its beginning was.
func (l Lease[T]) drop(cause error) {
	if l.e.word.Holds(l.n) { // not a second time
		l.e.unseen++
	}
	op := releaseOp[T]{lease: l, traced: l.e.pool.sampler.endingAfter(l, 0)}
	op.finish(nil, cause, Outcome{})
}

// releaseOp is the end of one lease. Its stages are:
//
//  1. The Eviction is asked whether the resource may be lent again.
//  2. The lease ends in the resource's own word (claim.Word). Of several goroutines that
//     try, one does. On the fast path this is also the return to the local slot; off it,
//     stage 2 comes before stage 1.
//  3. Under the lock the resource is retired, reset or put: comeBack.
//  4. The permit is given back, and the end is reported to Trace.
type releaseOp[T any] struct {
	lease  Lease[T]
	step   step
	total  int    // Info.Total when the Eviction was asked
	traced ending // what is reported to Trace
}

// releaseAsking is Release if the Eviction is to be asked, or a permit given back. It calls
// all of them in one frame, as acquireOp.fast does.
//
// The lease ends after the Eviction was asked, in one step with the return to the local
// slot. If copies of a lease are released at once, each may ask the Eviction, and one
// returns the resource.
func (l Lease[T]) releaseAsking(p *Pool[T]) {
	e := l.e
	ticks, ok := e.word.Lasts(l.n, &p.clock.tick)
	if !ok {
		return
	}
	op := releaseOp[T]{lease: l}
	defer func() {
		if op.step != inPool {
			op.stumbled(recover())
		}
	}()
	var cause error
	if tick := p.clock.tick.Load(); p.mode.asksEviction(&e.bounds, tick, 0, int64(l.gen())) {
		var i Info
		e.facts(&i, tick, 0, int64(l.gen()))
		op.step = inEvict
		if p.cfg.Eviction != nil {
			cause = p.cfg.Eviction.Evict(i)
		}
		if cause == nil && p.cfg.EvictIf != nil {
			cause = p.cfg.EvictIf(e.value, i)
		}
		op.step, op.total = inPool, i.Total
	}
	done := e.done.load() // before another lease begins
	if p.sampler.ends && (ticks >= longTicks || e.mark.lease.Load() == l.gen()) {
		op.traced = p.sampler.endingAfter(l, ticks)
	}
	if cause != nil || p.cfg.OnRelease != nil || p.slowPath.Load() != 0 || !e.word.Return(l.n, p.clock.tick.Load()) {
		op.finishEvaluated(cause)
		return
	}
	var b *pause
	if p.slowPath.Load() != 0 {
		b = p.settle(e)
	}
	if done != nil {
		op.step = inDone
		done(Outcome{Verdict: OK})
		op.step = inPool
	}
	p.sampler.ended(l, op.traced)
	if b != nil {
		p.handOff.wait(b)
	}
}

// releasePermit is Release where a permit is given back, and nothing else is called within
// the bounds of the resource.
func (l Lease[T]) releasePermit(p *Pool[T]) {
	e, tick := l.e, p.clock.tick.Load()
	if p.mode.asksEviction(&e.bounds, tick, 0, int64(l.gen())) {
		l.releaseAsking(p)
		return
	}
	done := e.done.load() // before another lease begins
	if !e.word.Return(l.n, tick) {
		l.finish(nil, Outcome{Verdict: OK})
		return
	}
	if p.slowPath.Load() != 0 {
		b := p.settle(e)
		p.policies.giveBack(done, Outcome{Verdict: OK})
		p.handOff.wait(b)
		return
	}
	if done == nil {
		return
	}
	returned := false
	defer func() {
		if !returned {
			p.guard.contained(broken("Done", recover()))
		}
	}()
	done(Outcome{Verdict: OK})
	returned = true
}

// releaseSampled is Release where leases are sampled and no policy is called within the
// bounds of the resource.
func (l Lease[T]) releaseSampled(p *Pool[T]) {
	e := l.e
	ticks, ok := e.word.Lasts(l.n, &p.clock.tick)
	if !ok {
		return
	}
	var x ending
	if ticks >= longTicks || e.mark.lease.Load() == l.gen() {
		x = p.sampler.endingAfter(l, ticks)
	}
	tick := p.clock.tick.Load()
	if p.mode.asksEviction(&e.bounds, tick, 0, int64(l.gen())) {
		l.releaseAsking(p)
		return
	}
	if !e.word.Return(l.n, tick) {
		l.finish(nil, Outcome{Verdict: OK})
		return
	}
	var b *pause
	if p.slowPath.Load() != 0 {
		b = p.settle(e)
	}
	if x.weight > 0 || x.held > 0 {
		p.sampler.ended(l, x)
	}
	if b != nil {
		p.handOff.wait(b)
	}
}

// stumbled continues after a panic or Goexit in a step: whatever Evict does, the lease ends.
func (op *releaseOp[T]) stumbled(panicked any) {
	// Deferred: Trace may end this goroutine too.
	p := op.lease.e.pool
	if op.step == inEvict {
		defer op.finishEvaluated(nil)
	} else {
		defer p.sampler.ended(op.lease, op.traced)
	}
	p.guard.contained(broken(op.step.where(), panicked))
}

// finish ends the lease. cause is why the resource is destroyed; nil: it is given back,
// unless an Eviction ends it.
func (op *releaseOp[T]) finish(done Done, cause error, o Outcome) {
	e, p := op.lease.e, op.lease.e.pool
	if !e.word.End(op.lease.n) {
		return
	}
	why := fateOther
	// Deferred, so that it happens also if Evict ends this goroutine.
	defer func() { p.sampler.ended(op.lease, op.traced) }()
	defer func() { op.comeBack(done, cause, why, o) }()
	if cause == nil && p.mode.evicts {
		i := e.info(p.clock.ticks(), 0)
		if cause = e.confirm(i, i.Total, p.policies.evict(e.value, i)); cause != nil {
			why = fateEvicted
		}
	}
}

// finishEvaluated ends the lease after the Eviction was asked; cause is what that returned.
func (op *releaseOp[T]) finishEvaluated(cause error) {
	e, p := op.lease.e, op.lease.e.pool
	done := e.done.load()
	op.traced = p.sampler.ending(op.lease)
	if e.word.End(op.lease.n) {
		defer func() { p.sampler.ended(op.lease, op.traced) }()
		// Deferred, so that it happens also if Evict ends this goroutine.
		defer func() { op.comeBack(done, cause, fateEvicted, Outcome{Verdict: OK}) }()
		if cause != nil {
			asked := cause
			cause = nil
			cause = e.confirm(e.info(p.clock.ticks(), 0), op.total, asked)
		}
	}
}

// comeBack moves the resource of an ended lease on: cause and why are its fate, nil if
// it may be lent again.
func (op *releaseOp[T]) comeBack(done Done, cause error, why fate, o Outcome) {
	e, p := op.lease.e, op.lease.e.pool
	p.lock()
	p.startClockLocked()
	p.counts.returned++
	if cause == nil && o.Verdict == OK || time.Duration(p.clock.tick.Load())*tickLen-e.born > probation {
		p.maker.prove(e)
	}
	if cause != nil {
		p.retireLocked(e, cause, why)
		p.changed = true
	} else if !p.beginResetLocked(e, o) {
		p.putLocked(e, true)
	}
	if e.loc == gone {
		op.traced.cause = e.cause
	}
	b := p.handOff.take()
	p.unlock()
	p.policies.giveBack(done, o)
	if b != nil {
		p.handOff.wait(b)
	}
}

// forget has the pool forget the resource of a lease that Hijack has ended.
func (l Lease[T]) forget() {
	e, p := l.e, l.e.pool
	p.lock()
	p.startClockLocked()
	p.counts.returned++
	p.maker.prove(e)
	p.idle.leaveSlot(e)
	p.registry.remove(e)
	p.counts.hijacked++
	p.maker.permitReturned(ReasonQuota)
	p.cap.free()
	p.changed = true
	p.unlock()
	p.life.hijack(e.res)
}

// settle hands e, which a release has just left in its local slot, to a waiter, and returns
// the pause of the releaser; nil: there is none. If a goroutine that does not serve waiters,
// such as a sweep, has moved e to the idle list meanwhile, settle serves them.
func (p *Pool[T]) settle(e *entry[T]) *pause {
	p.lock()
	p.startClockLocked()
	if p.slots[e.slot].e.Load() == e && p.idle.claimSlot(e.slot) == e {
		p.counts.returned++
		p.putLocked(e, true)
	} else {
		p.serveAndGrowLocked()
	}
	b := p.handOff.take()
	p.unlock()
	return b
}

// permit is where a resource keeps the Done of the Admission that admitted its holder.
// If two copies of a lease are released at once, the later release may read it while that of
// the next holder is written, so both accesses are atomic. The earlier release reads it before
// the lease ends, so it gets the right one.
//
// A used Done is not cleared, which would cost an exchange each way: it stays until the
// next one, and most Admissions return the same one each time.
type permit struct {
	p unsafe.Pointer // a Done: func values are single pointers
}

func (c *permit) load() Done {
	p := atomic.LoadPointer(&c.p)
	return *(*Done)(unsafe.Pointer(&p))
}

func (c *permit) store(d Done) {
	if p := *(*unsafe.Pointer)(unsafe.Pointer(&d)); atomic.LoadPointer(&c.p) != p {
		atomic.StorePointer(&c.p, p)
	}
}

// How long the pool counts on a resource that ReleaseAfter checks before it creates another
// for a waiter: as long as a creation usually takes, within these bounds. On a network the
// check is one round trip, and a dial takes two or more.
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

// beginResetLocked has OnRelease called for e, whose lease has just ended with that
// outcome, if it is to be lent again. It reports false if e is to be put as it is.
func (p *Pool[T]) beginResetLocked(e *entry[T], o Outcome) bool {
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
	op.startLocked()
	return true
}

// beginVettingLocked has check called for e, whose lease has just ended and whose since
// is set, if e is to be lent again; else it retires e.
func (p *Pool[T]) beginVettingLocked(e *entry[T], check func(ctx context.Context, v T) error) {
	if !e.lendable(&p.cap) {
		p.staysLocked(e, false)
		return
	}
	if e.loc == inSlot {
		p.idle.leaveSlot(e)
		e.stamp = p.idle.list.stamp()
	}
	p.calls.vettings.slowAfter = min(max(minVetting, p.maker.gauge.Usual()), maxVetting)
	op := &resetOp[T]{p: p, e: e, list: &p.calls.vettings, where: "ReleaseAfter", f: check, why: fateUnhealthy}
	op.startLocked()
	p.changed = true
}

// startLocked starts the call. Its context is that of the resource's era: after a Reset
// or Close the resource is not lent again.
func (op *resetOp[T]) startLocked() {
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
		switch {
		case err == nil:
			err = ErrReleaseTimeout
		case !op.p.guard.is(err, ErrReleaseTimeout):
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
	p.startClockLocked()
	op.list.remove(op.call)
	switch {
	case !p.outlastsLocked(e):
	case cause != nil:
		p.retireLocked(e, cause, op.why)
	case op.used:
		e.loc = moving
		p.putLocked(e, true)
		p.handOff.take() // no releaser pauses: it has returned long ago
		return
	default:
		e.loc = moving
		if p.staysLocked(e, false) {
			p.idle.park(e)
		}
		return
	}
	p.changed = true
}

// handOff decides whether a releaser lets the waiter that it served run first (see
// package handoff), and has it wait until then. Its user holds the pool's lock, except
// for ran and wait.
type handOff struct {
	clock   *clock // constant
	advisor handoff.Advisor
	pauses  sync.Pool // of *pause
	pausing *pause    // of the releaser that holds the lock; nil: it does not pause
}

// pause is where a releaser waits until the waiter that it has served runs. The
// waiter makes the releaser runnable first, so the releaser is next on that processor
// and resumes when the waiter blocks, or when its time slice ends. With
// runtime.Gosched it would queue behind every runnable goroutine of the process.
type pause struct {
	ready chan struct{} // holds one
	began time.Duration // on the pool's clock
}

// handOffNote is what a waiter must do when it runs. The zero note is nothing.
type handOffNote struct {
	releaser *pause        // of the releaser that waits until then; nil: none
	served   time.Duration // when it was served; 0: it does not report when it ran
	heldFor  time.Duration // how long the resource was held before
}

// observe decides about the hand-over of a resource that was held for that long, and
// notes it for the waiter.
func (h *handOff) observe(n *handOffNote, held, now time.Duration) {
	switch h.advisor.Next(held) {
	case handoff.Watched:
		n.served, n.heldFor = now, held
	case handoff.Pause:
		b, _ := h.pauses.Get().(*pause)
		if b == nil {
			b = &pause{ready: make(chan struct{}, 1)}
		}
		b.began = now
		n.releaser, h.pausing = b, b
	}
}

// ran does what n says. The woken waiter calls it before anything else, since its
// releaser may wait for it.
func (h *handOff) ran(n *handOffNote) {
	if n.releaser != nil {
		n.releaser.ready <- struct{}{}
		n.releaser = nil
	}
	if n.served != 0 {
		h.advisor.WaiterRan(h.clock.now()-n.served, n.heldFor)
		n.served = 0
	}
}

// take returns the pause of the releaser that holds the lock; nil: it continues at once.
func (h *handOff) take() *pause {
	b := h.pausing
	h.pausing = nil
	return b
}

// wait waits until the waiter that was served runs. It does nothing if b is nil. The
// pool is not locked.
func (h *handOff) wait(b *pause) {
	if b == nil {
		return
	}
	<-b.ready
	h.advisor.Paused(h.clock.now() - b.began)
	h.pauses.Put(b)
}
