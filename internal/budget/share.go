package budget

import (
	"container/heap"
	"time"
)

// Share is the part of one member in a Budget.
type Share struct {
	b *Budget
	m Member

	// Guarded by b.mu.
	held        int           // slots
	dying       int           // of those, being freed
	stuck       int           // of those, no longer waited for
	died        time.Duration // when the last resource began to die
	claim       int           // slots claimed
	patient     bool          // the claim is not for callers
	emptyHanded bool          // counted in b.emptyHanded
	since       time.Duration // when the claim began
	oldest      time.Duration // none of its resources has been idle for longer
	asked       int           // round in which it had nothing idle
	recalled    int           // round in which it was asked for a leased resource
	offers      int           // number of calls of Offer
	claimIndex  int           // in b.claims; -1: not there
	idleIndex   int           // in b.idlers; -1: not there
}

// Take takes up to want slots and claims what is missing of demand; a demand of 0 ends
// the claim. patient means that no caller waits for it. It returns how many it took.
func (s *Share) Take(want, demand int, patient bool) (took int) {
	b := s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.needed == 0 { // no claimant is overtaken
		took = max(0, min(want, b.max-b.used))
	}
	s.holdLocked(took)
	s.setClaimLocked(max(0, demand-took), patient)
	return took
}

// Claim changes or ends the claim.
func (s *Share) Claim(demand int, patient bool) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.setClaimLocked(demand, patient)
}

// Claimed returns how many slots the member claims.
func (s *Share) Claimed() int {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	return s.claim
}

func (s *Share) setClaimLocked(n int, patient bool) {
	patient = patient && n > 0
	if n == s.claim && patient == s.patient {
		return
	}
	b := s.b
	b.needed += n - s.claim
	if s.claim == 0 || s.patient && !patient { // the arrival of its first caller counts
		s.since = b.now()
	}
	s.claim, s.patient = n, patient
	if n > 0 {
		b.unwanted = 0
	}
	b.updateLocked(s)
	b.pending.Store(true)
}

// holdLocked takes n free slots.
func (s *Share) holdLocked(n int) {
	if n == 0 {
		return
	}
	if s.held == 0 { // its resources become idle later than now
		s.oldest = s.b.now()
		heap.Push(&s.b.idlers, s)
	}
	s.held += n
	s.b.used += n
	s.b.updateLocked(s)
}

// Dying reports that the member begins to destroy n resources. The slot of each is free
// once Free is called.
func (s *Share) Dying(n int) {
	if n == 0 {
		return
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.dying += n
	s.died = s.b.now()
	s.b.ending[s] = struct{}{}
	s.b.beginDyingLocked(n)
}

// Free returns one slot; wasDying tells whether its resource was reported by Dying.
func (s *Share) Free(wasDying bool) {
	b := s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if wasDying {
		s.dying--
		if s.stuck = min(s.stuck, s.dying); s.stuck == s.dying {
			delete(b.ending, s)
		}
		b.dying.end()
	}
	s.held--
	b.used--
	b.updateLocked(s)
	if b.needed > 0 || b.scarce.Load() {
		b.pending.Store(true)
	}
}

// Awake records whether resources are returned to the member without its lock, so that
// it must be told to Attend.
func (s *Share) Awake(yes bool) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if yes {
		s.b.awake[s] = struct{}{}
	} else {
		delete(s.b.awake, s)
	}
}

// Offer reports that a resource of the member is idle while slots are scarce.
func (s *Share) Offer() {
	b := s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	s.offers++
	if _, noIdle := b.noIdle[s]; noIdle {
		delete(b.noIdle, s)
		heap.Push(&b.idlers, s)
	}
	if b.needed == 0 {
		b.unwanted++
	}
	if b.missingLocked() > 0 || b.scarcityOverLocked() {
		b.pending.Store(true)
	}
}

// usable returns the number of slots that s can use: those held and not stuck. b.mu is
// held.
func (s *Share) usable() int { return s.held - s.stuck }

// Owes reports whether the resource just returned to the member must give way although
// its own callers wait, the first of them since the given time. ripe means that the
// resource has lived long enough to be worth its making.
func (s *Share) Owes(since time.Duration, ripe bool) bool {
	b := s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.claims) == 0 || b.missingLocked() <= 0 {
		return false
	}
	poorest := b.claims[0]
	if poorest == s || poorest.patient {
		return false
	}
	first := poorest.usable() == 0 && b.emptyHanded > b.dying.expected() && poorest.since < since && ripe
	if first || b.richer(s, poorest) {
		b.gave++
		return true
	}
	return false
}

// NoRicher reports whether s has no more than the next member to be served will have, so
// that nothing is evened out if s gives way.
func (s *Share) NoRicher() bool {
	b := s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	next := b.claims.nextExcept(s)
	if next == nil || b.overLocked() || next.usable() == 0 && b.emptyHanded > b.dying.expected() {
		return false
	}
	return !b.richer(s, next)
}

// richer reports whether s has at least two more than next, the member to be served
// next, to which the dying resources are counted. b.mu is held.
func (b *Budget) richer(s, next *Share) bool {
	return next.usable()+min(b.dying.expected(), next.claim)+2 <= s.held-s.dying
}
