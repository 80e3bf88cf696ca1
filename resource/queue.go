package resource

import (
	"slices"
	"time"
)

// queueState is what the pool keeps for a Queue. Its methods are foreign code
// and run one at a time with the pool unlocked: whoever unlocks the pool while
// there is something to say to the Queue says it, unless another is at it.
type queueState[T any] struct {
	busy   bool           // a goroutine runs arrange
	news   []queueNews[T] // what the Queue has not been told, the oldest first
	chosen *waiter[T]     // what it gave out and nothing was there for
	broken bool           // it panicked: the one that waited longest is served
}

type queueNews[T any] struct {
	w    *waiter[T]
	left bool
}

// push and left note what happened. The pool is locked.
func (q *queueState[T]) push(w *waiter[T]) { q.news = append(q.news, queueNews[T]{w, false}) }

func (q *queueState[T]) left(w *waiter[T]) {
	if q.chosen == w {
		q.chosen = nil
	}
	if !w.popped {
		q.news = append(q.news, queueNews[T]{w, true})
	}
}

// pending reports whether arrange has something to do. The pool is locked.
func (q *queueState[T]) pending(p *Pool[T]) bool {
	return !q.busy && (len(q.news) > 0 || p.matches())
}

// matches reports whether something idle and a caller who can use it are there.
func (p *Pool[T]) matches() bool {
	if p.waiters.n == 0 || p.shelf.n == 0 {
		return false
	}
	if !p.choosy() {
		return p.shelf.first(p.cfg.Order, nil) != nil
	}
	least := p.leastWishes()
	for e := p.shelf.bottom; e != nil; e = e.up {
		if !e.aside && e.wanted(&least) {
			return true
		}
	}
	return false
}

// arrange tells the Queue the news and serves waiters in its order until there
// is nothing left to do. It runs on a goroutine of its own, since a method that
// ends its goroutine must not end a caller's in the middle of something.
func (p *Pool[T]) arrange() {
	p.mu.Lock()
	if p.queue.busy {
		p.mu.Unlock()
		return
	}
	p.queue.busy = true
	p.busy++
	p.mu.Unlock()
	for {
		err := p.isolate("Queue", func() {
			for p.arrangeOne() {
			}
		})
		p.lock()
		if p.queue.broken = err != nil; err == nil && len(p.queue.news) == 0 && !p.matches() {
			p.queue.busy = false
			p.busy--
			p.grow()
			p.unlock()
			return
		}
		p.unlock()
	}
}

// arrangeOne does one thing: tells one piece of news, or serves or refuses one
// waiter. It reports whether there was anything to do.
func (p *Pool[T]) arrangeOne() bool {
	p.lock()
	now := p.since()
	if len(p.queue.news) > 0 {
		n := p.queue.news[0]
		p.queue.news[0] = queueNews[T]{}
		p.queue.news = p.queue.news[1:]
		p.unlock()
		if n.left {
			p.cfg.Queue.Remove(&n.w.Waiter)
		} else {
			p.cfg.Queue.Push(&n.w.Waiter, now)
		}
		return true
	}
	if !p.matches() {
		p.unlock()
		return false
	}
	w := p.queue.chosen
	var refuse *Rejection
	if w == nil && !p.queue.broken {
		p.unlock()
		w, refuse = p.pop(now)
		p.lock()
	}
	p.queue.broken = false
	p.serveChosen(w, refuse, now)
	p.unlock()
	return true
}

// pop asks the Queue who is next, and whether to refuse that one.
func (p *Pool[T]) pop(now time.Duration) (*waiter[T], *Rejection) {
	out, err := p.cfg.Queue.Pop(now)
	if out == nil {
		return nil, nil
	}
	w, _ := out.owner.(*waiter[T]) // nil if it is not one of ours
	if err == nil {
		return w, nil
	}
	return w, &Rejection{Policy: "Queue", RetryAfter: p.retryAfter(err), Err: err}
}

// serveChosen serves w, or refuses it. If there is no w that waits, or it can
// not use what is idle, the one is served that waited longest and can. The
// pool is locked.
func (p *Pool[T]) serveChosen(w *waiter[T], refuse *Rejection, now time.Duration) {
	if w != nil {
		w.popped = true
	}
	if w != nil && !w.waiting { // it left while it was popped: that is no news
		p.queue.news = slices.DeleteFunc(p.queue.news, func(n queueNews[T]) bool { return n.w == w && n.left })
	}
	if w != nil && w.waiting && refuse != nil {
		p.n.rejected++
		w.rejected = true
		p.refuse(w, p.failureLocked(refuse, now-w.Since, refuse.RetryAfter))
		return
	}
	if w == nil || !w.waiting {
		w = p.waiters.front
	} else {
		p.queue.chosen = w
	}
	if w != nil && p.shelf.first(p.cfg.Order, &w.Request) == nil {
		if p.makeRoomFor(w, now) {
			return
		}
		w = p.waiters.front
	}
	for ; w != nil; w = w.next {
		if e := p.shelf.first(p.cfg.Order, &w.Request); e != nil {
			p.grantIdle(e, w, now)
			return
		}
	}
}
