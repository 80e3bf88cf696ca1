package budget

import (
	"container/heap"
	"time"
)

// Share is one member's part in a Budget.
type Share struct {
	b *Budget
	m Member

	// Guarded by b.mu.
	held    int           // places
	dying   int           // of those, on their way back
	stuck   int           // of those, waited for no more
	died    time.Duration // when one last began to die
	claim   int           // places claimed
	patient bool          // not for callers
	bare    bool          // it is counted in b.bare
	since   time.Duration // when it began to claim
	oldest  time.Duration // nothing of it has been idle for longer
	asked   int           // round in which it had nothing idle
	offers  int           // how often it has offered something
	inLine  int           // index in b.claims; -1: not there
	inIdle  int           // index in b.idlers; -1: not there
}

// Take takes up to want places, and claims what demand of it is missing; a
// demand of 0 ends the claim. patient says that no caller waits for it. It
// returns how many it took.
func (s *Share) Take(want, demand int, patient bool) (took int) {
	b := s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.needed == 0 { // nobody is passed
		took = max(0, min(want, b.max-b.used))
	}
	s.hold(took)
	s.setClaim(max(0, demand-took), patient)
	return took
}

// Claim changes or ends the claim.
func (s *Share) Claim(demand int, patient bool) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.setClaim(demand, patient)
}

// Claimed returns how many places the member claims.
func (s *Share) Claimed() int {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	return s.claim
}

// setClaim claims n places. b is locked.
func (s *Share) setClaim(n int, patient bool) {
	patient = patient && n > 0
	if n == s.claim && patient == s.patient {
		return
	}
	b := s.b
	b.needed += n - s.claim
	if s.claim == 0 || s.patient && !patient { // its callers come when they come
		s.since = b.now()
	}
	s.claim, s.patient = n, patient
	if n > 0 {
		b.quiet = 0
	}
	b.place(s)
	b.pending.Store(true)
}

// hold takes n places, which are there. b is locked.
func (s *Share) hold(n int) {
	if n == 0 {
		return
	}
	if s.held == 0 { // what it makes is idle later than now
		s.oldest = s.b.now()
		heap.Push(&s.b.idlers, s)
	}
	s.held += n
	s.b.used += n
	s.b.place(s)
}

// Dying says that the member ends n things; the place of each is free when Free
// is called.
func (s *Share) Dying(n int) {
	if n == 0 {
		return
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.dying += n
	s.died = s.b.now()
	s.b.ending[s] = struct{}{}
	s.b.begin(n)
}

// Free gives one place back, of a thing that was dying or was not.
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
	b.place(s)
	if b.needed > 0 || b.scarce.Load() {
		b.pending.Store(true)
	}
}

// Awake says whether things come back to the member without its lock, so that
// it must Attend.
func (s *Share) Awake(yes bool) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if yes {
		s.b.awake[s] = struct{}{}
	} else {
		delete(s.b.awake, s)
	}
}

// Offer says that something of the member is idle while places are scarce.
func (s *Share) Offer() {
	b := s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	s.offers++
	if _, dry := b.dry[s]; dry {
		delete(b.dry, s)
		heap.Push(&b.idlers, s)
	}
	if b.needed == 0 {
		b.quiet++
	}
	if b.missing() > 0 || b.calms() {
		b.pending.Store(true)
	}
}

// has is how many places s has the use of: not those that are stuck. b is locked.
func (s *Share) has() int { return s.held - s.stuck }

// Owes reports whether what has just come back to the member must give way,
// although callers of its own wait, the first of them since then. ripe says that
// it has lived long enough to be worth its making.
func (s *Share) Owes(since time.Duration, ripe bool) bool {
	b := s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.claims) == 0 || b.missing() <= 0 {
		return false
	}
	poorest := b.claims[0]
	if poorest == s || poorest.patient {
		return false
	}
	first := poorest.has() == 0 && b.bare > b.dying.coming() && poorest.since < since && ripe
	if first || b.richer(s, poorest) {
		b.gave++
		return true
	}
	return false
}

// NoRicher reports whether s has no more than the next one to be served will have,
// so that nothing is evened out if s gives way.
func (s *Share) NoRicher() bool {
	b := s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	next := b.claims.other(s)
	if next == nil || b.over() || next.has() == 0 && b.bare > b.dying.coming() {
		return false
	}
	return !b.richer(s, next)
}

// richer reports whether s has at least two more than the next one to be served,
// who gets what is dying. b is locked.
func (b *Budget) richer(s, next *Share) bool {
	return next.has()+min(b.dying.coming(), next.claim)+2 <= s.held-s.dying
}
