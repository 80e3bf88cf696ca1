package resource

import (
	"time"

	"github.com/respool/respool/internal/suspicion"
)

// A Health check runs on the caller's goroutine as long as idle resources are
// trusted. Failed checks make everything suspect that has been idle since before
// (see internal/suspicion). A suspect resource that is due for a check is not
// lent before it has passed one: the caller that finds it moves it to the list of
// unverified resources and goes on; if nothing else is idle the caller waits in
// line. The pool then makes resources for those who wait, as far as there is
// room, and checks the unverified ones in the background, a bounded number at
// once. A waiter gets whichever is ready first.

// healthState is what the pool knows of checks: whether idle resources are
// suspect, and the checks in the background. Its user holds the pool's lock.
type healthState[T any] struct {
	suspect    suspicion.Suspicion
	since      time.Duration // when the suspicion began
	unverified idleList[T]   // suspect, found due for a check, and not yet checked
	calls      callList      // checks that run in the background

	// The goroutine that starts them; see scan.
	scanning bool          // it runs
	sweep    bool          // it is to go on though nothing is suspect
	ended    time.Duration // when the last of a sweep ended
	from     int           // entries of pool.all before this one are not looked at yet
	asking   bool          // nor are some that it has collected
	freed    chan struct{} // wakes it; holds one
}

// full reports whether as many checks run in the background as may.
func (d *healthState[T]) full(size int) bool {
	return d.calls.n-d.calls.awaited-d.calls.overdue >= checkBound(size)
}

// stuck reports whether so many checks are overdue that no other may begin.
func (d *healthState[T]) stuck(size int) bool { return d.calls.overdue >= checkBound(size) }

// settled reports whether every suspect resource that is due has been checked, or
// has a check that is overdue. Just after a suspicion has begun callers may hold
// some that they are about to find due.
func (d *healthState[T]) settled(now time.Duration) bool {
	return now-d.since >= minSuspicion && !d.scanning && d.unverified.n == 0 &&
		d.calls.n == d.calls.overdue+d.calls.awaited
}

// unverified is how many idle resources must pass a check before they are lent.
// The pool is locked.
func (p *Pool[T]) unverified() int { return p.health.unverified.n }

// offShelf is how many idle resources are neither on the shelf nor on a slot: the
// unverified ones, and those for which OnRelease or the check of a ReleaseAfter
// runs. The pool is locked.
func (p *Pool[T]) offShelf() int { return p.health.unverified.n + p.resets.n + p.vettings.n }

// comingBack is how many of the idle resources for which a user's function runs
// are likely to serve a waiter soon: not those for which it has run for long,
// and not suspect ones that are checked. again is after
// how long the number falls unless a call ends before; 0: never. The pool is
// locked.
func (p *Pool[T]) comingBack(now time.Duration) (n int, again time.Duration) {
	n = len(p.idle.reserved) + p.resets.n + p.vettings.n
	for _, l := range []*callList{&p.health.calls, &p.resets, &p.vettings} {
		if l.n == 0 {
			continue
		}
		next := l.look(now)
		n -= l.slow
		if next > 0 && (again == 0 || next < again) {
			again = next
		}
	}
	return n, again
}

// idleRecoverable reports whether an idle resource may still serve a waiter after
// a user's function has returned. The pool is locked.
func (p *Pool[T]) idleRecoverable() bool {
	n := len(p.idle.reserved) + p.resets.n + p.vettings.n
	return p.unverified() > 0 || n > 0 && n > p.overdueCalls()
}

// overdueCalls is how many checks in the background and calls of OnRelease have
// outlived their contexts, or would have if they had one that ends. The pool is locked.
func (p *Pool[T]) overdueCalls() int {
	if p.health.calls.n+p.resets.n+p.vettings.n == 0 {
		return 0
	}
	now := p.clock.now()
	p.health.calls.look(now)
	p.resets.look(now)
	p.vettings.look(now)
	return p.health.calls.overdue + p.resets.overdue + p.vettings.overdue
}

// checkFailed records a failed check of a resource that had been idle since that
// tick. The pool is locked.
func (p *Pool[T]) checkFailed(since int64, took time.Duration) {
	if p.health.suspect.Failed(p.clock.nowTick(), since, took, p.maker.gauge.Usual()) {
		p.beginSuspicion()
	}
	p.alert.Store(p.health.suspect.Alert())
}

// checkCut records a check whose caller's context ended first. The pool is locked.
func (p *Pool[T]) checkCut(since int64, took time.Duration) {
	if p.health.suspect.Cut(p.clock.nowTick(), since, took, p.maker.gauge.Usual()) {
		p.beginSuspicion()
	}
	p.alert.Store(p.health.suspect.Alert())
}

// checkPassed records a check that passed. The pool is locked.
func (p *Pool[T]) checkPassed(since int64) {
	d := &p.health
	if d.suspect.Passed(since) || d.suspect.Active() && d.settled(p.clock.now()) {
		p.endSuspicion()
	}
	p.alert.Store(d.suspect.Alert())
}

// beginSuspicion has what is idle checked in the background. The pool is locked.
func (p *Pool[T]) beginSuspicion() {
	p.health.since = p.clock.now()
	p.health.calls.markSlow()
	p.scanIdle()
}

// endSuspicion has callers check for themselves again: the unverified resources go
// back to the shelf. The pool is locked.
func (p *Pool[T]) endSuspicion() {
	d := &p.health
	d.suspect.Clear()
	p.alert.Store(false)
	if !d.sweep {
		d.from = 0
	}
	if d.unverified.n > 0 {
		p.readmit()
		p.startScan() // to readmit the rest
		p.wakeScan()
	}
}

// makeRoomFromUnverified retires an unverified resource for each waiter for whom
// nothing is being made, if the pool is full, makes succeed, and no check has
// passed for as long as a make takes. Otherwise each waiter of a full pool of dead
// resources would wait for the time-out of a check. The pool is locked.
func (p *Pool[T]) makeRoomFromUnverified(now time.Duration) {
	d := &p.health
	if wait := d.since + max(p.maker.gauge.Usual(), minSuspicion) - now; wait > 0 {
		p.growAgain(now, wait)
		return
	}
	if !p.roomHelps(now) {
		return
	}
	missing := p.waiters.active() - p.maker.pending() - p.cap.dying
	if p.maker.last != nil {
		missing = min(missing, 1)
	}
	for range min(missing, maxPerHold, d.unverified.n) {
		p.retire(d.unverified.first(OldestFirst, nil), ErrSuspect, fateOther)
	}
	p.more = p.more || missing > maxPerHold && d.unverified.n > 0
}

// minSuspicion is how long the checks have at least before unverified resources
// make room.
const minSuspicion = 100 * time.Millisecond

// readmit puts some unverified resources back on the shelf, below those used
// since. The pool is locked.
func (p *Pool[T]) readmit() {
	d := &p.health
	for n := 0; n < sweepChunk && d.unverified.n > 0; n++ {
		e := d.unverified.first(NewestFirst, nil)
		d.unverified.remove(e)
		p.idle.list.pushUnder(e)
	}
	p.serve()
	p.grow()
}

// withhold moves the resource of *l, which is due for a check, to the unverified
// ones if it is suspect, and empties *l. It reports whether *l is empty.
func (p *Pool[T]) withhold(s *search[T], l *Lease[T]) bool {
	p.lock()
	defer p.unlock()
	p.startClock()
	since := p.clock.tick.Load() - s.idle
	if !p.health.suspect.Covers(since) {
		return false
	}
	e := p.takeBack(l)
	if !p.holdBack(e, since) {
		p.put(e, false)
	}
	return true
}

// holdBack puts e, which is in the pool's hands and has been idle since that tick,
// into the list of unverified resources if it is suspect and will be lent again.
// It reports whether it did. The list has the order of the shelf. The pool is
// locked.
func (p *Pool[T]) holdBack(e *entry[T], since int64) bool {
	d := &p.health
	if !d.suspect.Covers(since) || e.invalid() || e.spared != nil || p.cap.surplus() {
		return false
	}
	p.idle.leaveSlot(e)
	if p.cfg.Order == OldestFirst {
		d.unverified.push(e)
	} else {
		d.unverified.pushUnder(e)
	}
	e.loc, e.since, e.wasIdle = inUnverified, since, true
	p.startScan()
	return true
}
