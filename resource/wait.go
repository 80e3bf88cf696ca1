package resource

import (
	"time"
)

// depart takes w out of the queue. The pool is locked.
func (p *Pool[T]) depart(w *waiter[T], now time.Duration) {
	p.waiters.leave(w, now)
	if p.waiters.n == 0 {
		p.maker.gauge.Clear()
	}
	if p.cap.claimed > p.waiters.n {
		n := max(p.waiters.n, p.maker.warmth(p.exist(), p.cap.max))
		if p.maker.sought {
			n = max(n, 1)
		}
		p.cap.lowerClaim(n, p.waiters.n == 0)
	}
}

// grant leases e, which is in the idle list or the caller's to move, to w. The pool is
// locked.
func (p *Pool[T]) grant(e *entry[T], w *waiter[T], now time.Duration) {
	if e.loc == inList {
		p.idle.list.remove(e)
		w.idle = max(0, int64(now/tickLen)-e.since)
	}
	p.depart(w, now)
	e.granted = now
	w.verified = e.justVerified(p.clock.nowTick())
	w.idle = max(w.idle, p.clock.tick.Load()-e.since) // it may have been given back unused
	w.lease = p.lend(e, w.slot)
	p.waiters.wake(w)
}

// refuse turns w away. The pool is locked.
func (p *Pool[T]) refuse(w *waiter[T], err error, now time.Duration) {
	p.depart(w, now)
	w.err = err
	p.counts.waits.fail(w.lasted)
	p.waiters.wake(w)
}

// lookAgain sees to what waiters.first has left: whether it is to be called
// again, and those that have expired, which may be there still. The pool is
// locked.
func (p *Pool[T]) lookAgain(more bool, now time.Duration) {
	p.more = p.more || more
	if p.waiters.late.n > 0 {
		p.growAgain(now, lateFor)
	}
}

// serve lends what is idle to those who wait, as far as both go together. With
// a Queue, unlock sees to it. The pool is locked.
func (p *Pool[T]) serve() {
	if p.ordered || p.waiters.n == 0 || p.idle.available() == 0 {
		return
	}
	now := p.clock.now()
	for range maxPerHold {
		w, more := p.waiters.first(p.idle.list.reach(), now)
		if w == nil {
			p.lookAgain(more, now)
			return
		}
		p.grant(p.idle.first(&w.Request), w, now)
	}
	p.more = true
}
