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
	s.lead = plus(p.cfg.SweepInterval, 2*p.maker.gauge.Usual())
	if p.registry.expiring > 0 {
		s.uncounted = s.from
	}
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
	n, at int // some[at%n] is the next to look at, in pass at/n: see step

	// A resource near its end may have its replacement beside it. Then one more is idle,
	// and the Eviction must not end a third one for that: the old one is the surplus. So
	// Info.Idlers does not count the others that are near their end.
	uncounted int           // resources of the registry before this index are still to be counted
	expiring  int           // how many that are idle, or leased for a short time, have or will have a replacement
	staying   int           // how many the pool has, without those evicted
	lasting   int           // how many are idle in the pool, without expiring, those evicted and those near their end
	lead      time.Duration // how long before its end a resource is to be replaced
}

// step asks about one resource, or continues with the next few. It makes four passes over
// these: to find those near their end, to evaluate them, to evaluate the others, which
// depends on how many of the first stay, and to choose those to replace, which depends on
// how many are left.
func (s *sweep[T]) step() bool {
	if s.uncounted > 0 {
		s.count()
		return true
	}
	if s.at < 4*s.n {
		x, pass := &s.some[s.at%s.n], s.at/s.n
		s.at++
		switch {
		case pass == 0:
			s.foresee(x)
		case pass == 1 && x.end != nil, pass == 2 && x.end == nil:
			s.evaluate(x)
		case pass == 3:
			s.replace(x)
		}
		return true
	}
	s.at = 0
	s.retire()
	s.expect()
	s.collect()
	return s.n > 0 || s.from > 0
}

// foresee asks the Eviction about x as it will be when it is too late for the next sweeps to
// have it replaced in time. With Idlers 0 the answer depends on the resource alone, and not
// on how many are idle.
func (s *sweep[T]) foresee(x *candidate[T]) {
	if x.leased && s.p.cfg.Recall != nil {
		x.recall = s.later(x, 0)
	}
	if x.expiring || !x.used && s.p.cfg.MinIdle == 0 {
		return
	}
	if x.end = s.later(x, 0); x.end != nil && !x.leased {
		s.lasting--
	}
}

// later returns what the Eviction will say of x if so many are idle.
func (s *sweep[T]) later(x *candidate[T], idlers int) error {
	i := x.info
	i.Age, i.Idlers, i.Total = plus(i.Age, s.lead), idlers, 0
	return s.p.policies.evict(x.e.value, i)
}

// evaluate asks the Eviction about x as it is, if it is idle.
func (s *sweep[T]) evaluate(x *candidate[T]) {
	if x.leased {
		return
	}
	x.info.Idlers = s.lasting
	if x.end != nil {
		x.info.Idlers++ // x itself
	}
	x.info.Idlers, x.info.Total = max(1, x.info.Idlers), s.staying
	if x.cause = s.p.policies.evict(x.e.value, x.info); x.cause != nil {
		s.staying--
	}
	switch {
	case x.cause == nil:
	case x.end == nil:
		s.lasting--
	case x.expiring:
		s.expiring--
		if x.cause = s.alone(x); x.cause == nil {
			x.cause = x.end // it is a surplus only because its replacement is there
		}
	}
}

// alone returns what the Eviction says of x however many are idle.
func (s *sweep[T]) alone(x *candidate[T]) error {
	i := x.info
	i.Idlers = 0
	return s.p.policies.evict(x.e.value, i)
}

// replace decides whether x is to be replaced: if it will have to end soon and is in use or
// needed.
func (s *sweep[T]) replace(x *candidate[T]) {
	if x.cause != nil || x.expiring || !x.used && s.p.cfg.MinIdle == 0 {
		return
	}
	if x.end == nil && !x.leased { // it may have to end because of how many are idle
		if x.end = s.later(x, x.info.Idlers); x.end != nil {
			s.lasting--
		}
	}
	switch {
	case x.end == nil:
	case x.used:
		x.replace = true
	case s.lasting < s.p.cfg.MinIdle:
		x.replace = true
		s.lasting++ // its replacement
	}
	if x.replace {
		s.expiring++
	}
}

// candidate is a resource that the sweep looks at.
type candidate[T any] struct {
	e        *entry[T]
	info     Info
	idle     int64 // in ticks
	leased   bool
	used     bool  // leased, or was not long ago
	expiring bool  // it has or will have a replacement
	replace  bool  // it is to have one
	cause    error // why it ends
	end      error // why it will have to end soon
	recall   error // why its holder is asked for it; nil: it is not
}

// count continues to count the resources that have or will have a replacement. A resource
// that a caller has held for long, and may hold for longer, is not counted: the Eviction may
// end its replacement.
func (s *sweep[T]) count() {
	p := s.p
	p.lock()
	defer p.unlock()
	now := p.clock.nowTick()
	some, first := p.registry.before(s.uncounted, sweepChunk)
	s.uncounted = first
	for _, e := range some {
		if e.end == nil || e.discarded() {
			continue
		}
		if w := e.word.Load(); !w.Leased || time.Duration(w.Ticks(now))*tickLen < s.lead {
			s.expiring++
		}
	}
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
		*x = candidate[T]{e: e, idle: idle, leased: !e.listed(), end: e.end, expiring: e.end != nil}
		e.facts(&x.info, now, idle, e.word.Load().Leases)
		x.info.Idle = min(x.info.Idle, x.info.Age)
		x.used = x.leased || x.info.Leases > 0 && x.info.Idle < p.cfg.SweepInterval
		s.n++
	}
	sortCandidates(s.some[:s.n])
	s.staying = int(p.registry.staying.Load())
	s.lasting = p.idlersLocked() - s.expiring
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

// retire retires those for which there is a cause. If others have left meanwhile the
// Eviction is asked again, with the Info.Total of now.
func (s *sweep[T]) retire() {
	p := s.p
	for slices.ContainsFunc(s.some[:s.n], func(x candidate[T]) bool { return x.cause != nil }) {
		s.retireOnce()
		for i := range s.some[:s.n] {
			if x := &s.some[i]; x.cause != nil {
				x.info.Total = int(p.registry.staying.Load())
				x.cause = p.policies.evict(x.e.value, x.info)
			}
		}
	}
}

// retireOnce retires those for which there is a cause, and leaves the cause only of those
// that it was not true of any more.
func (s *sweep[T]) retireOnce() {
	p := s.p
	p.lock()
	defer p.unlock()
	for i := range s.some[:s.n] {
		x := &s.some[i]
		switch {
		case x.cause == nil:
			continue
		case !x.stillIdle():
		case !p.registry.leave(x.e, x.info.Total):
			continue
		default:
			p.retireLocked(x.e, x.cause, fateEvicted)
		}
		x.cause = nil
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
		if x := &s.some[i]; x.recall != nil {
			recallOp[T]{p}.oneLocked(x.e, x.recall)
		}
		if x := &s.some[i]; x.replace && x.e.loc != gone && x.e.end == nil {
			p.registry.setExpiring(x.e, x.end)
			p.maker.fade(x.e, x.end, p.registry.expiring)
			found = true
		}
	}
	if found {
		p.changed = true
	}
}
