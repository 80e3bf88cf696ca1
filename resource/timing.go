package resource

import (
	"context"
)

// A hit must not read a clock, so how long acquires take that do not wait is
// measured for few: at each tick one is asked for, with a bit in slowPath, which
// sends the next acquire off the hit path. It stands for all that were lent
// since the one before.

// timeNext is the bit of slowPath that says that the next acquire is to be timed.
const timeNext = 4

// askForTime has the next acquire timed. The pool is locked.
func (p *Pool[T]) askForTime() { p.slowPath.Store(p.slowPath.Load() | timeNext) }

// timed is acquire with a clock. The caller has taken timeNext out of slowPath.
func (p *Pool[T]) timed(ctx context.Context, r *Request, slot int) (Lease[T], error) {
	before := p.clock.now()
	began := p.clock.now() // what the clock itself takes does not count
	l, err := p.acquireTimed(ctx, r, slot)
	took := p.clock.now() - began - (began - before)
	if err == nil {
		p.mu.Lock()
		_, begun := p.idle.slotLevels()
		p.counts.timing.add(took-l.Waited(), p.counts.acquired+begun)
		p.mu.Unlock()
	}
	return l, err
}

func (p *Pool[T]) acquireTimed(ctx context.Context, r *Request, slot int) (Lease[T], error) {
	if p.plain && !r.Fresh {
		if l, _, ok := p.hit(slot); ok {
			return l, nil
		}
	}
	return p.acquireNow(ctx, r, slot)
}
