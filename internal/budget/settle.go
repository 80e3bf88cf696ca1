package budget

import (
	"container/heap"
	"maps"
	"slices"
	"time"
)

// maxSteps is about how many steps one caller of Settle runs itself. While other
// goroutines keep adding work the call would otherwise not return.
const maxSteps = 64

// Settle runs the pending work: it grants free slots and asks members to give way. Call
// it after every change, without a lock held. It returns at once if there is nothing to
// do or another goroutine is settling, which then does the new work too. It always
// returns soon: if there is much to do, a new goroutine continues.
func (b *Budget) Settle() {
	for steps := 0; b.pending.Load(); {
		if !b.arbiter.TryLock() {
			return // the holder loads pending again after it unlocks
		}
		if steps = b.pass(steps); steps >= maxSteps {
			go b.continueSettling() // takes over the arbiter
			return
		}
		b.arbiter.Unlock()
	}
}

// continueSettling runs the rest of the work and unlocks the arbiter.
func (b *Budget) continueSettling() {
	for steps := maxSteps; steps >= maxSteps || b.pending.Load(); {
		steps = b.pass(0)
	}
	b.arbiter.Unlock()
	b.Settle()
}

// pass runs steps until there is nothing to do or the count, which begins at steps,
// reaches maxSteps. It returns the count.
//
// A round in which all members are asked may take several passes. A change begins a new one, except
// before slots are scarce: while changes follow one another more than maxSteps members would else
// be asked for ever, and scarcity would not begin. When it does, all are asked once more.
func (b *Budget) pass(steps int) int {
	b.mu.Lock()
	if b.pending.Swap(false) {
		if !b.unfinished || b.scarce.Load() {
			b.round++
		}
		for _, s := range b.exempt {
			b.restoreLocked(s)
		}
		b.exempt = b.exempt[:0]
	}
	b.mu.Unlock()
	for steps++; steps < maxSteps && b.step(); steps++ {
	}
	b.mu.Lock()
	b.unfinished = steps >= maxSteps
	b.mu.Unlock()
	return steps
}

// Rest waits until no goroutine runs Settle. Call it when no member is left.
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
	if s := b.grantLocked(); s != nil {
		b.mu.Unlock()
		s.m.Granted()
		return true
	}
	if b.missingLocked() <= 0 {
		if b.scarcityOverLocked() {
			b.endScarcityLocked()
		}
		b.mu.Unlock()
		return false
	}
	if s := b.victimLocked(); s != nil {
		before, offers := s.oldest, s.offers
		b.mu.Unlock()
		b.ask(s, before, offers)
		return true
	}
	if b.scarce.Load() { // members with an idle resource offer it
		s := b.recallLocked()
		b.mu.Unlock()
		if s != nil {
			s.m.(Recaller).Recall()
		}
		return s != nil
	}
	// Nothing is idle. From here on members attend. A resource returned just before
	// that may have been missed, so all members are asked once more.
	b.scarce.Store(true)
	b.unwanted = 0
	b.round++
	awake := slices.Collect(maps.Keys(b.awake))
	b.mu.Unlock()
	for _, s := range awake {
		s.m.Attend()
	}
	return true
}

// recallChoice is how many members recallLocked looks at.
const recallChoice = 64

// recallLocked returns the member to ask for a leased resource: of up to recallChoice members
// with nothing idle, from which the claimant served next may take a slot, the one that has
// most. If there are too few slots for what is taken, every member will do. Each is asked once
// in a round, and no more of them than slots are missing.
func (b *Budget) recallLocked() (richest *Share) {
	over := b.overLocked()
	if !over && (len(b.claims) == 0 || b.claims[0].patient) {
		return nil
	}
	if b.recallRound != b.round {
		b.recallRound, b.recalls = b.round, 0
	}
	if b.recalls >= b.missingLocked() {
		return nil
	}
	seen := 0
	for s := range b.noIdle {
		if seen++; seen > recallChoice {
			break
		}
		_, can := s.m.(Recaller)
		can = can && s.recalled != b.round
		if !over {
			poorest := b.claims[0]
			can = can && s != poorest && (poorest.usable() == 0 || b.richer(s, poorest))
		}
		if can && (richest == nil || s.usable() > richest.usable()) {
			richest = s
		}
	}
	if richest != nil {
		richest.recalled = b.round
		b.recalls++
	}
	return richest
}

// endScarcityLocked ends scarcity: members no longer offer.
func (b *Budget) endScarcityLocked() {
	b.scarce.Store(false)
	for s := range b.noIdle {
		b.restoreLocked(s)
	}
	clear(b.noIdle)
}

// restoreLocked returns s to the members that may have something idle.
func (b *Budget) restoreLocked(s *Share) {
	if s.held > 0 && s.idleIndex < 0 {
		heap.Push(&b.idlers, s)
	}
}

// grantLocked takes a free slot for the claimant to be served next; nil if there is no
// claimant or no free slot.
func (b *Budget) grantLocked() *Share {
	if len(b.claims) == 0 || b.used >= b.max {
		return nil
	}
	s := b.claims[0]
	b.needed--
	s.claim--
	s.patient = s.patient && s.claim > 0
	s.since = b.now() // with the rest of its claim it goes behind its equals
	s.holdLocked(1)
	return s
}

// victimLocked returns the member to ask next to give way: the one that may have the
// resource idle longest.
func (b *Budget) victimLocked() *Share {
	for len(b.idlers) > 0 {
		s := b.idlers[0]
		if s.asked == b.round {
			return nil
		}
		if !b.isExemptLocked(s) {
			return s
		}
		heap.Remove(&b.idlers, s.idleIndex)
		b.exempt = append(b.exempt, s)
	}
	return nil
}

// isExemptLocked reports whether the idle resources of s are not to give way: s wants
// more idle resources, and every other claimant is patient too, or there is none.
func (b *Budget) isExemptLocked(s *Share) bool {
	if !s.patient || b.overLocked() {
		return false
	}
	other := b.claims.nextExcept(s)
	return other == nil || other.patient && !b.richer(s, other)
}

// ask asks s to give way with what was idle at the time by which it is sorted. If s has
// used that since, it is sorted again and another member may come first. So the least
// recently used resource of all gives way. offers is the number of offers of s before
// the call.
func (b *Budget) ask(s *Share, before time.Duration, offers int) {
	now, over := b.now(), b.Over()
	answer, oldest := s.m.GiveWay(before)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch answer {
	case Gave:
		if !over { // otherwise it gave way because the number of slots was lowered
			b.gave++
		}
		return
	case Newer:
		s.oldest = max(s.oldest, oldest)
	case Nothing:
		s.oldest, s.asked = now, b.round
	}
	if s.idleIndex < 0 {
		return
	}
	if answer == Nothing && b.scarce.Load() {
		if s.offers != offers {
			s.asked = 0 // it has something idle now
		} else {
			heap.Remove(&b.idlers, s.idleIndex)
			b.noIdle[s] = struct{}{}
			return
		}
	}
	heap.Fix(&b.idlers, s.idleIndex)
}
