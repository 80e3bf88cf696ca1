package resource

import (
	"context"
	"time"
)

// Every slow path holds the pool's lock between lock and unlock. Meanwhile it changes the
// state of the pool: it puts a resource, frees a slot, notes an outcome. If the change can
// call for new resources it sets p.changed. unlock then calls dispatch, which decides once
// what follows from all changes, and does it.

// lock locks the pool. It counts callers that find it locked.
func (p *Pool[T]) lock() {
	if !p.mu.TryLock() {
		p.mu.Lock()
		p.idle.meet()
	}
}

// unlock dispatches, unlocks the pool, and does what must be done without the lock.
func (p *Pool[T]) unlock() {
	a := p.dispatch()
	p.mu.Unlock()
	wakeAll(a.woken)
	if a.askQueue {
		queueOp[T]{p}.run()
	}
	if p.shared != nil {
		p.shared.budget.Settle()
		if a.drained {
			go p.shared.drained(p)
		}
	}
}

// aftermath is what a dispatch leaves to be done without the lock.
type aftermath[T any] struct {
	woken    *waiter[T] // the waiters to wake
	askQueue bool       // there is something to report to the Queue, or to ask it
	drained  bool       // the pool is closed, and now nothing of it is left
}

// dispatch does what follows from the changes under this hold of the lock. In order:
// it begins the creations that are called for, sets whether acquires and releases take the
// lock, chooses what is sampled, has a goroutine continue what was too much for one hold,
// offers idle resources to other keys, and notes whether the pool has ended.
// The pool is locked.
func (p *Pool[T]) dispatch() (a aftermath[T]) {
	if p.changed {
		p.growLocked()
	}
	p.setSlowPathLocked()
	if p.sampler.begins {
		p.sampler.judge(&p.idle, p.leasedLocked(), p.cap.max, false)
	}
	if p.more && !p.working {
		p.working = true
		p.busy++
		go p.work()
	}
	a.askQueue = queueOp[T]{p}.pendingLocked()
	if p.shared != nil {
		memberOf(p).offerLocked()
	}
	if p.closed && !p.over && !a.askQueue && p.cap.live == 0 && p.maker.lost == 0 && p.busy == 0 {
		p.over, a.drained = true, true
		close(p.drained)
	}
	if a.askQueue && p.shared != nil {
		// The goroutine that settles the total must not wait for a Queue.
		a.askQueue = false
		p.busy++
		go func() {
			defer p.unbusy()
			queueOp[T]{p}.run()
		}()
	}
	a.woken = p.waiters.takeWoken()
	return a
}

// overfull is the bit of slowPath that says that the pool is closed, or has more
// resources than its maximum: no Make may be called.
const overfull = 2

// setSlowPathLocked sets slowPath as things stand.
func (p *Pool[T]) setSlowPathLocked() {
	var d uint32
	if p.waiters.n > 0 || p.closed || p.cap.over() || !p.ticking || p.cap.scarce() {
		d = 1
	}
	if p.closed || p.cap.over() {
		d |= overfull
	}
	old := p.slowPath.Load()
	if d |= old & timeNext; old != d {
		p.slowPath.Store(d)
	}
}

// maxPerHold is how many waiters are served or refused, how many creations begun and
// how many resources retired under one hold of the lock. The rest is left to work,
// which does it under holds of its own (I12).
const maxPerHold = 32

// work continues what was too much for one hold of the lock until nothing is left. It
// runs on a goroutine of the pool's own.
func (p *Pool[T]) work() {
	for {
		p.mu.Lock() // not lock: that would count as contention
		if !p.more {
			p.working = false
			p.busy--
			p.unlock()
			return
		}
		p.more = false
		p.serveAndGrowLocked()
		p.unlock()
	}
}

// onAlarm serves and grows after the time that growLocked has set.
func (p *Pool[T]) onAlarm() {
	p.lock()
	p.alarm.rang()
	if p.waiters.late.n > 0 {
		now := p.clock.now()
		if at := p.waiters.revive(now); at > 0 {
			p.alarm.after(now, max(1, at-now))
		}
	}
	p.serveAndGrowLocked()
	p.unlock()
}

// serveAndGrowLocked refuses waiters that are to be refused, lends idle resources to the
// others, and begins the creations that are called for.
func (p *Pool[T]) serveAndGrowLocked() {
	if p.closed || p.waiters.away != nil || p.waiters.refusing.err != nil {
		p.refuseWaitersLocked()
	}
	p.serveLocked()
	p.changed = true
}

// serveLocked lends idle resources to the waiters that can use them. With a Queue,
// dispatch does.
func (p *Pool[T]) serveLocked() {
	if p.mode.ordered || p.waiters.n == 0 || p.idle.available() == 0 {
		return
	}
	now := p.clock.now()
	for range maxPerHold {
		w := p.firstWaiterLocked(p.idle.list.reach(), now)
		if w == nil {
			return
		}
		p.grantLocked(p.idle.first(&w.Request), w, now)
	}
	p.more = true
}

// firstWaiterLocked returns the first waiter that resources of that reach can serve; nil
// if there is none. Waiters whose deadline has passed are passed over; if they still wait
// after lateFor they are looked at again.
func (p *Pool[T]) firstWaiterLocked(r reach, now time.Duration) *waiter[T] {
	w, more := p.waiters.first(r, now)
	for range maxPerHold {
		if w == nil || !w.multi.served() {
			break
		}
		w.passedOver = true
		p.departLocked(w, now)
		w, more = p.waiters.first(r, now)
	}
	if w != nil && w.multi.served() {
		w, more = nil, true
	}
	if w == nil {
		p.more = p.more || more
	}
	if p.waiters.late.n > 0 {
		p.alarm.after(now, lateFor)
	}
	return w
}

// grantLocked leases e, which is in the idle list or the caller's to move, to w. If another
// pool serves the caller of w just now, grantLocked drops w instead and returns false.
func (p *Pool[T]) grantLocked(e *entry[T], w *waiter[T], now time.Duration) bool {
	if w.multi != nil && !w.multi.serve() {
		w.passedOver = true
		p.departLocked(w, now)
		return false
	}
	if e.loc == inList {
		p.idle.list.remove(e)
		w.idle = max(0, int64(now/tickLen)-e.since)
	}
	p.departLocked(w, now)
	e.granted = now
	w.verified = e.justVerified(int64(now / tickLen))
	w.idle = max(w.idle, p.clock.tick.Load()-e.since) // it may have been given back unused
	w.lease = p.lendLocked(e, w.slot)
	p.waiters.wake(w)
	return true
}

// refuseLocked turns w away.
func (p *Pool[T]) refuseLocked(w *waiter[T], err error, now time.Duration) {
	p.departLocked(w, now)
	w.err = err
	p.counts.waits.fail(w.lasted, w.multi != nil)
	p.waiters.wake(w)
}

// departLocked takes w out of the queue.
func (p *Pool[T]) departLocked(w *waiter[T], now time.Duration) {
	p.waiters.leave(w, now)
	wanting := p.waiters.wanting()
	if wanting == 0 {
		p.maker.gauge.Clear()
	}
	if p.cap.claimed > wanting {
		n := max(wanting, p.maker.warmth(p.existLocked(), p.cap.max))
		if p.maker.sought {
			n = max(n, 1)
		}
		p.cap.lowerClaim(n, wanting == 0)
	}
}

// leasedLocked is how many resources callers have or are about to have: a resource that is
// idle in a local slot while callers wait counts too, because its releaser is about to hand
// it to one of them.
func (p *Pool[T]) leasedLocked() int {
	return p.cap.live - p.maker.creating - p.cap.dying - p.idle.list.n - p.offListLocked()
}

// offListLocked is how many idle resources are neither in the idle list nor in a local
// slot.
func (p *Pool[T]) offListLocked() int { return p.health.unverified.n + p.calls.offList() }

// idlersLocked is how many resources are idle.
func (p *Pool[T]) idlersLocked() int {
	inSlots, _ := p.idle.slotLevels()
	return p.idle.list.n + p.offListLocked() + inSlots
}

// existLocked is how many resources there are.
func (p *Pool[T]) existLocked() int { return p.cap.live - p.maker.creating - p.cap.dying }

// recoverableLocked reports whether a resource could come back to a waiter that asks for
// r: only a new resource can satisfy a Fresh request.
func (p *Pool[T]) recoverableLocked(r *Request) bool { return !r.Fresh && !p.nothingOutLocked() }

// nothingOutLocked reports whether no existing resource can come back to the waiters, so that
// only a new one can serve them.
func (p *Pool[T]) nothingOutLocked() bool {
	return p.leasedLocked() == 0 && p.health.unverified.n == 0 && !p.calls.recoverable(len(p.idle.reserved))
}

// hasConstraintsLocked reports whether some waiters may be unable to use what is idle:
// they ask for a MinRemaining, or for Fresh. Then a resource can lie idle though callers
// wait, and in a full pool it has to make room for one that they can use.
func (p *Pool[T]) hasConstraintsLocked() bool {
	return p.idle.anyUnfit || p.waiters.fresh() > 0 || p.waiters.aside.fresh.Len() > 0
}

// matchesLocked reports whether there are an idle resource and a waiter that can use it.
func (p *Pool[T]) matchesLocked() bool {
	return p.waiters.n > 0 && p.idle.available() > 0 && p.waiters.needs().servedBy(p.idle.list.reach())
}

// growLocked begins the creations that are called for: for waiters, for MinIdle and for
// Warm.
func (p *Pool[T]) growLocked() {
	p.changed = false
	if p.closed || p.mode.ordered && p.matchesLocked() {
		return // a queueOp serves first, and then has this called again
	}
	if p.needsNothingLocked() {
		return
	}
	now := p.clock.now()
	if p.waiters.n > 0 {
		p.dismissLocked(now)
		p.makeRoomLocked(now)
		p.makeRoomFromUnverifiedLocked(now)
	}
	s := p.supplyLocked(now)
	fewer := time.Duration(0)
	if s.waiting > 0 {
		s.reserved, fewer = p.calls.comingBack(now, len(p.idle.reserved))
	}
	d := p.maker.decide(s)
	if fewer > 0 && (d.again == 0 || fewer < d.again) {
		d.again = fewer
	}
	if d.again > 0 {
		p.alarm.after(now, d.again)
	}
	want := d.total()
	n := min(want, maxPerHold)
	got := p.cap.take(n, min(n, d.demand()), p.waiters.wanting() == 0)
	callers := d.callers
	d.limit(got)
	if got == maxPerHold && want > got {
		p.more = true
		p.maker.putOff = callers - d.callers
	}
	p.maker.gauge.Began(d.callers)
	begun := &p.counts.begun
	for range d.callers {
		if w := p.waiters.asker(); w != nil {
			p.startCreationLocked(creationFor(w), &begun.Callers)
		} else {
			p.startCreationLocked(p.maker.forWarm(), &begun.Callers)
		}
	}
	for range d.warm {
		p.startCreationLocked(p.maker.forWarm(), &begun.Warm)
	}
	for range d.missed {
		p.startCreationLocked(newCreation[T](context.Background()), &begun.NoWait)
	}
	for range d.ready {
		p.startCreationLocked(newCreation[T](context.Background()), &begun.MinIdle)
	}
	if want == 0 {
		p.renewLocked(now)
	}
}

// needsNothingLocked reports whether growLocked has nothing to do, so that no clock need be
// read: nothing calls for a creation, or the pool is full and no resource need make room,
// which is usual when many callers wait.
func (p *Pool[T]) needsNothingLocked() bool {
	k := &p.maker
	if p.cap.claimed > 0 || len(k.fading) > 0 {
		return false
	}
	if p.waiters.wanting() == 0 && len(k.warming) == 0 && p.cfg.MinIdle == 0 && !k.missed && !k.sought && !k.owed {
		return true
	}
	return p.cap.full() && !p.hasConstraintsLocked() && p.health.unverified.n == 0 && !k.breaker.Open() && k.barred == 0
}

// supplyLocked is what the pool has and what is asked of it.
func (p *Pool[T]) supplyLocked(now time.Duration) supply {
	s := supply{
		now:      now,
		max:      p.cap.max,
		live:     p.cap.live,
		dying:    p.cap.dying,
		idle:     p.idle.list.n + p.offListLocked(),
		held:     p.leasedLocked(),
		returned: p.counts.returned,
		waiting:  p.waiters.active(),
		fresh:    p.waiters.fresh(),
		warm:     p.maker.warmth(p.existLocked(), p.cap.max),
	}
	if p.cfg.MinIdle > 0 {
		inSlots, _ := p.idle.slotLevels()
		s.idle += inSlots
	}
	return s
}

// makeRoomLocked retires idle resources that no waiter can use, if the pool is full, so that
// their slots are needed for new resources, and creations may begin.
func (p *Pool[T]) makeRoomLocked(now time.Duration) {
	if !p.hasConstraintsLocked() {
		return
	}
	k := &p.maker
	if wait := max(k.breaker.RetryAfter(now), k.barred-now); wait > 0 {
		p.alarm.after(now, wait)
		return
	}
	if k.breaker.Open() && !p.cap.full() || p.idle.available() == 0 {
		return
	}
	fresh := p.waiters.fresh()
	coming := k.pending() + p.cap.dying + max(0, p.cap.max-p.cap.live)
	missing := max(0, p.waiters.active()-fresh-len(p.idle.reserved)) + fresh - coming
	if k.last != nil {
		missing = min(missing, 1-coming) // creation is failing: retire one for a try, not all
	}
	n := p.waiters.needs()
	for range min(missing, maxPerHold) {
		e := p.idle.list.unwanted(n)
		if e == nil {
			return
		}
		p.retireLocked(e, p.waiters.misfit(e), fateOther)
	}
	if missing > maxPerHold {
		p.more = true
	}
}

// makeRoomFromUnverifiedLocked retires an unverified resource for each waiter for which
// no creation is under way, if the pool is full, creation succeeds, and no check has
// passed for as long as a creation takes. Otherwise each waiter of a full pool of dead
// resources would wait for the timeout of a check.
func (p *Pool[T]) makeRoomFromUnverifiedLocked(now time.Duration) {
	d := &p.health
	if d.unverified.n == 0 {
		return
	}
	if wait := d.since + max(p.maker.gauge.Usual(), minSuspicion) - now; wait > 0 {
		p.alarm.after(now, wait)
		return
	}
	if !p.maker.roomHelps(now, &p.cap) {
		return
	}
	missing := p.waiters.active() - p.maker.pending() - p.cap.dying
	if p.maker.last != nil {
		missing = min(missing, 1)
	}
	for range min(missing, maxPerHold, d.unverified.n) {
		p.retireLocked(d.unverified.first(OldestFirst, nil), ErrSuspect, fateOther)
	}
	p.more = p.more || missing > maxPerHold && d.unverified.n > 0
}

// A resource whose end the Eviction foresees by its age, and that is in use or needed
// for MinIdle, gets a replacement before it ends, where the maximum allows: so no caller
// has to wait for one. Where it does not, the resource ends a little earlier than it
// must. Either way one replacement is created at a time, so that resources created
// together are not replaced in a burst.

// renewLocked creates a replacement, if one is to be created and nothing is against it.
func (p *Pool[T]) renewLocked(now time.Duration) {
	k := &p.maker
	if !k.owed && len(k.fading) == 0 || p.waiters.n > 0 || p.cap.dying > 0 || !k.mayRenew(now) {
		return
	}
	switch {
	case p.cap.over():
	case p.cap.full():
		if e, end := k.roll(); e != nil {
			p.retireLocked(e, end, fateEvicted)
		}
	case k.replacement() && p.cap.take(1, 0, p.waiters.n == 0) > 0:
		p.startCreationLocked(newCreation[T](context.Background()), &p.counts.begun.Replacements)
	}
}

// outageErrorLocked is the error of a caller that is refused in an outage.
func (p *Pool[T]) outageErrorLocked(now, waited time.Duration) *AcquireError {
	err := &outageCause{p.maker.last}
	retry := p.maker.breaker.RetryAfter(now)
	if retry == 0 { // a creation is being tried
		retry = max(p.maker.gauge.Usual(), 10*time.Millisecond)
	}
	a := p.failureLocked(ReasonOutage, err, waited, retry)
	if !p.cap.full() { // else there is no room for a try
		a.tried = p.maker.nextTry()
	}
	return a
}

// dismissLocked refuses the waiters that nothing can serve any more, because the leased
// resources are gone, or creation has begun to fail or to be refused.
func (p *Pool[T]) dismissLocked(now time.Duration) {
	freshOnly := !p.nothingOutLocked()
	if p.cfg.Outage != FailFast || freshOnly && p.waiters.fresh() == 0 {
		return
	}
	k := &p.maker
	left := maxPerHold
	if k.breaker.RetryAfter(now) > 0 {
		for w := p.waiters.refusable(freshOnly); w != nil; w = p.waiters.refusable(freshOnly) {
			if left--; left < 0 {
				p.more = true
				return
			}
			k.sought = true
			p.refuseLocked(w, p.outageErrorLocked(now, now-w.Since), now)
		}
	}
	if k.barred <= now || k.pending() > 0 || k.permitDue(p.cap.dying) {
		return
	}
	for w := p.waiters.soonest(freshOnly); w != nil && w.deadline < k.barred; w = p.waiters.soonest(freshOnly) {
		if left--; left < 0 {
			p.more = true
			return
		}
		if w.deadline <= now {
			p.waiters.untime(w) // its context ends its wait
			continue
		}
		w.rejected = true
		p.refuseLocked(w, p.failureLocked(refusalReason(k.barredBy), k.barredBy, now-w.Since, k.barred-now), now)
	}
}

// refuseWaitersLocked refuses up to maxPerHold of the waiters that are to be refused: every
// waiter if the pool is closed or all are turned away, else those of waiters.refusing.
func (p *Pool[T]) refuseWaitersLocked() {
	now := p.clock.now()
	for range maxPerHold {
		if p.closed {
			w := p.waiters.any()
			if w == nil {
				return
			}
			// At least 1: a Keyed recognizes by Waited the callers that waited.
			p.refuseLocked(w, p.failureLocked(ReasonClosed, ErrClosed, max(1, now-w.Since), 0), now)
			continue
		}
		if away := p.waiters.away; away != nil {
			w := p.waiters.any()
			if w == nil {
				return
			}
			w.rejected = true
			p.refuseLocked(w, p.failureLocked(refusalReason(away), away, max(1, now-w.Since), 0), now)
			continue
		}
		refusing := &p.waiters.refusing
		w := p.waiters.refusable(!p.nothingOutLocked())
		if w == nil || w.turn > refusing.last {
			*refusing = refusal{}
			return
		}
		w.rejected = true
		p.refuseLocked(w, p.failureLocked(refusalReason(refusing.err), refusing.err, now-w.Since, 0), now)
	}
	p.more = true
}

// putLocked finds a use for e, which works and is the caller's to move: it goes to the
// next waiter, lies idle or, if the pool has no use for it, is destroyed. If it was used it
// goes to the local slot of the goroutine that used it, which may soon acquire again.
func (p *Pool[T]) putLocked(e *entry[T], used bool) {
	e.since, e.stamp = p.clock.tick.Load(), p.idle.list.stamp()
	switch {
	case !p.staysLocked(e, used):
	case used && len(p.slots) > 0:
		p.idle.parkLocal(e)
	default:
		p.idle.park(e)
	}
}

// staysLocked reports whether e, which works and is the caller's to move, is to lie idle.
// If not, it hands e to a waiter or retires it.
func (p *Pool[T]) staysLocked(e *entry[T], used bool) bool {
	switch {
	case e.invalid():
		why, cause := e.whyInvalid()
		p.retireLocked(e, cause, why)
		p.changed = true
	case e.spared != nil:
		p.retireLocked(e, e.spared, fateOther)
		p.changed = true
	case p.cap.surplus():
		p.retireLocked(e, ErrResized, fateOther)
	case e.word.Spent():
		p.retireLocked(e, ErrWornOut, fateOther)
		p.changed = true
	case p.shared != nil && memberOf(p).preemptLocked(e, used):
	case p.waiters.n > 0:
		p.handOverLocked(e, used)
	default:
		return true
	}
	return false
}

// handOverLocked gives e to the first waiter that can use it. If e was used, the calling
// goroutine is its releaser, and must take the pause from handOff afterwards.
func (p *Pool[T]) handOverLocked(e *entry[T], used bool) {
	if !p.mode.ordered {
		now := p.clock.now()
		for w := p.firstWaiterLocked(e.reach(), now); w != nil; w = p.firstWaiterLocked(e.reach(), now) {
			if cause := p.waiters.yields(e, w, p.maker.pending()+p.cap.dying, len(p.idle.reserved), p.maker.roomHelps(now, &p.cap)); cause != nil {
				p.retireLocked(e, cause, fateOther)
				return
			}
			held := now - e.granted
			if !p.grantLocked(e, w, now) {
				continue // of all waiters, few are claimed by another pool at this instant
			}
			if used {
				p.handOff.observe(&w.handOff, held, now)
			}
			return
		}
	}
	fresh := !e.wasIdle
	p.idle.park(e)
	if p.mode.ordered && fresh {
		e.wasIdle = false // dispatch has the Queue choose its waiter
	}
	p.changed = true
}

// retireLocked has e, which no caller holds and no policy is asked about, destroyed in
// the background. why is the counter that its end belongs to. It does nothing if e is
// among the discards, which are destroyed anyway.
func (p *Pool[T]) retireLocked(e *entry[T], cause error, why fate) {
	switch {
	case e.discarded():
		return
	case e.loc == inSlot:
		p.idle.leaveSlot(e)
	case e.loc == inList:
		p.idle.list.remove(e)
	case e.loc == inUnverified:
		p.health.unverified.remove(e)
	}
	p.cap.die(1)
	p.forgetLocked(e, cause, why)
	reapOp[T]{p}.destroyLocked(e)
}

// forgetLocked removes e, whose end begins, from the registry and counts its end.
func (p *Pool[T]) forgetLocked(e *entry[T], cause error, why fate) {
	p.registry.remove(e)
	e.cause = cause
	p.counts.ended[why]++
}

// markDeadLocked keeps e from being lent again: it is destroyed at once if it is idle,
// else when its lease, or the call that has it, ends. The first cause stays.
func (p *Pool[T]) markDeadLocked(e *entry[T], cause error, why fate) {
	if e.loc == gone || e.invalid() {
		return
	}
	e.word.Invalidate()
	e.cause, e.fate = cause, why
	if e.listed() || e.loc == inSlot && e.word.Claim() {
		p.retireLocked(e, cause, why)
	}
}

// invalidate is the function that Watch is given.
func (p *Pool[T]) invalidate(e *entry[T], cause error) {
	if cause == nil {
		cause = ErrInvalidated
	}
	p.lock()
	defer p.unlock()
	switch {
	case e.loc == gone:
	case e.era.over.Load():
		// The cause of the Reset, or an earlier one, stays. The word is set as well: if e is not in the
		// pool yet a Reset may have spared its creation, and putOldLocked must see that e is dead.
		e.fate, e.cause = e.whyInvalid()
		e.word.Invalidate()
	case !e.word.Invalidated():
		p.startClockLocked()
		if e.word.Load().Leases == 0 && p.clock.now()-e.born < probation {
			p.failedEarlyLocked(e, cause)
		}
		p.markDeadLocked(e, cause, fateInvalidated)
		p.changed = true
	}
}

// unreserveLocked ends the reservation of e, about which a policy was asked: e may be
// lent again, or is retired if that was decided meanwhile. It reports whether e is still
// there.
func (p *Pool[T]) unreserveLocked(e *entry[T]) bool {
	there := p.outlastsLocked(e)
	p.idle.unreserve(e, there) // not before outlastsLocked: a reserved e is not among the discards
	return there
}

// outlastsLocked reports whether e, for which a user function has just returned, may be
// lent again. If not, it retires e.
func (p *Pool[T]) outlastsLocked(e *entry[T]) bool {
	switch {
	case e.invalid():
		why, cause := e.whyInvalid()
		p.retireLocked(e, cause, why)
	case p.cap.surplus():
		p.retireLocked(e, ErrResized, fateOther)
	default:
		return true
	}
	return false
}
