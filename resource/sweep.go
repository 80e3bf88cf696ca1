package resource

import (
	"slices"
	"time"
)

// sweepChunk is how many resources a sweep looks at under one hold of the lock.
const sweepChunk = 64

// armSweepLocked arms the next sweep, if there is anything to sweep for.
func armSweepLocked[T any](p *Pool[T]) {
	if !p.mode.evicts && p.cfg.Health == nil && p.cfg.MinIdle == 0 {
		return
	}
	if p.sweeper == nil {
		p.sweeper = time.AfterFunc(p.cfg.SweepInterval, func() { (&sweep[T]{p: p}).run() })
	} else {
		p.sweeper.Reset(p.cfg.SweepInterval)
	}
}

// run sweeps, and arms the next sweep.
func (s *sweep[T]) run() {
	p := s.p
	p.lock()
	if p.closed {
		p.unlock()
		return
	}
	p.busy++
	p.idle.flushSlots(0)
	s.from = len(p.registry.all)
	p.unlock()
	defer func() {
		p.lock()
		p.busy--
		if !p.closed {
			if p.cfg.Health != nil && p.health.startSweep(p.clock.now(), p.cfg.SweepInterval) {
				p.health.scanFrom(len(p.registry.all))
				p.startScanLocked()
			}
			p.changed = true
			armSweepLocked(p)
		}
		p.unlock()
	}()
	if p.mode.evicts {
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

// sweep asks the Eviction about every resource, a few at a time. Checks of the Health follow
// and do not delay it: see scan.
type sweep[T any] struct {
	p     *Pool[T]
	from  int // resources of the registry before this index are still to be looked at
	some  [sweepChunk]candidate[T]
	n, at int           // some[at:n] are still to be evaluated
	idle  int           // how many are idle in the pool, without those to be evicted
	fresh int           // and without those found near their end
	lead  time.Duration // how long before its end a resource is to be replaced
}

// step evaluates one resource, or continues with the next few.
func (s *sweep[T]) step() bool {
	if s.at < s.n {
		x := &s.some[s.at]
		s.at++
		s.evaluate(x)
		return true
	}
	s.at = 0
	s.retire()
	s.expect()
	s.collect()
	return s.n > 0 || s.from > 0
}

// evaluate asks the Eviction about one resource: as it is, if it is idle, and as it will be
// when it is too late for the next sweeps to have it replaced in time.
func (s *sweep[T]) evaluate(x *candidate[T]) {
	p := s.p
	if !x.leased {
		x.info.Idlers = s.idle
		if x.cause = p.policies.evict(x.e.value, x.info); x.cause != nil {
			s.idle--
			return
		}
	}
	used := x.leased || x.info.Leases > 0 && x.info.Idle < p.cfg.SweepInterval
	if x.expiring || !used && p.cfg.MinIdle == 0 {
		return
	}
	later := x.info
	later.Age = plus(later.Age, s.lead)
	end := p.policies.evict(x.e.value, later)
	if end != nil && (used || s.fresh <= p.cfg.MinIdle) {
		x.end = end
	}
	if end != nil && !x.leased {
		s.fresh--
	}
}

// candidate is a resource that the sweep looks at.
type candidate[T any] struct {
	e        *entry[T]
	info     Info
	idle     int64 // in ticks
	leased   bool
	expiring bool  // it has or will have a replacement
	cause    error // why it ends
	end      error // why it will have to end soon, though it is in use or needed
}

// collect gets the facts about the next few resources. Those idle longest come
// first, so that a policy that keeps some keeps the ones used last.
func (s *sweep[T]) collect() {
	p := s.p
	p.lock()
	defer p.unlock()
	now := p.clock.nowTick()
	s.n = 0
	some, first := p.registry.before(s.from, sweepChunk)
	s.from = first
	for _, e := range some {
		x, idle := &s.some[s.n], int64(0)
		switch {
		case e.discarded():
			continue
		case e.listed():
			idle = max(0, now-e.since)
		case e.loc == inList || e.loc == releasing:
			continue
		}
		*x = candidate[T]{e: e, idle: idle, leased: !e.listed(), expiring: e.expiring}
		e.facts(&x.info, now, idle, e.word.Load().Leases)
		x.info.Idle = min(x.info.Idle, x.info.Age)
		s.n++
	}
	sortCandidates(s.some[:s.n])
	s.idle = p.idlersLocked()
	s.fresh = s.idle - p.registry.expiring
	s.lead = plus(p.cfg.SweepInterval, 2*p.maker.gauge.Usual())
}

// sortCandidates puts those idle longest first, by ticks. In the order of creation most are
// in that order already, and then none is moved, for a candidate is large. By their ages,
// which are exact, many would be moved that were created at the same time.
func sortCandidates[T any](some []candidate[T]) {
	for i := 1; i < len(some); i++ {
		for k := i; k > 0 && some[k].idle > some[k-1].idle; k-- {
			some[k], some[k-1] = some[k-1], some[k]
		}
	}
}

// stillIdle reports whether the resource has not been lent since it was
// collected. The pool is locked.
func (s *candidate[T]) stillIdle() bool {
	return s.e.listed() && !s.e.discarded() && s.e.word.Load().Leases == s.info.Leases+s.e.takenBack.Load()
}

// retire retires those for which there is a cause.
func (s *sweep[T]) retire() {
	p, some := s.p, s.some[:s.n]
	if !slices.ContainsFunc(some, func(x candidate[T]) bool { return x.cause != nil }) {
		return
	}
	p.lock()
	defer p.unlock()
	for i := range some {
		if x := &some[i]; x.cause != nil && x.stillIdle() {
			p.retireLocked(x.e, x.cause, fateEvicted)
		}
	}
	p.changed = true
}

// expect notes the resources that were found to be near their end. Each is to have one
// replacement.
func (s *sweep[T]) expect() {
	p := s.p
	p.lock()
	defer p.unlock()
	found := false
	for i := range s.some[:s.n] {
		if x := &s.some[i]; x.end != nil && x.cause == nil && x.e.loc != gone && !x.e.expiring {
			p.registry.setExpiring(x.e)
			p.maker.fade(x.e, x.end, p.registry.expiring)
			found = true
		}
	}
	if found {
		p.changed = true
	}
}
