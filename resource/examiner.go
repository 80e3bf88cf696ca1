package resource

import "context"

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
		now := p.nowTick()
		i := e.info(now, max(0, now-e.since))
		i.Idlers = p.idlers()
		p.check(context.Background(), e, i, nil)
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
	d.rounds, d.sweep, d.asking = false, false, false
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
	now := p.nowTick()
	for _, e := range p.all[d.from:upTo] {
		if e.place == shelf && !e.aside {
			idle := max(0, now-e.since)
			x.some[x.n] = suspect[T]{e: e, idle: idle, info: e.info(now, idle)}
			x.n++
		}
	}
	sortSuspects(x.some[:x.n])
}

// idlers is how many are idle. The pool is locked.
func (p *Pool[T]) idlers() int {
	onSeats, _ := p.seatLevels()
	return p.shelf.n + p.offShelf() + onSeats
}
