package resource

import (
	"context"
	"time"

	"github.com/respool/respool/internal/growth"
)

// out is how many resources are with callers, or on the way between: what is
// idle on a seat while callers wait is about to be brought to them. The pool is
// locked.
func (p *Pool[T]) out() int { return p.live - p.making - p.dying - p.shelf.n - p.offShelf() }

// hopes reports whether something is out that could come back to a caller who
// asked for r and waits. The pool is locked.
func (p *Pool[T]) hopes(r *Request) bool { return !r.Fresh && !p.nothingOut() }

// nothingOut reports whether there is nothing that could come back to those who
// wait, but makes. The pool is locked.
func (p *Pool[T]) nothingOut() bool { return p.out() == 0 && !p.idleRecoverable() }

// grow begins the makes that are called for: for those who wait, for MinIdle
// and for Warm. It is called whenever something changed that it looks at. The
// pool is locked.
func (p *Pool[T]) grow() {
	if p.closed || p.ordered && p.matches() {
		return // arrange serves first, and then comes back
	}
	for range p.places(p.wanted()) {
		p.startMake(p.nextAsker())
	}
}

// wanted is how many makes to begin now, and how many of them for callers and
// not only to be ready. The pool is locked.
func (p *Pool[T]) wanted() (want, demand int) {
	now := time.Duration(-1) // read only if needed
	clock := func() time.Duration {
		if now < 0 {
			now = p.since()
		}
		return now
	}
	if p.waiters.n > 0 {
		p.dismiss(clock)
	}
	if p.waiters.n > 0 && p.choosy() {
		if wait := max(p.breaker.RetryAfter(clock()), p.barred-clock()); wait > 0 {
			p.growAgain(clock(), wait)
		} else if !p.breaker.Open() || p.live >= p.max {
			p.makeRoom()
		}
	}
	if p.waiters.n > 0 && p.unverified() > 0 {
		p.makeRoomFromUnverified(clock())
	}
	room := p.max - p.live
	if room <= 0 {
		p.roll(clock)
		return 0, 0
	}
	if p.breaker.Open() {
		return p.probe(clock())
	}
	again := time.Duration(0)
	if p.waiters.n > 0 {
		// What comes back is nothing to those who ask for Fresh: each gets a make.
		fresh := p.waiters.fresh
		coming, fewer := p.comingBack(clock())
		alone := min(max(0, fresh-p.making), room)
		demand, again = p.gauge.Want(growth.Facts{
			Now:      clock(),
			Waiting:  p.waiters.n - fresh,
			Coming:   max(0, p.making-fresh) + coming,
			Held:     p.out(),
			Returned: p.returned,
			Room:     room - alone,
		})
		demand += alone
		if fewer > 0 && (again == 0 || fewer < again) {
			again = fewer
		}
	}
	want = max(demand, p.ahead(demand))
	demand = max(demand, p.warmth())
	if want > 0 {
		if wait := p.barred - clock(); wait > 0 {
			want, again = 0, wait
		}
		want = min(want, room, p.breaker.Allowed(clock(), p.max)-p.making)
		if p.live == p.making+p.dying { // nothing says that makes go well
			want = min(want, blindMakes-p.making)
		}
		if p.refusals > 0 { // try with one whether the gate is open again
			want = min(want, 1-p.asking)
		}
	}
	if again > 0 {
		p.growAgain(clock(), again)
	}
	want = max(0, want)
	if want == 0 && p.mayRenew(clock) && p.heir() {
		want = 1
	}
	return want, min(want, demand)
}

// blindMakes is how many makes may run at once in a pool that has nothing that
// works, until one has succeeded: so that callers who come when a server is down
// do not all dial it. The rest then begin together, one make's time later.
const blindMakes = 50

// ahead is how many makes MinIdle and Warm call for, if want are begun for
// waiters. The pool is locked.
func (p *Pool[T]) ahead(want int) int {
	more := 0
	if p.cfg.MinIdle > 0 {
		idle, _ := p.seatLevels()
		spare := p.shelf.n + p.offShelf() + idle + max(0, p.making-p.waiters.n)
		more = want + p.cfg.MinIdle - spare
	}
	return max(more, p.warmth())
}

// warmth is how many makes Warm calls for. The pool is locked.
func (p *Pool[T]) warmth() (more int) {
	for _, w := range p.warming {
		more = max(more, w.n-(p.live-p.dying))
	}
	return more
}

// probe is wanted in an outage: the one make that is tried, when it is due and
// somebody wants it. The pool is locked.
func (p *Pool[T]) probe(now time.Duration) (want, demand int) {
	wait := p.breaker.RetryAfter(now)
	if p.waiters.n > 0 || p.sought {
		demand = 1
	} else if p.ahead(0) <= 0 {
		return 0, 0
	}
	wait = max(wait, p.barred-now)
	switch {
	case p.making > 0: // when it has ended grow is called
	case wait > 0:
		p.growAgain(now, wait)
	default:
		return 1, demand
	}
	return 0, 0
}

// nextAsker returns the context of the first waiter for whom no make was begun
// yet. The pool is locked.
func (p *Pool[T]) nextAsker() context.Context {
	for w := p.waiters.front; w != nil; w = w.next {
		if !w.asked {
			w.asked = true
			return w.ctx
		}
	}
	for _, w := range p.warming {
		return w.ctx
	}
	return context.Background()
}

// growAgain sees to it that grow is called after d. The pool is locked.
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
	p.serve()
	p.grow()
	p.unlock()
}
