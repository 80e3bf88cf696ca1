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

// grantIdle leases e, which is on the shelf, to w. The pool is locked.
func (p *Pool[T]) grantIdle(e *entry[T], w *waiter[T], now time.Duration) {
	p.idle.list.remove(e)
	w.idle = max(0, int64(now/tickLen)-e.since)
	p.grant(e, w, now)
}

// grant leases e, which is in the pool's hands, to w. The pool is locked.
func (p *Pool[T]) grant(e *entry[T], w *waiter[T], now time.Duration) {
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

// nextFor returns the waiter to get e; nil if none waits that can use it. The
// pool is locked, and has no Queue.
func (p *Pool[T]) nextFor(e *entry[T], now time.Duration) *waiter[T] {
	w, more := p.waiters.first(e.reach(), now)
	p.lookAgain(more, now)
	return w
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
		p.grantIdle(p.idle.first(&w.Request), w, now)
	}
	p.more = true
}
