package resource

import (
	"context"
	"slices"
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
	defer func() {
		p.lock()
		p.busy--
		if !p.closed {
			p.grow()
			p.startSweeper()
		}
		p.unlock()
	}()
	if p.cfg.Eviction != nil || p.cfg.Health != nil {
		p.lock()
		p.clearSeats(0)
		s := &sweep[T]{p: p, from: len(p.all)}
		p.unlock()
		persist(s.step)
	}
}

// persist calls step until it returns false, on a goroutine that is replaced if
// step ends it.
func persist(step func() bool) {
	for more := true; more; {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for more {
				more = step()
			}
		}()
		<-done
	}
}

// sweep holds every resource against the policies, a few at a time. It
// goes through the pool's list from the end: what is retired meanwhile is
// replaced there by the last one, which was looked at.
type sweep[T any] struct {
	p      *Pool[T]
	from   int // what is before this is still to be looked at
	some   [sweepChunk]suspect[T]
	n, at  int           // some[at:n] are still to be judged
	idle   int           // how many are idle in the pool, without those found guilty
	fresh  int           // and without those found near their end
	lead   time.Duration // how long before its end a resource is to have a successor
	health bool          // by the Health, after the Eviction
}

// step judges one resource, or goes on to the next few.
func (s *sweep[T]) step() bool {
	p := s.p
	if s.at < s.n {
		x := &s.some[s.at]
		s.at++
		switch {
		case s.health:
			s.examine(x)
		case p.cfg.Eviction != nil:
			s.weigh(x)
		}
		return true
	}
	s.at = 0
	if !s.health {
		p.convict(s.some[:s.n], &p.n.evicted)
		p.expect(s.some[:s.n])
		if s.health = p.cfg.Health != nil; s.health {
			return true
		}
	} else {
		p.convict(s.some[:s.n], &p.n.unhealthy) // those whose check did not return
	}
	s.health = false
	s.collect()
	return s.n > 0 || s.from > 0
}

// weigh holds one resource against the Eviction: as it is, if it is idle, and as
// it will be when the sweeps to come can not see to its successor any more.
func (s *sweep[T]) weigh(x *suspect[T]) {
	p := s.p
	if !x.leased {
		x.info.Idlers = s.idle
		if x.cause = p.evict(x.info); x.cause != nil {
			s.idle--
			return
		}
	}
	used := x.leased || x.info.Leases > 0 && x.info.Idle < p.cfg.SweepInterval
	if x.expected || !used && p.cfg.MinIdle == 0 {
		return
	}
	later := x.info
	later.Age = plus(later.Age, s.lead)
	end := p.evict(later)
	if end != nil && (used || s.fresh <= p.cfg.MinIdle) {
		x.end = end
	}
	if end != nil && !x.leased {
		s.fresh--
	}
}

// suspect is a resource that the sweep looks at.
type suspect[T any] struct {
	e        *entry[T]
	info     Info
	idle     int64 // in ticks
	leased   bool
	expected bool  // it has or will have a successor
	cause    error // why it goes
	end      error // why it will have to go soon, though it is in use or needed
}

// collect gets the facts about the next few resources. Those idle longest come
// first, so that a policy that keeps some keeps the ones used last.
func (s *sweep[T]) collect() {
	p := s.p
	p.lock()
	defer p.unlock()
	now := int64(p.since() / tickLen)
	s.n = 0
	upTo := min(s.from, len(p.all))
	s.from = max(0, upTo-sweepChunk)
	for _, e := range p.all[s.from:upTo] {
		x, idle := &s.some[s.n], int64(0)
		switch {
		case e.discarded():
			continue
		case e.place == shelf && !e.aside:
			idle = max(0, now-e.since)
		case e.place == shelf || p.cfg.Eviction == nil:
			continue
		}
		*x = suspect[T]{e: e, idle: idle, leased: e.place != shelf, expected: e.expected}
		e.tell(&x.info, now, idle, e.word.Load().Leases)
		x.info.Idle = min(x.info.Idle, x.info.Age)
		s.n++
	}
	s.sort()
	onSeats, _ := p.seatLevels()
	s.idle = p.shelf.n + onSeats
	s.fresh = s.idle - p.expected
	s.lead = plus(p.cfg.SweepInterval, 2*p.maker.gauge.Usual())
}

// sort puts those idle longest first, by ticks. In the order in which they were
// made most are so already, and then none is moved, for a suspect is large: by
// their ages, which are exact, many would be that were made at the same time.
func (s *sweep[T]) sort() {
	for i := 1; i < s.n; i++ {
		for k := i; k > 0 && s.some[k].idle > s.some[k-1].idle; k-- {
			s.some[k], s.some[k-1] = s.some[k-1], s.some[k]
		}
	}
}

// stillIdle reports whether the resource has not been lent since it was
// collected. The pool is locked.
func (s *suspect[T]) stillIdle() bool {
	return s.e.place == shelf && !s.e.aside && !s.e.discarded() && s.e.word.Load().Leases == s.info.Leases
}

// convict retires those for which there is a cause.
func (p *Pool[T]) convict(some []suspect[T], count *int64) {
	if !slices.ContainsFunc(some, func(s suspect[T]) bool { return s.cause != nil }) {
		return
	}
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
func (s *sweep[T]) examine(x *suspect[T]) {
	p := s.p
	x.info.Idlers = s.idle
	if x.leased || !p.due(x.info) {
		return
	}
	p.lock()
	if p.closed || !x.stillIdle() {
		p.unlock()
		return
	}
	x.cause = ErrGoexit // unless ask returns
	ctx, cancel := context.WithTimeout(p.ctx, p.cfg.MakeTimeout)
	defer cancel()
	var ill error
	var took time.Duration
	known, kept := true, true
	there := p.apart(x.e, func() {
		took, ill = p.ask(ctx, x.e, x.info)
		if known = ill == nil || p.ctx.Err() == nil; known { // else Close has cut it short
			kept = p.passes(x.e, ill)
		}
	})
	x.cause = nil
	if !kept && there {
		s.idle--
		p.retire(x.e, ill, &p.n.unhealthy)
	}
	p.serve()
	p.grow()
	p.unlock()
	if known {
		p.traceCheck(x.info, took, ill)
	}
}
