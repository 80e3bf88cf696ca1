package resource

import "context"

// A caller may look after resources itself: take those that are idle, look at
// each, and give it back as if it had not been touched.

// AcquireAllIdle leases all resources that are idle now, in the order in which
// they would be lent. It is for a round of checks or keepalives of the caller's
// own. It never blocks and never makes; nil means that nothing is idle, or that
// the pool is closed. The caller ends each lease: with [Lease.ReleaseUnused],
// which leaves the order and the idle times as they were, or with Discard.
//
// What callers wait for is left to them, and so is a resource that a Health is
// checking just now. No policy is asked: no Admission, Eviction or Health. The
// leases count in Stats and are told to Trace like any other.
//
// Until they are given back other callers have to do without these resources,
// and more may be made for them or for MinIdle. [Config.Health] checks a few at a
// time and costs no capacity.
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
	if p.tellsBegin {
		p.greetAll(leases)
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
	p.startClock()
	for len(leases) < most && !p.closed {
		var e *entry[T]
		if p.waiters.n == 0 {
			e = p.idle.take(nil, slot)
		} else {
			e = p.leftOver(nil)
		}
		if e == nil {
			return leases, false
		}
		e.wasIdle = true  // see get
		e.done.store(nil) // no Admission has let this lease in
		idle := max(0, p.clock.tick.Load()-e.since)
		l := p.lend(e, slot)
		e.vetting.Store(0) // no policy looks at it
		l.found(idle)
		leases = append(leases, l)
	}
	return leases, !p.closed
}

// greetAll tells Trace of leases that are sampled. If it ends the goroutine
// nobody has them, so their resources are destroyed.
func (p *Pool[T]) greetAll(leases []Lease[T]) {
	returned := false
	defer func() {
		if returned {
			return
		}
		for _, l := range leases {
			defer p.end(l, ErrGoexit, Outcome{}) // deferred, since Trace.Ended may end the goroutine again
		}
	}()
	s := search[T]{ctx: context.Background()}
	for _, l := range leases {
		p.greetLate(&s, l)
	}
	returned = true
}

// ReleaseUnused gives the resource back as if this lease had not been: its idle
// time goes on from before it, and it has the position among the idle ones that
// it had. A waiting caller gets it at once. For [Request.Fresh] it is as unused
// as it was.
//
// It is for callers who only looked at it: see [Pool.AcquireAllIdle]. The
// Eviction is not asked, OnRelease is not called, and an Admission is told nothing
// but that its permit is back ([Ignored]). The lease still counts in [Info.Leases]
// and [Stats].
func (l Lease[T]) ReleaseUnused() {
	if l.e == nil {
		return
	}
	e, p := l.e, l.e.pool
	x := p.ending(l, p.lasted(l))
	done, word := e.done.load(), e.word.Load() // before another lease begins
	if !e.word.End(l.n) {
		return
	}
	e.unseen++
	defer func() { p.tellEnded(l, x) }() // deferred, since Done may end this goroutine
	p.lock()
	p.startClock()
	p.counts.returned++
	now := p.clock.tick.Load()
	p.restore(e, now-word.Ticks(now)-l.idle())
	if e.loc == gone {
		x.cause = e.cause
	}
	p.unlock()
	p.policies.giveBack(done, Outcome{})
}

// restore is put for e, idle since that tick but for a lease that did not use it.
// The pool is locked.
func (p *Pool[T]) restore(e *entry[T], since int64) {
	e.since = since
	if e.loc == inSlot { // then it was not in the list before its lease
		e.stamp = p.idle.list.stamp()
	}
	if p.stays(e, false) {
		p.idle.restore(e, since)
	}
}
