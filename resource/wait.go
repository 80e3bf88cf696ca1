package resource

import (
	"time"
)

// newWaiter makes one for s. A Queue may keep what it was given, so only
// without one are they used again: see freeWaiter.
func (p *Pool[T]) newWaiter(s *search[T], now time.Duration) *waiter[T] {
	if !s.waited {
		s.waited, s.start = true, now
		p.counts.waited++
	}
	w, _ := p.spareWaiters.Get().(*waiter[T])
	if w == nil {
		w = &waiter[T]{ready: make(chan struct{}, 1)}
		w.owner = w
	}
	w.Request, w.Since, w.Deadline = s.r, s.start, s.deadline
	w.turn, w.ctx, w.deadline, w.min, w.slot = s.turn, s.ctx, s.deadline, s.min, s.slot
	return w
}

// freeWaiter is called when w has left the queue and its owner has what it got.
// It clears the references: a Queue may retain w after popping it, and the
// context of w may lead to all that the caller has.
func (p *Pool[T]) freeWaiter(w *waiter[T]) {
	if p.ordered {
		w.ctx, w.lease, w.err, w.next = nil, Lease[T]{}, nil, nil
		return
	}
	// Field by field, since the assignment of a whole zero waiter would copy it
	// twice. newWaiter sets the other fields, or they were reset when w left the
	// queue.
	w.Request, w.ctx, w.next, w.lease, w.err = Request{}, nil, nil, Lease[T]{}, nil
	w.verified, w.idle, w.passed, w.rejected, w.seen = false, 0, 0, false, 0
	p.spareWaiters.Put(w)
}

// await waits until w is served or refused, or its context ends, and puts what
// it got in *l.
func (p *Pool[T]) await(s *search[T], w *waiter[T], l *Lease[T]) error {
	select {
	case <-w.ready:
	case <-s.done:
		p.lock()
		if w.waiting() {
			p.depart(w, p.clock.now())
			p.unlock()
		} else {
			p.unlock()
			<-w.ready // whoever took it out of the line is about to send
		}
	}
	p.handOff.ran(&w.handOff)
	s.turn, s.idle, s.verified = w.turn, w.idle, w.verified
	s.lasted, s.counted = w.lasted, w.err != nil
	lease, err, rejected := w.lease, w.err, w.rejected
	p.freeWaiter(w)
	if err != nil {
		if rejected {
			p.trace.rejected(s.ctx, err)
		}
		return err
	}
	// A caller whose context has ended will not use what it got: it goes to
	// the next one (I8).
	if s.ctx.Err() != nil {
		if lease.e != nil {
			p.drop(lease, nil)
		}
		return p.gaveUp(s)
	}
	*l = lease
	return nil
}

// gaveUp makes the error of an acquire that ends with its context.
func (p *Pool[T]) gaveUp(s *search[T]) error {
	return p.failure(endReason(s.ctx), ctxError(s.ctx), p.waitedFor(s))
}

func (p *Pool[T]) waitedFor(s *search[T]) time.Duration {
	if !s.waited {
		return 0
	}
	return p.clock.now() - s.start
}

// depart takes w out of the queue. The pool is locked.
func (p *Pool[T]) depart(w *waiter[T], now time.Duration) {
	popped := w.popped
	p.waiters.remove(w)
	w.lasted = now - w.Since
	if p.waiters.n == 0 {
		p.maker.gauge.Clear()
	}
	if p.cap.claimed > p.waiters.n {
		n := max(p.waiters.n, p.warmth())
		if p.maker.sought {
			n = max(n, 1)
		}
		p.cap.lowerClaim(n, p.waiters.n == 0)
	}
	if p.ordered && !popped {
		p.queue.left(w)
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
	p.wake(w)
}

// refuse turns w away. The pool is locked.
func (p *Pool[T]) refuse(w *waiter[T], err error, now time.Duration) {
	p.depart(w, now)
	w.err = err
	p.wake(w)
}

func (p *Pool[T]) wake(w *waiter[T]) {
	if w.err != nil {
		p.counts.waits.fail(w.lasted)
	}
	w.next, p.woken = p.woken, w
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

// failure makes the error of an acquire.
func (p *Pool[T]) failure(reason Reason, err error, waited time.Duration) error {
	retry := p.guard.retryAfter(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failureLocked(reason, err, waited, retry)
}

// failureLocked is failure with the pool locked: it calls no method of err.
func (p *Pool[T]) failureLocked(reason Reason, err error, waited, retry time.Duration) *AcquireError {
	a := &AcquireError{Err: err, Reason: reason, Waited: waited, RetryAfter: max(0, retry), LastMake: p.maker.last}
	a.Load, _ = p.load()
	if retry > 0 {
		a.retryAt = time.Now().Add(retry)
	}
	return a
}
