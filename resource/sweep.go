package resource

import (
	"context"
	"time"
)

// sweepChunk is how many resources a sweep looks at under one hold of the lock.
const sweepChunk = 64

// startSweeper arms the next sweep, if there is anything to sweep for. The pool
// is locked.
func (p *Pool[T]) startSweeper() {
	if p.cfg.Eviction == nil && p.cfg.Health == nil && p.cfg.MinIdle == 0 {
		return
	}
	if p.sweeper == nil {
		p.sweeper = time.AfterFunc(p.cfg.SweepInterval, p.onSweep)
	} else {
		p.sweeper.Reset(p.cfg.SweepInterval)
	}
}

func (p *Pool[T]) onSweep() {
	p.lock()
	if p.closed {
		p.unlock()
		return
	}
	p.busy++
	p.unlock()
	defer func() { // also if a policy ends the goroutine
		p.lock()
		p.busy--
		if !p.closed {
			p.grow()
			p.startSweeper()
		}
		p.unlock()
	}()
	if p.cfg.Eviction == nil && p.cfg.Health == nil {
		return
	}
	// From the end: what is retired meanwhile is replaced by the last one,
	// which was looked at.
	p.lock()
	p.clearSeats(0)
	from := len(p.all)
	p.unlock()
	var some [sweepChunk]suspect[T]
	for from > 0 {
		n := p.suspects(&from, &some)
		for i := range some[:n] {
			if p.cfg.Eviction != nil {
				some[i].cause = p.evict(some[i].info)
			}
		}
		p.convict(some[:n])
		if p.cfg.Health != nil {
			for i := range some[:n] {
				if some[i].cause == nil {
					p.examine(&some[i])
				}
			}
		}
	}
}

// suspect is an idle resource that the sweep looks at.
type suspect[T any] struct {
	e     *entry[T]
	info  Info
	cause error
}

// suspects collects the facts about the idle resources before *from, and moves
// *from.
func (p *Pool[T]) suspects(from *int, some *[sweepChunk]suspect[T]) (n int) {
	p.lock()
	defer p.unlock()
	now := int64(p.since() / tickLen)
	*from = min(*from, len(p.all))
	for seen := 0; *from > 0 && seen < sweepChunk; seen++ {
		*from--
		if e := p.all[*from]; e.place == shelf && !e.aside {
			some[n] = suspect[T]{e: e, info: e.info(now, max(0, now-e.since))}
			n++
		}
	}
	return n
}

// stillIdle reports whether the resource has not been lent since it was
// collected. The pool is locked.
func (s *suspect[T]) stillIdle() bool {
	return s.e.place == shelf && !s.e.aside && s.e.word.Load().Leases == s.info.Leases
}

// convict retires those for which there is a cause.
func (p *Pool[T]) convict(some []suspect[T]) {
	p.lock()
	defer p.unlock()
	for i := range some {
		if s := &some[i]; s.cause != nil && s.stillIdle() {
			p.retire(s.e, s.cause, &p.n.evicted)
		}
	}
}

// examine asks the Health about one resource, which is aside meanwhile.
func (p *Pool[T]) examine(s *suspect[T]) {
	p.lock()
	if p.closed || !s.stillIdle() {
		p.unlock()
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, p.cfg.MakeTimeout)
	defer cancel()
	there := p.apart(s.e, func() { s.cause = p.ask(ctx, s.e, s.info) })
	if ill := s.cause != nil && p.ctx.Err() == nil; ill && there {
		p.retire(s.e, s.cause, &p.n.unhealthy)
		p.grow()
	} else {
		s.cause = nil
	}
	p.serve()
	p.unlock()
	if s.cause != nil {
		p.traceCheck(s.info, s.cause)
	}
}
