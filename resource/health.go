package resource

import (
	"time"

	"github.com/respool/respool/internal/suspicion"
)

// Health checks run on the caller's goroutine as long as idle resources are
// trusted. When failures make them suspect (see internal/suspicion) a resource
// that was idle since before and is due for a check is not lent before it has
// passed one: it goes to the list of unverified ones, its caller goes on and
// waits in line if nothing else is idle, and the pool checks in the background,
// a bounded number at once. So makes begin beside the checks, and whichever
// resource comes first is the caller's.

// doctor is the state of the checks in the background.
type doctor[T any] struct {
	suspect    suspicion.Suspicion
	since      time.Duration // when it began
	unverified shelfList[T]  // idle, and due for a check that the pool makes
	calls      callList      // checks that run
	rounds     bool          // a goroutine runs examiner
	sweep      bool          // a sweep wants everything idle looked at
	from       int           // what is before this in pool.all is still to be looked at
	asking     bool          // and some that examiner has at hand
	freed      chan struct{} // holds one: something has changed for examiner
}

// full reports whether no further check may begin in the background.
func (d *doctor[T]) full(size int) bool {
	return d.calls.n-d.calls.trials-d.calls.overdue >= checkBound(size)
}

// stuck reports whether so many checks are overdue that none begins until one of
// them ends.
func (d *doctor[T]) stuck(size int) bool { return d.calls.overdue >= checkBound(size) }

// done reports whether nothing suspect is left to be looked at.
func (d *doctor[T]) done() bool {
	return !d.rounds && d.unverified.n == 0 && d.calls.n == d.calls.overdue+d.calls.trials
}

// unverified is how many idle resources are not lent before they have passed a
// check. The pool is locked.
func (p *Pool[T]) unverified() int { return p.doctor.unverified.n }

// offShelf is how many idle resources are not on the shelf: those, and the ones
// that OnRelease has. The pool is locked.
func (p *Pool[T]) offShelf() int { return p.doctor.unverified.n + p.resets.n }

// comingBack is how many idle resources that a user's function looks at are likely to serve those who wait. While what is idle is suspect the
// checks that run are not counted on, and none that takes long is. again is when
// there will be fewer; 0: no change by time. The pool is locked.
func (p *Pool[T]) comingBack(now time.Duration) (n int, again time.Duration) {
	d := &p.doctor
	n = p.aside + p.resets.n
	for _, l := range []*callList{&d.calls, &p.resets} {
		if l.n == 0 {
			continue
		}
		next := l.look(now)
		if l == &d.calls && d.suspect.Active() {
			n -= l.n
			continue
		}
		n -= l.slow
		if next > 0 && (again == 0 || next < again) {
			again = next
		}
	}
	return n, again
}

// idleHope reports whether something idle may still be lent to those who wait,
// once it was looked at. The pool is locked.
func (p *Pool[T]) idleHope() bool {
	if p.aside+p.resets.n == 0 {
		return p.unverified() > 0
	}
	return p.unverified() > 0 || p.aside+p.resets.n > p.overdueCalls()
}

// overdueCalls is how many calls about idle resources have outlived their
// contexts. The pool is locked.
func (p *Pool[T]) overdueCalls() int {
	if p.doctor.calls.n+p.resets.n == 0 {
		return 0
	}
	now := p.since()
	p.doctor.calls.look(now)
	p.resets.look(now)
	return p.doctor.calls.overdue + p.resets.overdue
}

// checkFailed records a failed check of what had been idle since that tick. The
// pool is locked.
func (p *Pool[T]) checkFailed(since int64, took time.Duration) {
	d := &p.doctor
	if d.suspect.Failed(p.nowTick(), since, took, p.gauge.Usual()) {
		d.since = p.since()
		p.lookAround()
	}
	p.alert.Store(d.suspect.Alert())
}

// checkCut records a check that its caller could not wait for. The pool is
// locked.
func (p *Pool[T]) checkCut(since int64, took time.Duration) {
	d := &p.doctor
	if d.suspect.Cut(p.nowTick(), since, took, p.gauge.Usual()) {
		d.since = p.since()
		p.lookAround()
	}
	p.alert.Store(d.suspect.Alert())
}

// checkPassed records a check that passed. The pool is locked.
func (p *Pool[T]) checkPassed(since int64) {
	d := &p.doctor
	if d.suspect.Passed(since) {
		p.trust()
	}
	p.alert.Store(d.suspect.Alert())
}

// trust ends what a suspicion began: those not verified yet go back among the
// idle. The pool is locked.
func (p *Pool[T]) trust() {
	d := &p.doctor
	d.suspect.Clear()
	p.alert.Store(false)
	if !d.sweep {
		d.from = 0
	}
	if d.unverified.n > 0 {
		p.readmit()
		p.makeRounds() // readmits the others
		p.wakeRounds()
	}
}

// giveUpUnverified retires unverified resources for those who wait, in a full
// pool whose makes go well, when no check has passed for as long as a make takes:
// else callers would wait for one time-out after the other. The pool is locked.
func (p *Pool[T]) giveUpUnverified(now time.Duration) {
	d := &p.doctor
	if wait := d.since + max(p.gauge.Usual(), minSuspicion) - now; wait > 0 {
		p.growAgain(now, wait)
		return
	}
	if !p.roomHelps(now) {
		return
	}
	missing := p.waiters.n - p.making - p.dying
	if p.lastMake != nil {
		missing = min(missing, 1)
	}
	for ; missing > 0 && d.unverified.n > 0; missing-- {
		p.retire(d.unverified.bottom, ErrSuspect, &p.n.other)
	}
}

// minSuspicion is how long checks have at least, before what they have not come
// to makes room.
const minSuspicion = 100 * time.Millisecond

// readmit puts some unverified resources back among the idle ones, below those
// used since. The pool is locked.
func (p *Pool[T]) readmit() {
	d := &p.doctor
	for n := 0; n < sweepChunk && d.unverified.n > 0; n++ {
		e := d.unverified.top
		d.unverified.remove(e)
		p.shelf.pushUnder(e)
	}
	p.serve()
	p.grow()
}

// nowTick is the tick, exact. The pool is locked.
func (p *Pool[T]) nowTick() int64 { return int64(p.since() / tickLen) }

// withhold puts what *l holds among the unverified if it is suspect, and empties
// *l. The caller, who found it due for a check, goes on. It reports whether it
// did.
func (p *Pool[T]) withhold(s *search[T], l *Lease[T]) bool {
	p.lock()
	defer p.unlock()
	p.startClock()
	since := p.tick.Load() - s.idle
	if !p.doctor.suspect.Covers(since) {
		return false
	}
	e := p.takeBack(l)
	if !p.keepsFrom(e, since) {
		p.put(e, false)
	}
	return true
}

// keepsFrom puts e, which is in the pool's hands and was idle since that tick,
// among the unverified if it is suspect. It reports whether it did. They are
// there in the order in which idle ones are lent. The pool is locked.
func (p *Pool[T]) keepsFrom(e *entry[T], since int64) bool {
	d := &p.doctor
	if !d.suspect.Covers(since) || e.word.Doomed() || p.closed || p.live-p.dying > p.max {
		return false
	}
	if e.place == seated {
		p.vacate(e)
	}
	if p.cfg.Order == OldestFirst {
		d.unverified.push(e)
	} else {
		d.unverified.pushUnder(e)
	}
	e.place, e.since, e.parked = unverified, since, true
	p.makeRounds()
	return true
}
