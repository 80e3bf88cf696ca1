package budget

import (
	"container/heap"
	"maps"
	"slices"
	"time"
)

// Settle does what is to be done: grants free places, and has things give way.
// Whoever changed something calls it when it holds no lock. It returns at once
// if there is nothing to do or another is at it, who then does it.
func (b *Budget) Settle() {
	for b.pending.Load() {
		if !b.arbiter.TryLock() {
			return // who has it looks at pending once more
		}
		b.pending.Store(false)
		b.mu.Lock()
		b.round++
		b.mu.Unlock()
		for b.step() {
		}
		b.arbiter.Unlock()
	}
}

// Rest waits until nobody runs Settle.
func (b *Budget) Rest() {
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
	if b.missing() <= 0 || b.barren {
		if b.needed == 0 && b.used-b.dying <= b.max {
			b.scarce.Store(false)
		}
		b.mu.Unlock()
		return false
	}
	if s := b.victim(); s != nil {
		before := s.oldest
		b.mu.Unlock()
		b.ask(s, before)
		return true
	}
	b.barren = true
	if b.scarce.Load() {
		b.mu.Unlock()
		return false
	}
	// Nothing is idle. From here on members attend; what came back just
	// before may have been missed, so all are asked once more.
	b.scarce.Store(true)
	b.barren = false
	b.round++
	awake := slices.Collect(maps.Keys(b.awake))
	b.mu.Unlock()
	for _, s := range awake {
		s.m.Attend()
	}
	return true
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
	s.since = b.now() // for what it claims beyond this it goes behind its equals
	s.hold(1)
	return s
}

// victim returns the member to ask next to give way: the one of which something
// may have been idle the longest. b is locked.
func (b *Budget) victim() *Share {
	if len(b.idlers) == 0 || b.idlers[0].asked == b.round {
		return nil
	}
	return b.idlers[0]
}

// ask asks s to give way with what was idle at the time by which it is sorted.
// If it has used that since, it is sorted anew and another may come first. So
// what gives way is the least recently used of all.
func (b *Budget) ask(s *Share, before time.Duration) {
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
		s.oldest, s.asked = b.now(), b.round
	}
	if s.inIdle >= 0 {
		heap.Fix(&b.idlers, s.inIdle)
	}
}
