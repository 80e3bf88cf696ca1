package resource

import "context"

// scanIdle has all idle resources that are due checked in the background. The pool
// is locked.
func (p *Pool[T]) scanIdle() {
	p.health.scanFrom(len(p.registry.all))
	p.startScan()
}

// startScan starts the goroutine of a scan unless it runs. The pool is locked.
func (p *Pool[T]) startScan() {
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

// scan starts the checks in the background, as many at once as may run: of the
// unverified resources first, then of those on the shelf that are due. It goes
// through pool.all from the end, as a sweep does.
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
		p.readmit()
	case d.stuck(p.cap.max): // until one of the overdue checks returns callers check for themselves
		x.at, x.n, d.from, d.sweep = 0, 0, 0, false
		p.endSuspicion()
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
		i.Idlers = p.idlers()
		p.startCheck(context.Background(), e, i, nil)
	case x.at < x.n && !d.sweep && !d.suspect.Active(): // the suspicion has ended
		x.at, x.n = 0, 0
	case x.at < x.n:
		c := &x.some[x.at]
		x.at++
		c.info.Idlers = p.idlers()
		p.unlock()
		if !p.policies.due(c.info) {
			return true
		}
		p.lock()
		if !p.closed && c.e.loc == inList && c.stillIdle() {
			p.startCheck(context.Background(), c.e, c.info, nil)
		}
	case d.from > 0:
		x.collect()
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
		p.endSuspicion()
	}
	p.unlock()
	return false
}

// collect gets the facts about the next few resources on the shelf, the longest
// idle first. The pool is locked.
func (x *scan[T]) collect() {
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

// idlers is how many are idle. The pool is locked.
func (p *Pool[T]) idlers() int {
	onSeats, _ := p.idle.slotLevels()
	return p.idle.list.n + p.offList() + onSeats
}
