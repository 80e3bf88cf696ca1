package resource

import (
	"sync/atomic"
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

// health decides from the outcomes of checks whether idle resources are suspect, and
// how far the background checks are. Its user holds the pool's lock.
type health[T any] struct {
	suspect    suspicion.Suspicion
	alert      atomic.Bool   // a passed check could change suspect: then it is reported under the lock
	since      time.Duration // when the suspicion began
	unverified idleList[T]   // suspect, found due for a check, and not yet checked
	checks     *callList     // constant: the checks that run in the background

	// Of the goroutine that starts the checks: see scan.
	scanning bool          // it runs
	sweep    bool          // it continues though nothing is suspect
	ended    time.Duration // when the last scan for a sweep ended
	from     int           // resources of the registry before this index are not looked at yet
	asking   bool          // nor are some that it has collected
	freed    chan struct{} // wakes it; holds one
}

// full reports whether as many checks run in the background as may.
func (d *health[T]) full(size int) bool {
	return d.checks.n-d.checks.awaited-d.checks.overdue >= checkBound(size)
}

// stuck reports whether so many checks are overdue that no other may begin.
func (d *health[T]) stuck(size int) bool { return d.checks.overdue >= checkBound(size) }

// settled reports whether every suspect resource that is due has been checked, or has
// a check that is overdue. Shortly after a suspicion has begun callers may hold some
// that they are about to find due.
func (d *health[T]) settled(now time.Duration) bool {
	return now-d.since >= minSuspicion && !d.scanning && d.unverified.n == 0 &&
		d.checks.n == d.checks.overdue+d.checks.awaited
}

// failed records a failed check of a resource that had been idle since that tick;
// usual is how long a creation usually takes. begins says that a suspicion begins: the
// idle resources are to be checked.
func (d *health[T]) failed(now time.Duration, since int64, took, usual time.Duration) (begins bool) {
	return d.begin(now, d.suspect.Failed(int64(now/tickLen), since, took, usual))
}

// cut records a check that the end of its caller's context cut short. begins is as in
// failed.
func (d *health[T]) cut(now time.Duration, since int64, took, usual time.Duration) (begins bool) {
	return d.begin(now, d.suspect.Cut(int64(now/tickLen), since, took, usual))
}

func (d *health[T]) begin(now time.Duration, begins bool) bool {
	if begins {
		d.since = now
		d.checks.markSlow()
	}
	d.alert.Store(d.suspect.Alert())
	return begins
}

// passed records a passed check. ends says that the suspicion ends: see end.
func (d *health[T]) passed(now time.Duration, since int64) (ends bool) {
	ends = d.suspect.Passed(since) || d.over(now)
	d.alert.Store(d.suspect.Alert())
	return ends
}

// over reports whether a suspicion has found all it can.
func (d *health[T]) over(now time.Duration) bool { return d.suspect.Active() && d.settled(now) }

// end ends the suspicion: callers check for themselves again. readmit says that the
// unverified resources are to go back to the idle list.
func (d *health[T]) end() (readmit bool) {
	d.suspect.Clear()
	d.alert.Store(false)
	if !d.sweep {
		d.from = 0
	}
	return d.unverified.n > 0
}

// startSweep reports whether a sweep is to have the idle resources scanned: the end of
// a suspicion does not end that scan. If the scan of the sweep before has only just
// ended, or runs, it has taken long, and another would leave no time between two
// checks of one resource.
func (d *health[T]) startSweep(now, interval time.Duration) bool {
	d.sweep = d.sweep || d.scanning || d.ended == 0 || now-d.ended >= interval/2
	return d.sweep && !d.scanning
}

// scanFrom has the first n resources of the registry scanned, if no scan is under way.
func (d *health[T]) scanFrom(n int) {
	if d.from == 0 && !d.asking {
		d.from = n
	}
}

// wake wakes the scan if it waits for a check to end.
func (d *health[T]) wake() {
	select {
	case d.freed <- struct{}{}:
	default:
	}
}

// hold puts e, which has been idle since that tick, among the unverified resources.
// These have the order of the idle list.
func (d *health[T]) hold(e *entry[T], since int64, order Order) {
	if order == OldestFirst {
		d.unverified.push(e)
	} else {
		d.unverified.pushUnder(e)
	}
	e.loc, e.since, e.wasIdle = inUnverified, since, true
}

// offList is how many idle resources are neither in the idle list nor in a local slot.
// The pool is locked.
func (p *Pool[T]) offList() int { return p.health.unverified.n + p.calls.offList() }

// checkFailed records a failed check of a resource that had been idle since that tick.
// The pool is locked.
func (p *Pool[T]) checkFailed(since int64, took time.Duration) {
	if p.health.failed(p.clock.now(), since, took, p.maker.gauge.Usual()) {
		p.scanIdle()
	}
}

// checkPassed records a passed check. The pool is locked.
func (p *Pool[T]) checkPassed(since int64) {
	if p.health.passed(p.clock.now(), since) {
		p.endSuspicion()
	}
}

// endSuspicion ends the suspicion. The pool is locked.
func (p *Pool[T]) endSuspicion() {
	if p.health.end() {
		p.readmit()
		p.startScan() // to readmit the rest
		p.health.wake()
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

// holdBack puts e, which is in the pool's hands and has been idle since that tick,
// into the list of unverified resources if it is suspect and will be lent again.
// It reports whether it did. The list has the order of the shelf. The pool is
// locked.
func (p *Pool[T]) holdBack(e *entry[T], since int64) bool {
	d := &p.health
	if !d.suspect.Covers(since) || !e.lendable(&p.cap) {
		return false
	}
	p.idle.leaveSlot(e)
	d.hold(e, since, p.cfg.Order)
	p.startScan()
	return true
}
