package budget

import (
	"container/heap"
	"maps"
	"slices"
	"time"
)

// stint is about how many steps a caller of Settle does itself. While others go on and
// on leaving it work it would not come back from a call that takes no time else.
const stint = 64

// Settle does what is to be done: grants free places, and has things give way.
// Whoever changed something calls it when it holds no lock. It returns at once
// if there is nothing to do or another is at it, who then does it; and before
// long anyhow: if there is much to do, a goroutine goes on with it.
func (b *Budget) Settle() {
	for steps := 0; b.pending.Load(); {
		if !b.arbiter.TryLock() {
			return // who has it looks at pending once more
		}
		if steps = b.pass(steps); steps >= stint {
			go b.goOn() // which has the arbiter from here on
			return
		}
		b.arbiter.Unlock()
	}
}

// goOn does what Settle left, and gives the arbiter back.
func (b *Budget) goOn() {
	for steps := stint; steps >= stint || b.pending.Load(); {
		steps = b.pass(0)
	}
	b.arbiter.Unlock()
	b.Settle()
}

// pass does what is to be done just now, until there was nothing or stint steps
// are done, of which steps were before. It returns how many then are.
func (b *Budget) pass(steps int) int {
	b.pending.Store(false)
	b.mu.Lock()
	b.round++
	for _, s := range b.spared {
		b.restore(s)
	}
	b.spared = b.spared[:0]
	b.mu.Unlock()
	for steps++; steps < stint && b.step(); steps++ {
	}
	return steps
}

// Rest waits until nobody runs Settle, for when no member is left.
func (b *Budget) Rest() {
	b.mu.Lock()
	if b.dying.clock != nil {
		b.dying.clock.Stop()
	}
	b.mu.Unlock()
	b.arbiter.Lock()
	defer b.arbiter.Unlock()
}

// step does one thing and reports whether there was anything to do.
func (b *Budget) step() bool {
	b.mu.Lock()
	if s := b.grant(); s != nil {
		b.mu.Unlock()
		s.m.Granted()
		return true
	}
	if b.missing() <= 0 {
		if b.calms() {
			b.calm()
		}
		b.mu.Unlock()
		return false
	}
	if s := b.victim(); s != nil {
		before, offers := s.oldest, s.offers
		b.mu.Unlock()
		b.ask(s, before, offers)
		return true
	}
	if b.scarce.Load() { // who has something idle offers it
		b.mu.Unlock()
		return false
	}
	// Nothing is idle. From here on members attend; what came back just
	// before may have been missed, so all are asked once more.
	b.scarce.Store(true)
	b.quiet = 0
	b.round++
	awake := slices.Collect(maps.Keys(b.awake))
	b.mu.Unlock()
	for _, s := range awake {
		s.m.Attend()
	}
	return true
}

// calm ends scarcity: nothing is offered any more. b is locked.
func (b *Budget) calm() {
	b.scarce.Store(false)
	b.quiet = 0
	for s := range b.dry {
		b.restore(s)
	}
	clear(b.dry)
}

// restore puts s back among those that may have something idle. b is locked.
func (b *Budget) restore(s *Share) {
	if s.held > 0 && s.inIdle < 0 {
		heap.Push(&b.idlers, s)
	}
}

// grant takes a place for the claimant to be served next, if there is one. b is
// locked.
func (b *Budget) grant() *Share {
	if len(b.claims) == 0 || b.used >= b.max {
		return nil
	}
	s := b.claims[0]
	b.needed--
	s.claim--
	s.patient = s.patient && s.claim > 0
	s.since = b.now() // for what it claims beyond this it goes behind its equals
	s.hold(1)
	return s
}

// victim returns the member to ask next to give way: the one of which something
// may have been idle the longest. b is locked.
func (b *Budget) victim() *Share {
	for len(b.idlers) > 0 {
		s := b.idlers[0]
		if s.asked == b.round {
			return nil
		}
		if !b.spares(s) {
			return s
		}
		heap.Remove(&b.idlers, s.inIdle)
		b.spared = append(b.spared, s)
	}
	return nil
}

// spares reports whether what s has idle is not to give way: s wants to have
// more ready, and so does everybody else who claims, or nobody does. b is locked.
func (b *Budget) spares(s *Share) bool {
	if !s.patient || b.over() {
		return false
	}
	other := b.claims.other(s)
	return other == nil || other.patient && !b.richer(s, other)
}

// ask asks s to give way with what was idle at the time by which it is sorted.
// If it has used that since, it is sorted anew and another may come first. So
// what gives way is the least recently used of all. offers is how often s had
// offered something before.
func (b *Budget) ask(s *Share, before time.Duration, offers int) {
	now := b.now()
	answer, oldest := s.m.GiveWay(before)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch answer {
	case Gave:
		b.gave++
		return
	case Newer:
		s.oldest = max(s.oldest, oldest)
	case Nothing:
		s.oldest, s.asked = now, b.round
	}
	if s.inIdle < 0 {
		return
	}
	if answer == Nothing && b.scarce.Load() {
		if s.offers != offers {
			s.asked = 0 // it has something now
		} else {
			heap.Remove(&b.idlers, s.inIdle)
			b.dry[s] = struct{}{}
			return
		}
	}
	heap.Fix(&b.idlers, s.inIdle)
}
