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
	if p.cfg.Eviction != nil || p.cfg.Health != nil {
		p.sweep()
	}
}

// sweep holds every idle resource against the policies.
func (p *Pool[T]) sweep() {
	// From the end: what is retired meanwhile is replaced by the last one,
	// which was looked at.
	p.lock()
	p.clearSeats(0)
	from := len(p.all)
	p.unlock()
	var some [sweepChunk]suspect[T]
	for from > 0 {
		n := p.suspects(&from, &some)
		if p.cfg.Eviction != nil {
			each(n, func(i int) { some[i].cause = p.evict(some[i].info) })
			p.convict(some[:n], &p.n.evicted)
		}
		if p.cfg.Health != nil {
			each(n, func(i int) { p.examine(&some[i]) })
			p.convict(some[:n], &p.n.unhealthy) // those whose check did not return
		}
	}
}

// each calls f for 0 to n-1, in turn, on a goroutine that is replaced if f ends
// it.
func each(n int, f func(i int)) {
	for next := 0; next < n; {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for next < n {
				next++
				f(next - 1)
			}
		}()
		<-done
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
func (p *Pool[T]) convict(some []suspect[T], count *int64) {
	p.lock()
	defer p.unlock()
	for i := range some {
		if s := &some[i]; s.cause != nil && s.stillIdle() {
			p.retire(s.e, s.cause, count)
		}
	}
	p.grow()
}

// examine asks the Health about one resource, which is aside meanwhile.
func (p *Pool[T]) examine(s *suspect[T]) {
	p.lock()
	if p.closed || !s.stillIdle() {
		p.unlock()
		return
	}
	s.cause = ErrGoexit // unless ask returns
	ctx, cancel := context.WithTimeout(p.ctx, p.cfg.MakeTimeout)
	defer cancel()
	var ill error
	there := p.apart(s.e, func() { ill = p.ask(ctx, s.e, s.info) })
	s.cause = nil
	if p.ctx.Err() != nil {
		ill = nil // the pool was closed: nothing is known
	}
	if ill != nil && there {
		p.retire(s.e, ill, &p.n.unhealthy)
	}
	p.serve()
	p.grow()
	p.unlock()
	if ill != nil {
		p.traceCheck(s.info, ill)
	}
}
