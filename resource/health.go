package resource

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/suspicion"
)

// A Health check runs on the caller's goroutine as long as no idle resource is
// suspect. Failed checks make every resource suspect that was idle before them
// (see internal/suspicion). A suspect resource that is due for a check is not lent
// before it has passed one: the caller that finds it moves it to the list of
// unverified resources and continues; if nothing else is idle the caller waits in
// the queue. The pool then creates resources for the waiters, as far as there is
// room, and checks the unverified ones in the background, a bounded number at
// once. A waiter gets whichever is ready first.

// health decides from the outcomes of checks whether idle resources are suspect, and
// how far the background checks have come. Its user holds the pool's lock.
type health[T any] struct {
	suspect    suspicion.Suspicion
	alert      atomic.Bool   // a passed check could change suspect: then it is reported under the lock
	since      time.Duration // when the suspicion began
	unverified idleList[T]   // suspect, found due for a check, and not yet checked
	checks     *callList     // constant: the checks that run in the background

	// Of the goroutine that starts the checks: see scan.
	scanning bool          // it runs
	sweep    bool          // it continues even if nothing is suspect
	ended    time.Duration // when the last scan for a sweep ended
	from     int           // resources of the registry before this index are not looked at yet
	asking   bool          // it has collected resources about which Due is not asked yet
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

// over reports whether a suspicion is active and has nothing left to check.
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

// startSweep reports whether a sweep is to start a scan of the idle resources, which the end
// of a suspicion does not end. It does not if the scan of the last sweep still runs, or has
// ended less than half an interval ago: that scan takes long, and another would leave no time
// between two checks of one resource.
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

// checkFailedLocked records a failed check of a resource that had been idle since that
// tick.
func (p *Pool[T]) checkFailedLocked(since int64, took time.Duration) {
	if p.health.failed(p.clock.now(), since, took, p.maker.gauge.Usual()) {
		p.health.scanFrom(len(p.registry.all))
		p.startScanLocked()
	}
}

// checkPassedLocked records a passed check.
func (p *Pool[T]) checkPassedLocked(since int64) {
	if p.health.passed(p.clock.now(), since) {
		p.endSuspicionLocked()
	}
}

// endSuspicionLocked ends the suspicion.
func (p *Pool[T]) endSuspicionLocked() {
	if p.health.end() {
		p.readmitLocked()
		p.startScanLocked() // to readmit the rest
		p.health.wake()
	}
}

// minSuspicion is the least time that the checks have before unverified resources make room.
const minSuspicion = 100 * time.Millisecond

// readmitLocked puts some unverified resources back in the idle list, below those used
// since.
func (p *Pool[T]) readmitLocked() {
	d := &p.health
	for n := 0; n < sweepChunk && d.unverified.n > 0; n++ {
		e := d.unverified.first(NewestFirst, nil)
		d.unverified.remove(e)
		p.idle.list.pushUnder(e)
	}
	p.serveLocked()
	p.changed = true
}

// holdBackLocked moves e, which is the caller's to move and has been idle since that
// tick, to the unverified resources if it is suspect and will be lent again. It reports
// whether it did.
func (p *Pool[T]) holdBackLocked(e *entry[T], since int64) bool {
	d := &p.health
	if !d.suspect.Covers(since) || !e.lendable(&p.cap) {
		return false
	}
	p.idle.leaveSlot(e)
	d.hold(e, since, p.cfg.Order)
	p.startScanLocked()
	return true
}

// startScanLocked starts the goroutine of a scan unless it runs.
func (p *Pool[T]) startScanLocked() {
	if d := &p.health; !d.scanning && !p.closed {
		d.scanning = true
		p.busy++
		go func() {
			defer p.unbusy()
			x := &scan[T]{p: p}
			persist(x.step)
		}()
	}
}

// scan starts the checks in the background, as many at once as may run: of the unverified
// resources first, then of those in the idle list that are due. It walks the registry as a
// sweep does.
type scan[T any] struct {
	p     *Pool[T]
	some  [sweepChunk]candidate[T]
	n, at int // Due is still to be asked about some[at:n]
}

// step starts one check, collects candidates, or waits for a check to end. It
// returns false when there is nothing left to do.
func (x *scan[T]) step() bool {
	p, d := x.p, &x.p.health
	p.lock()
	p.calls.checks.look(p.clock.now())
	d.asking = x.at < x.n
	switch {
	case p.closed:
		d.scanning = false
		p.unlock()
		return false
	case d.unverified.n > 0 && !d.suspect.Active():
		p.readmitLocked()
	case d.stuck(p.cap.max): // callers check for themselves until an overdue check returns
		x.at, x.n, d.from, d.sweep = 0, 0, 0, false
		p.endSuspicionLocked()
		if d.unverified.n == 0 {
			return x.stop()
		}
	case d.full(p.cap.max):
		p.unlock()
		select {
		case <-d.freed:
		case <-p.ctx.Done():
		}
		return true
	case d.unverified.n > 0:
		e := d.unverified.first(p.cfg.Order, nil)
		d.unverified.remove(e)
		p.idle.list.pushUnder(e)
		now := p.clock.nowTick()
		i := e.info(now, max(0, now-e.since))
		i.Idlers = p.idlersLocked()
		p.startCheckLocked(context.Background(), e, i, nil)
	case x.at < x.n && !d.sweep && !d.suspect.Active(): // the suspicion has ended
		x.at, x.n = 0, 0
	case x.at < x.n:
		c := &x.some[x.at]
		x.at++
		c.info.Idlers = p.idlersLocked()
		p.unlock()
		if !p.policies.due(c.info) {
			return true
		}
		p.lock()
		if !p.closed && c.e.loc == inList && c.stillIdle() {
			p.startCheckLocked(context.Background(), c.e, c.info, nil)
		}
	case d.from > 0:
		x.collectLocked()
	default:
		return x.stop()
	}
	p.unlock()
	return true
}

// stop ends the scan. The pool is locked; stop unlocks it.
func (x *scan[T]) stop() bool {
	p, d := x.p, &x.p.health
	if d.sweep {
		d.ended = p.clock.now()
	}
	d.scanning, d.sweep, d.asking = false, false, false
	if d.over(p.clock.now()) {
		p.endSuspicionLocked()
	}
	p.unlock()
	return false
}

// collectLocked gets the facts about the next few resources in the idle list, the longest
// idle first.
func (x *scan[T]) collectLocked() {
	p, d := x.p, &x.p.health
	x.n, x.at = 0, 0
	some, first := p.registry.before(d.from, sweepChunk)
	d.from = first
	now := p.clock.nowTick()
	for _, e := range some {
		if e.loc == inList && !e.reserved && !e.discarded() {
			idle := max(0, now-e.since)
			x.some[x.n] = candidate[T]{e: e, idle: idle, info: e.info(now, idle)}
			x.n++
		}
	}
	sortCandidates(x.some[:x.n])
}

// checkOp is one check in the background. The resource is reserved meanwhile.
type checkOp[T any] struct {
	p    *Pool[T]
	e    *entry[T]
	info Info
	call *call
	wait *noWaitCheck[T] // of the acquire that waits for it; nil: none

	took     time.Duration
	ill      error // why the check failed
	kept     bool  // it passed, or its failure is tolerated
	cut      bool  // Close has ended its context: the outcome says nothing
	returned bool  // it did not end its goroutine
}

// startCheckLocked starts a check of e, which is in the idle list. The check's context
// has the values of ctx. If w is not nil, its caller gets e.
func (p *Pool[T]) startCheckLocked(ctx context.Context, e *entry[T], i Info, w *noWaitCheck[T]) {
	op := &checkOp[T]{p: p, e: e, info: i, wait: w, ill: ErrGoexit}
	op.call = &call{began: p.clock.now(), awaited: w != nil}
	if w != nil {
		w.call = op.call
	}
	p.idle.reserve(e)
	p.calls.checks.add(op.call)
	if p.health.suspect.Covers(e.since) {
		p.calls.checks.slowDown(op.call)
	}
	p.busy++
	go op.run(ctx)
}

// run runs the check.
func (op *checkOp[T]) run(ctx context.Context) {
	p := op.p
	defer p.unbusy()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.cfg.checkTimeout())
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	defer time.AfterFunc(p.calls.checks.limit, op.overdue).Stop()
	// Deferred, so that it happens also if Check ends this goroutine.
	defer func() {
		op.done()
		if op.returned && !op.cut {
			p.trace.checked(op.info, op.took, op.ill)
		}
	}()
	began := p.clock.now()
	op.ill = ErrGoexit
	op.ill = p.policies.check(ctx, op.e.value, op.info)
	op.took = p.clock.now() - began
	op.returned = true
	op.cut = op.ill != nil && p.ctx.Err() != nil
	op.kept = op.cut || p.policies.passes(op.e, op.ill, p.clock.ticks())
}

// done ends the check: it lends the resource, unreserves it or retires it.
func (op *checkOp[T]) done() {
	p, e, w := op.p, op.e, op.wait
	p.lock()
	defer p.unlock()
	d := &p.health
	since, suspect := e.since, d.suspect.Active()
	p.calls.checks.remove(op.call)
	there := p.unreserveLocked(e)
	switch {
	case op.cut:
	case op.kept:
		if there { // before the end of the suspicion, which lends the other idle resources
			op.lendLocked(suspect)
		}
		if op.ill == nil {
			p.checkPassedLocked(since)
		}
	default:
		if there {
			p.retireLocked(e, op.ill, fateUnhealthy)
		}
		p.checkFailedLocked(since, op.took)
	}
	if w != nil {
		close(w.done)
	}
	d.wake()
	if d.over(p.clock.now()) {
		p.endSuspicionLocked()
	}
	p.serveLocked()
	if e.loc == inList && p.waiters.n > 0 && !(p.mode.ordered && p.matchesLocked()) {
		p.calls.checks.markSlow() // no waiter can use e: do not count on the others either
	}
	p.changed = true
}

// lendLocked lends the resource, which has just passed, to the acquire that waits for the
// check, else to the first waiter that can use it; with a Queue, dispatch does. If the
// resource was suspect the waiter does not check it again: it waited for this check.
func (op *checkOp[T]) lendLocked(suspect bool) {
	p, e := op.p, op.e
	if w := op.wait; w != nil && !w.left {
		p.idle.list.remove(e)
		w.lease = p.lendLocked(e, w.slot)
		return
	}
	if suspect {
		e.verified = max(1, p.clock.nowTick())
	}
	if p.mode.ordered {
		return
	}
	now := p.clock.now()
	w := p.firstWaiterLocked(e.reach(), now)
	if w != nil {
		p.grantLocked(e, w, now)
	}
}

// overdue lets another check begin in place of one that is overdue.
func (op *checkOp[T]) overdue() {
	p := op.p
	p.lock()
	defer p.unlock()
	p.calls.checks.look(p.clock.now())
	p.health.wake()
	p.changed = true
}

// call is one call of a user function about an idle resource: a Health check in the
// background, OnRelease, or the check of a ReleaseAfter.
type call struct {
	began         time.Duration
	awaited       bool // an acquire with NoWait waits for it
	left          bool // the acquire does not wait any more
	slow, overdue bool
	prev, next    *call
}

// callList is the calls of one kind that run, in the order in which they began. It
// counts those that take long: look moves each call into a count at most once.
// Its user holds the pool's lock.
type callList struct {
	limit       time.Duration // from which a call is overdue
	slowAfter   time.Duration // from which a call is slow
	front, back *call
	n           int
	awaited     int   // calls for which an acquire with NoWait waits
	left        int   // calls for which an acquire with NoWait does not wait any more
	slow        int   // calls that have run for that long
	overdue     int   // calls that have outlived their context
	notSlow     *call // the first that is not slow
	notOverdue  *call // the first that is not overdue
}

// slowAfter is how long a call about an idle resource may take before growth stops
// counting on its end. A packet that was lost once has been sent again by then:
// TCP's first retransmission waits for at most a second.
const slowAfter = 1500 * time.Millisecond

// callGrace is how much longer than its context a call may take.
func callGrace(timeout time.Duration) time.Duration { return min(timeout/10, time.Second) }

func (l *callList) add(c *call) {
	c.prev = l.back
	if l.back == nil {
		l.front = c
	} else {
		l.back.next = c
	}
	l.back = c
	if l.notSlow == nil {
		l.notSlow = c
	}
	if l.notOverdue == nil {
		l.notOverdue = c
	}
	l.n++
	if c.awaited {
		l.awaited++
	}
}

func (l *callList) remove(c *call) {
	if c.prev == nil {
		l.front = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		l.back = c.prev
	} else {
		c.next.prev = c.prev
	}
	if l.notSlow == c {
		l.notSlow = c.next
	}
	if l.notOverdue == c {
		l.notOverdue = c.next
	}
	if c.slow {
		l.slow--
	}
	if c.overdue {
		l.overdue--
	}
	if c.awaited {
		l.awaited--
	}
	if c.left {
		l.left--
	}
	l.n--
}

// leave notes that no acquire waits for c any more.
func (l *callList) leave(c *call) {
	c.awaited, c.left = false, true
	l.awaited--
	l.left++
}

// look brings the counts up to date. next is after how long one more call becomes
// slow; 0: never.
func (l *callList) look(now time.Duration) (next time.Duration) {
	for l.notOverdue != nil && now-l.notOverdue.began >= l.limit {
		l.notOverdue.overdue = true
		l.overdue++
		l.notOverdue = l.notOverdue.next
	}
	for l.notSlow != nil && now-l.notSlow.began >= l.slowAfter {
		l.slowDown(l.notSlow)
		l.notSlow = l.notSlow.next
	}
	if l.notSlow != nil {
		next = l.notSlow.began + l.slowAfter - now
	}
	return next
}

// slowDown counts c as slow.
func (l *callList) slowDown(c *call) {
	if !c.slow {
		c.slow = true
		l.slow++
	}
}

// markSlow counts every call that runs as slow.
func (l *callList) markSlow() {
	for ; l.notSlow != nil; l.notSlow = l.notSlow.next {
		l.slowDown(l.notSlow)
	}
}

// checkBound is how many checks run at once in the background of a pool of that
// maximum, and how many more may be overdue.
func checkBound(size int) int { return min(maxChecks, max(1, size/4)) }

const maxChecks = 8

// userCalls has the calls of user functions about idle resources that run. Its user
// holds the pool's lock.
type userCalls struct {
	clock    *clock   // constant
	checks   callList // Health checks in the background
	resets   callList // of OnRelease
	vettings callList // of the checks that ReleaseAfter was given
}

// offList is how many idle resources are in no list because OnRelease or the check of
// a ReleaseAfter runs for them.
func (c *userCalls) offList() int { return c.resets.n + c.vettings.n }

// comingBack is how many of the idle resources for which a user function runs are
// likely to serve a waiter soon: not those for which it has run for long, and not
// suspect ones that are checked. reserved are those in the idle list. again is after
// how long the number falls unless a call ends before; 0: never.
func (c *userCalls) comingBack(now time.Duration, reserved int) (n int, again time.Duration) {
	n = reserved + c.offList()
	for _, l := range []*callList{&c.checks, &c.resets, &c.vettings} {
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

// overdue is how many calls have outlived their contexts, or would have if they had
// one that ends.
func (c *userCalls) overdue() int {
	if c.checks.n+c.offList() == 0 {
		return 0
	}
	now := c.clock.now()
	c.checks.look(now)
	c.resets.look(now)
	c.vettings.look(now)
	return c.checks.overdue + c.resets.overdue + c.vettings.overdue
}

// recoverable reports whether a resource may still serve a waiter when the call for it
// has returned. reserved are those in the idle list.
func (c *userCalls) recoverable(reserved int) bool {
	n := reserved + c.offList()
	return n > 0 && n > c.overdue()
}
