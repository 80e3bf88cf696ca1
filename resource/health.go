package resource

import (
	"context"
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
	unverified shelfList[T]  // idle, and due for a check that the pool makes
	calls      callList      // checks that run
	rounds     bool          // a goroutine runs examiner
	sweep      bool          // a sweep wants everything idle looked at
	from       int           // what is before this in pool.all is still to be looked at
	asking     bool          // and some that examiner has at hand
	freed      chan struct{} // holds one: a check has ended or is overdue
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
		p.lookAround()
	}
	p.alert.Store(d.suspect.Alert())
}

// checkCut records a check that its caller could not wait for. The pool is
// locked.
func (p *Pool[T]) checkCut(since int64, took time.Duration) {
	d := &p.doctor
	if d.suspect.Cut(p.nowTick(), since, took, p.gauge.Usual()) {
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
	}
}

// lookAround has everything idle looked at in the background. The pool is locked.
func (p *Pool[T]) lookAround() {
	if d := &p.doctor; d.from == 0 && !d.asking {
		d.from = len(p.all)
	}
	p.makeRounds()
}

// sweepHealth is lookAround for a sweep, which nothing ends early. The pool is
// locked.
func (p *Pool[T]) sweepHealth() {
	if p.cfg.Health != nil {
		p.doctor.sweep = true
		p.lookAround()
	}
}

// makeRounds sees to it that examiner runs. The pool is locked.
func (p *Pool[T]) makeRounds() {
	if d := &p.doctor; !d.rounds && !p.closed {
		d.rounds = true
		p.busy++
		go func() {
			defer p.unbusy()
			x := &examiner[T]{p: p}
			persist(x.step)
		}()
	}
}

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

// examiner looks at what is idle and has checked what is due.
type examiner[T any] struct {
	p     *Pool[T]
	some  [sweepChunk]suspect[T]
	n, at int // some[at:n] are still to be asked about
}

// step does one thing; it returns false when there is no more to do.
func (x *examiner[T]) step() bool {
	p, d := x.p, &x.p.doctor
	p.lock()
	d.calls.look(p.since())
	d.asking = x.at < x.n
	switch {
	case p.closed:
		d.rounds = false
		p.unlock()
		return false
	case d.unverified.n > 0 && !d.suspect.Active():
		p.readmit()
	case d.stuck(p.max): // callers check for themselves, until one of the overdue ends
		x.at, x.n, d.from, d.sweep = 0, 0, 0, false
		p.trust()
		if d.unverified.n == 0 {
			return x.stop()
		}
	case d.full(p.max):
		p.unlock()
		select {
		case <-d.freed:
		case <-p.ctx.Done():
		}
		return true
	case d.unverified.n > 0:
		e := d.unverified.first(p.cfg.Order, nil)
		d.unverified.remove(e)
		p.shelf.pushUnder(e)
		p.check(context.Background(), e, x.facts(e), nil)
	case x.at < x.n && !d.sweep && !d.suspect.Active(): // trust came meanwhile
		x.at, x.n = 0, 0
	case x.at < x.n:
		c := &x.some[x.at]
		x.at++
		c.info.Idlers = p.idlers()
		p.unlock()
		if !p.due(c.info) {
			return true
		}
		p.lock()
		if !p.closed && c.e.place == shelf && c.stillIdle() {
			p.check(context.Background(), c.e, c.info, nil)
		}
	case d.from > 0:
		x.collect()
	default:
		return x.stop()
	}
	p.unlock()
	return true
}

// stop ends the rounds. The pool is locked; stop unlocks it.
func (x *examiner[T]) stop() bool {
	p, d := x.p, &x.p.doctor
	d.rounds, d.sweep = false, false
	if d.done() && d.suspect.Active() {
		p.trust()
	}
	p.unlock()
	return false
}

// collect gets the facts about the next few idle resources, those idle longest
// first. The pool is locked.
func (x *examiner[T]) collect() {
	p, d := x.p, &x.p.doctor
	x.n, x.at = 0, 0
	upTo := min(d.from, len(p.all))
	d.from = max(0, upTo-sweepChunk)
	for _, e := range p.all[d.from:upTo] {
		if e.place == shelf && !e.aside {
			x.some[x.n] = suspect[T]{e: e, idle: p.nowTick() - e.since, info: x.facts(e)}
			x.n++
		}
	}
	sortSuspects(x.some[:x.n])
}

// facts is what a check in the background is told of e. The pool is locked.
func (x *examiner[T]) facts(e *entry[T]) (i Info) {
	now := x.p.nowTick()
	e.tell(&i, now, max(0, now-e.since), e.word.Load().Leases)
	i.Idle = min(i.Idle, i.Age)
	i.Idlers = x.p.idlers()
	return i
}

// idlers is how many are idle. The pool is locked.
func (p *Pool[T]) idlers() int {
	onSeats, _ := p.seatLevels()
	return p.shelf.n + p.offShelf() + onSeats
}

// trial is a caller that must not wait and has a check run for it.
type trial[T any] struct {
	seat  int
	call  *call
	gone  bool          // it does not wait any more
	lease Lease[T]      // of what passed; none if it did not
	done  chan struct{} // closed at the end of the check
}

// check has e, which is idle, checked in the background, aside meanwhile. ctx has
// the values for the check. The pool is locked.
func (p *Pool[T]) check(ctx context.Context, e *entry[T], i Info, t *trial[T]) {
	c := &call{began: p.since(), trial: t != nil}
	if t != nil {
		t.call = c
	}
	p.setAside(e)
	p.doctor.calls.add(c)
	p.busy++
	go p.checkAside(ctx, e, i, c, t)
}

// checkAside runs one check.
func (p *Pool[T]) checkAside(ctx context.Context, e *entry[T], i Info, c *call, t *trial[T]) {
	defer p.unbusy()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.cfg.MakeTimeout)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	defer time.AfterFunc(p.doctor.calls.limit, p.onOverdue).Stop()
	r := report{ill: ErrGoexit} // unless ask returns
	// Deferred, so that it happens also if Check ends this goroutine.
	defer func() {
		p.checked(e, c, t, &r)
		if r.told {
			p.traceCheck(i, r.took, r.ill)
		}
	}()
	r.took, r.ill = p.ask(ctx, e, i)
	r.cut = r.ill != nil && p.ctx.Err() != nil // Close has cut it short: nothing is known
	r.told = !r.cut
	r.kept = r.cut || p.passes(e, r.ill)
}

// report is what came of a check in the background.
type report struct {
	took time.Duration
	ill  error
	kept bool
	cut  bool
	told bool // Trace is to be told
}

// checked puts e where the report says.
func (p *Pool[T]) checked(e *entry[T], c *call, t *trial[T], r *report) {
	p.lock()
	defer p.unlock()
	d := &p.doctor
	since, suspect := e.since, d.suspect.Active()
	d.calls.remove(c)
	there := p.backFromAside(e)
	switch {
	case r.cut:
	case r.kept:
		if there { // before others that are readmitted
			p.lendChecked(e, t, suspect)
		}
		if r.ill == nil {
			p.checkPassed(since)
		}
	default:
		if there {
			p.retire(e, r.ill, &p.n.unhealthy)
		}
		p.checkFailed(since, r.took)
	}
	if t != nil {
		close(t.done)
	}
	p.slotFreed()
	if d.suspect.Active() && d.done() {
		p.trust()
	}
	p.serve()
	if e.place == shelf && p.waiters.n > 0 && !(p.ordered && p.matches()) {
		d.calls.countOut() // it came back and nobody can use it: so may the others
	}
	p.grow()
}

// lendChecked lends e, which is idle and whose check has just passed, to the
// caller that had it checked, or else to the first that waits and can use it;
// with a Queue, unlock sees to that. If e was suspect the waiter has no check of
// its own made: it waited for this one. The pool is locked.
func (p *Pool[T]) lendChecked(e *entry[T], t *trial[T], suspect bool) {
	if t != nil && !t.gone {
		p.shelf.remove(e)
		t.lease = p.lend(e, t.seat)
		return
	}
	if suspect {
		e.verified = max(1, p.nowTick())
	}
	if p.ordered {
		return
	}
	now := p.since()
	if w := p.nextFor(e, now); w != nil {
		p.grantIdle(e, w, now)
	}
}

// justVerified reports whether e has passed a check so recently, and not been
// lent since, that it was on its way to whoever is to get it. The pool is locked.
func (p *Pool[T]) justVerified(e *entry[T]) bool {
	return e.verified > 0 && p.nowTick()-e.verified <= 1
}

// onOverdue has another check begin in the stead of one that is overdue.
func (p *Pool[T]) onOverdue() {
	p.lock()
	defer p.unlock()
	p.doctor.calls.look(p.since())
	p.slotFreed()
	p.grow()
}

// slotFreed wakes the examiner if it waits for a check to end. The pool is
// locked.
func (p *Pool[T]) slotFreed() {
	select {
	case p.doctor.freed <- struct{}{}:
	default:
	}
}

// trialTime is how long an acquire with [Request.NoWait] lets a Health check
// take.
const trialTime = 10 * time.Millisecond

// try checks what *l holds for a caller that must not wait: longer than trialTime
// the check goes on without it, and the resource is the pool's. If it reports
// false and no error the caller may look for another.
func (p *Pool[T]) try(s *search[T], l *Lease[T], i Info) (ok bool, err error) {
	now := p.since()
	if s.until == 0 {
		s.until = now + trialTime
	}
	if !p.mayTry(s, now) {
		p.untouch(s, l, 0)
		return false, p.failure(ErrNoneIdle, 0)
	}
	t := &trial[T]{seat: s.seat, done: make(chan struct{})}
	e := p.takeBack(l)
	p.lock()
	p.startClock()
	if e.word.Doomed() || p.closed || p.live-p.dying > p.max {
		p.put(e, false) // retires it
		p.unlock()
		return false, nil
	}
	p.parkAgain(e, s.idle)
	p.check(s.ctx, e, i, t)
	p.unlock()
	timer := time.NewTimer(s.until - now)
	defer timer.Stop()
	select {
	case <-t.done:
	case <-timer.C:
	case <-s.ctx.Done():
	}
	if done := p.leaveTrial(t); t.lease.e != nil || done {
		*l = t.lease
		return l.e != nil, nil
	}
	if s.ctx.Err() != nil {
		return false, p.gaveUp(s)
	}
	return false, p.failure(ErrNoneIdle, 0)
}

// leaveTrial ends a caller's wait for the check that t is about. It reports
// whether that has ended; if not, what comes of it is the pool's.
func (p *Pool[T]) leaveTrial(t *trial[T]) (done bool) {
	p.lock()
	defer p.unlock()
	select {
	case <-t.done:
		return true
	default:
	}
	t.gone = true
	p.doctor.calls.endTrial(t.call)
	p.grow()
	return false
}

// mayTry reports whether a caller that must not wait may still have a check
// begun.
func (p *Pool[T]) mayTry(s *search[T], now time.Duration) bool {
	if now >= s.until {
		return false
	}
	p.lock()
	defer p.unlock()
	d := &p.doctor
	d.calls.look(now)
	return !d.full(p.max) && !d.stuck(p.max)
}
