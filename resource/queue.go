package resource

import "time"

// queuePending reports whether there is something to tell or ask the Queue, and no
// goroutine does. The pool is locked.
func (p *Pool[T]) queuePending() bool {
	return !p.waiters.asking && (len(p.waiters.news) > 0 || p.matches())
}

// matches reports whether something idle and a caller who can use it are there.
func (p *Pool[T]) matches() bool {
	return p.waiters.n > 0 && p.idle.available() > 0 && p.waiters.needs().servedBy(p.idle.list.reach())
}

// arrange tells the Queue the news and serves waiters in its order until there
// is nothing left to do. It runs on a goroutine of its own, since a method that
// ends its goroutine must not end a caller's in the middle of something.
func (p *Pool[T]) arrange() {
	p.mu.Lock()
	if p.waiters.asking {
		p.mu.Unlock()
		return
	}
	p.waiters.asking = true
	p.busy++
	p.mu.Unlock()
	for {
		err := p.guard.isolate("Queue", func() {
			for p.arrangeOne() {
			}
		})
		p.lock()
		if p.waiters.broken = err != nil; err == nil && len(p.waiters.news) == 0 && !p.matches() {
			p.waiters.asking = false
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
	now := p.clock.now()
	if len(p.waiters.news) > 0 {
		n := p.waiters.nextNews()
		popped := n.w.popped
		p.unlock()
		switch {
		case n.left && popped: // it left while it was popped: the Queue does not have it
		case n.left:
			p.cfg.Queue.Remove(&n.w.Waiter)
		default:
			p.cfg.Queue.Push(&n.w.Waiter, now)
		}
		return true
	}
	if !p.matches() {
		p.unlock()
		return false
	}
	if p.serveGiven(now) {
		p.unlock()
		return true
	}
	var w *waiter[T]
	var refuse *Rejection
	if !p.waiters.broken {
		p.unlock()
		w, refuse = p.pop(now)
		p.lock()
	}
	p.waiters.broken = false
	p.give(w, refuse, now)
	p.unlock()
	return true
}

// serveGiven serves the first of those whom the Queue gave out and who can use
// something idle, or has that make room for one before who can not. It reports
// whether it did. The pool is locked.
func (p *Pool[T]) serveGiven(now time.Duration) bool {
	given := &p.waiters.given
	w := given.first(p.idle.list.reach())
	if f := itemOf(given.fresh.At(p.maker.pending() + p.cap.dying)); f != nil && sooner(w, f) == f && p.roomHelps(now) {
		if e := p.idle.list.first(OldestFirst, nil); e != nil && f != w {
			p.retire(e, p.waiters.misfit(e), fateOther)
			return true
		}
	}
	if w == nil {
		return false
	}
	p.grantIdle(p.idle.first(&w.Request), w, now)
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
	return w, &Rejection{Policy: "Queue", RetryAfter: p.guard.retryAfter(err), Err: err}
}

// give notes that the Queue has given out w, or refuses it, and serves who is to
// be served now. If it gave out no new waiter that is the one that waited
// longest and can be. The pool is locked.
func (p *Pool[T]) give(w *waiter[T], refuse *Rejection, now time.Duration) {
	first := w != nil && !w.popped
	if first {
		w.popped = true
	}
	switch {
	case w == nil || !w.waiting() || !first && refuse == nil:
		if w := p.waiters.line.first(p.idle.list.reach()); w != nil {
			p.grantIdle(p.idle.first(&w.Request), w, now)
		}
	case refuse != nil:
		w.rejected = true
		p.refuse(w, p.failureLocked(ReasonQueue, refuse, now-w.Since, refuse.RetryAfter), now)
	default:
		p.waiters.give(w)
		p.serveGiven(now)
	}
}
