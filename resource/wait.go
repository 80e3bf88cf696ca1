package resource

import (
	"context"
	"errors"
	"time"
)

// Waiter is a caller that waits, as a [Queue] sees it.
type Waiter struct {
	Request Request       // what it asked for
	Since   time.Duration // when it began to wait, since the pool was made
	owner   any           // its *waiter[T]
}

// waiter is a caller that waits. Its owner is the waiting goroutine; the pool
// has it from insert until it sends on ready or the owner takes it back.
type waiter[T any] struct {
	Waiter
	ready chan struct{} // holds one

	// Set before it is in the line, then constant.
	ctx      context.Context
	deadline time.Duration // ctx's, on the pool's clock; 0: none
	seat     int
	joined   time.Duration

	// Guarded by the pool's lock.
	turn       uint64 // its place in the line
	waiting    bool   // in the line
	asked      bool   // a make was begun for it
	popped     bool   // the Queue has given it out
	passed     int    // how often others were served before it
	prev, next *waiter[T]
	lease      Lease[T] // what it got
	idle       int64    // for how many ticks that was idle
	err        error    // or why nothing
	rejected   bool     // a policy refused it

	// Of its hand-off, set by observeHandOff; its owner's once it is woken.
	releaser *pause        // who waits until it runs; nil: nobody
	served   time.Duration // when it was served; 0: it does not report when it ran
	heldFor  time.Duration // how long the resource was held before
}

// waitList is the callers that wait, the one that came first in front.
type waitList[T any] struct {
	front, back *waiter[T]
	n           int
	fresh       int // of them, who ask for Fresh
	turns       uint64
	cursor      *waiter[T] // where an inspection goes on
}

// mayPass reports whether a caller with that turn, 0 for a new one, may take
// what is idle: nobody waits who came before.
func (l *waitList[T]) mayPass(turn uint64) bool {
	return l.front == nil || turn != 0 && turn < l.front.turn
}

// insert puts w in its place: at the end, or where it was if it has a turn.
func (l *waitList[T]) insert(w *waiter[T]) {
	if w.turn == 0 {
		l.turns++
		w.turn = l.turns
	}
	after := l.back
	for after != nil && after.turn > w.turn {
		after = after.prev
	}
	w.prev = after
	if after == nil {
		w.next, l.front = l.front, w
	} else {
		w.next, after.next = after.next, w
	}
	if w.next == nil {
		l.back = w
	} else {
		w.next.prev = w
	}
	w.waiting = true
	l.n++
	if w.Request.Fresh {
		l.fresh++
	}
}

func (l *waitList[T]) remove(w *waiter[T]) {
	if l.cursor == w {
		l.cursor = w.next
	}
	if w.prev == nil {
		l.front = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.back = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	w.waiting = false
	l.n--
	if w.Request.Fresh {
		l.fresh--
	}
}

// newWaiter makes one for s. A Queue may keep what it was given, so only
// without one are they used again: see freeWaiter.
func (p *Pool[T]) newWaiter(s *search[T], now time.Duration) *waiter[T] {
	if !s.waited {
		s.waited, s.start = true, now
		p.n.waited++
	}
	w, _ := p.idle.Get().(*waiter[T])
	if w == nil {
		w = &waiter[T]{ready: make(chan struct{}, 1)}
		w.owner = w
	}
	w.Request, w.Since, w.joined = s.r, s.start, now
	w.turn, w.ctx, w.deadline, w.seat = s.turn, s.ctx, s.deadline, s.seat
	return w
}

// freeWaiter is called when w has left the line and its owner has what it got.
// Whoever keeps it then, as a Queue does that cuts its first off a slice, keeps
// nothing of the caller's, whose context may lead to all that the caller has.
func (p *Pool[T]) freeWaiter(w *waiter[T]) {
	if p.ordered {
		w.ctx, w.lease, w.err, w.next = nil, Lease[T]{}, nil, nil
		return
	}
	ready, owner := w.ready, w.owner
	*w = waiter[T]{ready: ready}
	w.owner = owner
	p.idle.Put(w)
}

// await waits until w is served or refused, or its context ends, and puts what
// it got in *l.
func (p *Pool[T]) await(s *search[T], w *waiter[T], l *Lease[T]) error {
	select {
	case <-w.ready:
	case <-s.ctx.Done():
		p.lock()
		if w.waiting {
			p.depart(w, p.since())
			p.unlock()
		} else {
			p.unlock()
			<-w.ready // whoever took it out of the line is about to send
		}
	}
	p.running(w)
	s.turn, s.idle = w.turn, w.idle
	lease, err, rejected := w.lease, w.err, w.rejected
	p.freeWaiter(w)
	if err != nil {
		if f := p.cfg.Trace.Rejected; rejected && f != nil {
			_ = p.guard("Trace", func() { f(s.ctx, err) })
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

// gaveUp counts an acquire that ends with its context, and makes its error.
func (p *Pool[T]) gaveUp(s *search[T]) error {
	p.mu.Lock()
	p.n.canceled++
	p.mu.Unlock()
	return p.failure(ctxError(s.ctx), p.waitedFor(s))
}

func (p *Pool[T]) waitedFor(s *search[T]) time.Duration {
	if !s.waited {
		return 0
	}
	return p.since() - s.start
}

// depart takes w out of the line. The pool is locked.
func (p *Pool[T]) depart(w *waiter[T], now time.Duration) {
	p.waiters.remove(w)
	p.n.waitTime += now - w.joined
	if p.waiters.n == 0 {
		p.gauge.Clear()
	}
	if p.claimed > p.waiters.n {
		p.claimLess()
	}
	if p.ordered {
		p.queue.left(w)
	}
}

// grantIdle leases e, which is on the shelf, to w. The pool is locked.
func (p *Pool[T]) grantIdle(e *entry[T], w *waiter[T], now time.Duration) {
	p.shelf.remove(e)
	w.idle = max(0, int64(now/tickLen)-e.since)
	p.grant(e, w, now)
}

// grant leases e, which is in the pool's hands, to w. The pool is locked.
func (p *Pool[T]) grant(e *entry[T], w *waiter[T], now time.Duration) {
	p.depart(w, now)
	e.granted = now
	w.lease = p.lend(e, w.seat)
	p.wake(w)
}

// refuse turns w away. The pool is locked.
func (p *Pool[T]) refuse(w *waiter[T], err error) {
	p.depart(w, p.since())
	w.err = err
	p.wake(w)
}

func (p *Pool[T]) wake(w *waiter[T]) {
	w.next, p.woken = p.woken, w
}

// refuseAll turns everybody away who waits, with the error that because makes
// of how long each has waited. The pool is locked.
func (p *Pool[T]) refuseAll(because func(waited time.Duration) error) {
	p.refuseSome(func(*waiter[T]) bool { return true }, because)
}

// refuseSome turns away those who wait and for whom no is true. The pool is
// locked.
func (p *Pool[T]) refuseSome(no func(*waiter[T]) bool, because func(waited time.Duration) error) {
	now := p.since()
	for w := p.waiters.front; w != nil; {
		next := w.next
		if no(w) {
			p.refuse(w, because(now-w.Since))
		}
		w = next
	}
}

// reject notes, for a test that refuseSome is given, that it is a policy that
// refuses w. The pool is locked.
func (p *Pool[T]) reject(w *waiter[T]) {
	p.n.rejected++
	w.rejected = true
}

// expired reports whether the context of w has ended, though its goroutine may
// not have run since. To lend to it would keep the resource from the next for
// as long as that takes: under overload, when many expire and processors are
// busy, that is most of the time there is. One that waits on for lateFor has a
// context that goes by another clock, and waits like everybody.
func (w *waiter[T]) expired(now time.Duration) bool {
	return w.deadline != 0 && w.deadline <= now && now-w.deadline < lateFor
}

const lateFor = time.Second

// nextFor returns the waiter to get e; nil if nobody waits who can use it. The
// pool is locked, and has no Queue.
func (p *Pool[T]) nextFor(e *entry[T], now time.Duration) *waiter[T] {
	passed := false
	for w := p.waiters.front; w != nil; w = w.next {
		switch {
		case !e.fits(&w.Request):
		case w.expired(now):
			passed = true
		default:
			return w
		}
	}
	if passed {
		p.growAgain(now, lateFor) // looks again whether it is still there
	}
	return nil
}

// serve lends what is idle to those who wait, as far as both go together. With
// a Queue, unlock sees to it. The pool is locked.
func (p *Pool[T]) serve() {
	if p.ordered || p.waiters.n == 0 || p.shelf.n == 0 {
		return
	}
	now := p.since()
	for e := p.shelf.first(p.cfg.Order, nil); e != nil && p.waiters.n > 0; {
		next := e.next(p.cfg.Order)
		if !e.aside {
			if w := p.nextFor(e, now); w != nil {
				p.grantIdle(e, w, now)
			}
		}
		e = next
	}
}

// failure makes the error of an acquire.
func (p *Pool[T]) failure(err error, waited time.Duration) error {
	retry := p.retryAfter(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failureLocked(err, waited, retry)
}

// retryAfter is what a Rejection in err says. It calls the methods of err, which
// may be a policy's own.
func (p *Pool[T]) retryAfter(err error) (d time.Duration) {
	_ = p.guard("errors.As", func() {
		var r *Rejection
		if errors.As(err, &r) {
			d = r.RetryAfter
		}
	})
	return d
}

// is is errors.Is for an err that may not be ours.
func (p *Pool[T]) is(err, target error) (yes bool) {
	_ = p.guard("errors.Is", func() { yes = errors.Is(err, target) })
	return yes
}

// failureLocked is failure with the pool locked: it calls no method of err.
func (p *Pool[T]) failureLocked(err error, waited, retry time.Duration) *AcquireError {
	a := &AcquireError{Err: err, Waited: waited, RetryAfter: max(0, retry), LastMake: p.lastMake}
	a.Load, _ = p.load()
	return a
}
