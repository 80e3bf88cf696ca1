package resource

import (
	"context"
	"time"
)

// out is how many resources are with callers, or on the way between: what is
// idle on a slot while callers wait is about to be brought to them. The pool is
// locked.
func (p *Pool[T]) leased() int {
	return p.cap.live - p.maker.creating - p.cap.dying - p.idle.list.n - p.offList()
}

// hopes reports whether something is out that could come back to a caller who
// asked for r and waits. The pool is locked.
func (p *Pool[T]) recoverable(r *Request) bool { return !r.Fresh && !p.nothingOut() }

// nothingOut reports whether there is nothing that could come back to those who
// wait, but makes. The pool is locked.
func (p *Pool[T]) nothingOut() bool {
	return p.leased() == 0 && !(p.health.unverified.n > 0 || p.calls.recoverable(len(p.idle.reserved)))
}

// maxPerHold is how many waiters are served or refused, how many makes begun and
// how many resources retired under one hold of the lock. What is left over is
// done by work, under holds of its own (I12).
const maxPerHold = 32

// dispatch serves waiters with what is idle, and begins the makes that are
// called for. The pool is locked.
func (p *Pool[T]) serveAndGrow() {
	if p.closed || p.waiters.refusing.err != nil {
		p.refuseWaiters()
	}
	p.serve()
	p.grow()
}

// work dispatches until nothing is left over. It runs on a goroutine of the
// pool's own.
func (p *Pool[T]) work() {
	for {
		p.mu.Lock() // not lock: it would count as a caller
		if !p.more {
			p.working = false
			p.busy--
			p.unlock()
			return
		}
		p.more = false
		p.serveAndGrow()
		p.unlock()
	}
}

// grow begins the makes that are called for: for those who wait, for MinIdle
// and for Warm. It is called whenever something changed that it looks at. The
// pool is locked.
func (p *Pool[T]) grow() {
	if p.closed || p.ordered && p.matches() {
		return // arrange serves first, and then comes back
	}
	if p.idles() || p.settledFull() {
		return
	}
	now := p.clock.now()
	if p.waiters.n > 0 {
		p.dismiss(now)
		p.makeWay(now)
		if p.health.unverified.n > 0 {
			p.makeRoomFromUnverified(now)
		}
	}
	s := p.supply(now)
	fewer := time.Duration(0)
	if s.waiting > 0 {
		s.aside, fewer = p.calls.comingBack(now, len(p.idle.reserved))
	}
	d := p.maker.decide(s)
	if fewer > 0 && (d.again == 0 || fewer < d.again) {
		d.again = fewer
	}
	if d.again > 0 {
		p.growAgain(now, d.again)
	}
	want := d.total()
	n := min(want, maxPerHold)
	got := p.cap.take(n, min(n, d.demand()), p.waiters.n == 0)
	callers := d.callers
	d.limit(got)
	if got == maxPerHold && want > got {
		p.more = true
		p.maker.putOff = callers - d.callers
	}
	p.maker.gauge.Began(d.callers)
	for range d.callers {
		m := p.maker.forWarm
		if ctx := p.waiters.asker(); ctx != nil {
			m = func() *creation[T] { return newCreation[T](ctx) }
		}
		p.startCreation(m(), &p.counts.begun.Callers)
	}
	for range d.warm {
		p.startCreation(p.maker.forWarm(), &p.counts.begun.Warm)
	}
	for range d.missed {
		p.startCreation(newCreation[T](context.Background()), &p.counts.begun.NoWait)
	}
	for range d.ready {
		p.startCreation(newCreation[T](context.Background()), &p.counts.begun.MinIdle)
	}
	if want == 0 {
		p.renew(now)
	}
}

// idles reports whether there is nothing that a make could be for, so that no
// clock need be read. The pool is locked.
func (p *Pool[T]) idles() bool {
	return p.waiters.n == 0 && len(p.maker.warming) == 0 && p.cfg.MinIdle == 0 && p.cap.claimed == 0 &&
		!p.maker.missed && !p.maker.sought && !p.maker.owed && len(p.maker.fading) == 0
}

// settledFull reports whether the pool has as many resources as it may, and
// nothing is to be done about that: the usual case where many callers wait. The
// pool is locked.
func (p *Pool[T]) settledFull() bool {
	k := &p.maker
	return p.cap.full() && !p.hasConstraints() && p.health.unverified.n == 0 && p.cap.claimed == 0 && len(p.maker.fading) == 0 &&
		!k.breaker.Open() && k.barred == 0
}

// supply is what the pool has and what is asked of it. The pool is locked.
func (p *Pool[T]) supply(now time.Duration) supply {
	s := supply{
		now:      now,
		max:      p.cap.max,
		live:     p.cap.live,
		dying:    p.cap.dying,
		idle:     p.idle.list.n + p.offList(),
		held:     p.leased(),
		returned: p.counts.returned,
		waiting:  p.waiters.active(),
		fresh:    p.waiters.fresh(),
		warm:     p.maker.warmth(p.exist(), p.cap.max),
	}
	if p.cfg.MinIdle > 0 {
		onSeats, _ := p.idle.slotLevels()
		s.idle += onSeats
	}
	return s
}

// makeWay retires idle resources that nobody who waits can use, if makes may
// begin and the pool is full of them. The pool is locked.
func (p *Pool[T]) makeWay(now time.Duration) {
	if !p.hasConstraints() {
		return
	}
	k := &p.maker
	if wait := max(k.breaker.RetryAfter(now), k.barred-now); wait > 0 {
		p.growAgain(now, wait)
	} else if !k.breaker.Open() || p.cap.full() {
		p.makeRoom()
	}
}

// growAgain sees to it that dispatch is called after d. The pool is locked.
func (p *Pool[T]) growAgain(now, d time.Duration) {
	at := plus(now, d)
	if p.growAt != 0 && p.growAt <= at && p.growAt > now {
		return
	}
	p.growAt = at
	if p.grower == nil {
		p.grower = time.AfterFunc(d, p.onGrow)
	} else {
		p.grower.Reset(d)
	}
}

func (p *Pool[T]) onGrow() {
	p.lock()
	p.growAt = 0
	if p.waiters.late.n > 0 {
		now := p.clock.now()
		if at := p.waiters.revive(now); at > 0 {
			p.growAgain(now, max(1, at-now))
		}
	}
	p.serveAndGrow()
	p.unlock()
}
