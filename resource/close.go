package resource

import (
	"context"
	"time"
)

// Close ends the pool: waiters get [ErrClosed] at once, makes are cancelled,
// idle resources destroyed, leased ones when their lease ends. It returns nil
// when nothing of the pool runs any more, or a [*CloseError] when ctx ends
// before; the closing goes on, and Close may be called again to wait for it.
func (p *Pool[T]) Close(ctx context.Context) error {
	p.beginClose()
	return p.awaitClose(ctx)
}

// beginClose closes the pool and does not wait.
func (p *Pool[T]) beginClose() {
	p.lock()
	if !p.closed {
		p.closed = true
		p.setDetour()
		p.shut()
	}
	p.cancel() // calls nothing that is not ours: see construct and permits
	p.unlock()
}

// awaitClose waits until nothing of the pool runs any more.
func (p *Pool[T]) awaitClose(ctx context.Context) error {
	select {
	case <-p.drained:
	default:
		select {
		case <-p.drained:
		case <-ctx.Done():
			return p.closeError(ctx)
		}
	}
	p.life.Close() // only waits for the last steps of puddle's goroutines
	return nil
}

// shut turns away those who wait and retires what is idle. The pool is locked.
func (p *Pool[T]) shut() {
	for _, t := range []*time.Timer{p.grower, p.sweeper, p.ticker} {
		if t != nil {
			t.Stop()
		}
	}
	p.refuseAll(func(waited time.Duration) error {
		return p.failureLocked(ErrClosed, max(1, waited), 0) // a Keyed tells by it who waited
	})
	p.warmed(ErrClosed)
	if p.shared != nil {
		p.leaveTotal()
	}
	p.clearSeats(0)
	for e := p.health.unverified.top; e != nil; {
		down := e.down
		p.retire(e, ErrClosed, &p.n.other)
		e = down
	}
	for e := p.shelf.top; e != nil; {
		down := e.down
		if !e.aside {
			p.retire(e, ErrClosed, &p.n.other)
		}
		e = down
	}
}

// named is how many leased resources a CloseError names.
const named = 16

func (p *Pool[T]) closeError(ctx context.Context) error {
	err := ctxError(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	e := &CloseError{Err: err, Busy: p.busy}
	e.Load, _ = p.load()
	e.Leased = p.leasedIDs(nil)
	return e
}

// leasedIDs adds to ids those of leased resources, as long as it has less than
// named. The pool is locked.
func (p *Pool[T]) leasedIDs(ids []uint64) []uint64 {
	for _, e := range p.all {
		if !e.idle() && len(ids) < named {
			ids = append(ids, e.id)
		}
	}
	return ids
}
