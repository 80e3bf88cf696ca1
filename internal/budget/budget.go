// Package budget divides a number of places among the members who share it.
//
// A member takes a place for each thing it makes and frees it when that is
// gone. When there is none left, a member who needs one claims it, and the
// budget sees to it that one comes:
//
//   - the least recently used idle thing of any other member gives way;
//   - if nothing is idle, a member that has at least two more than the poorest
//     claimant gives way with the next thing that comes back to it, so that
//     what members hold evens out while they all want more;
//   - if there are fewer places than claimants, one that has nothing is served
//     before callers who came to another member after it did.
//
// A free place goes to the claimant who holds least, of those to the one that
// has claimed longest. So a busy member can not starve a quiet one, and nobody
// gives way in turns with another for nothing: each step of the second rule
// brings two members closer, and the third goes by age.
//
// A member calls its Share under a lock of its own; the budget calls members
// only in Settle, with none held.
package budget

import (
	"container/heap"
	"sync"
	"sync/atomic"
	"time"
)

// Member is one who shares a Budget. The methods are called by Settle, one at a
// time over all members.
type Member interface {
	// Granted says that a place was taken for the member. It must use it, or
	// Free it.
	Granted()
	// GiveWay asks for the place of the idle thing used least recently, if it
	// has been idle since before or longer. The member sees to its end and
	// calls Dying; or it says since when it is idle; or that nothing is.
	GiveWay(before time.Duration) (Answer, time.Duration)
	// Attend says that places have become scarce: from now on, until Scarce
	// says otherwise, the member must call Owes when something comes back that
	// its own callers wait for, and Offer when something is idle.
	Attend()
}

// Answer is what GiveWay came to.
type Answer uint8

const (
	Nothing Answer = iota // nothing is idle
	Newer                 // what is idle was used since, and the time says when
	Gave                  // it gives way
)

// Budget is the places. Make one with New.
type Budget struct {
	now     func() time.Duration
	scarce  atomic.Bool // more is missing than is idle: members must attend
	pending atomic.Bool // Settle has something to look at
	arbiter sync.Mutex  // held by who runs Settle

	// mu is taken under the locks of members, and nothing is called under it.
	mu     sync.Mutex
	max    int
	used   int // places taken
	dying  int // of those, on their way back
	needed int // places claimed
	gave   int64
	claims claimHeap
	idlers idleHeap
	awake  map[*Share]struct{} // those that must be told to Attend
	barren bool                // nothing was idle, and nothing was offered since
	round  int                 // of asking members to give way
}

// Share is one member's part in a Budget.
type Share struct {
	b *Budget
	m Member

	// Guarded by b.mu.
	held   int           // places
	claim  int           // places claimed
	since  time.Duration // when it began to claim
	oldest time.Duration // nothing of it has been idle for longer
	asked  int           // round in which it had nothing idle
	inLine int           // index in b.claims; -1: not there
	inIdle int           // index in b.idlers; -1: not there
}

// New returns a budget of max places. now is the members' clock.
func New(max int, now func() time.Duration) *Budget {
	return &Budget{now: now, max: max, awake: make(map[*Share]struct{})}
}

// Join adds a member. One that holds nothing, claims nothing and is not awake
// costs nothing, and need not leave.
func (b *Budget) Join(m Member) *Share {
	return &Share{b: b, m: m, inLine: -1, inIdle: -1}
}

// Scarce reports whether members must attend.
func (b *Budget) Scarce() bool { return b.scarce.Load() }

// Resize changes the number of places. Call Settle after it.
func (b *Budget) Resize(max int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.max = max
	b.barren = false
	b.pending.Store(true)
}

// Over reports whether more is held than there may be, what is dying left out.
func (b *Budget) Over() bool {
	if !b.scarce.Load() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used-b.dying > b.max
}

// missing is how many things must give way, beside those that are dying and the
// places that are free. b is locked.
func (b *Budget) missing() int { return b.needed + b.used - b.max - b.dying }

// Fits reports whether no more is held than there may be.
func (b *Budget) Fits() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used <= b.max
}

// Levels returns how many places there are, how many are taken, and how often
// something gave way.
func (b *Budget) Levels() (max, used int, gave int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.max, b.used, b.gave
}

// Take takes up to want places, and claims what demand of it is missing; a
// demand of 0 ends the claim. It returns how many it took.
func (s *Share) Take(want, demand int) (took int) {
	b := s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.needed == 0 { // nobody is passed
		took = max(0, min(want, b.max-b.used))
	}
	s.hold(took)
	s.setClaim(max(0, demand-took))
	return took
}

// Claim lowers or ends the claim.
func (s *Share) Claim(demand int) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.setClaim(demand)
}

// Claimed returns how many places the member claims.
func (s *Share) Claimed() int {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	return s.claim
}

// setClaim claims n places. b is locked.
func (s *Share) setClaim(n int) {
	if n == s.claim {
		return
	}
	b := s.b
	b.needed += n - s.claim
	if s.claim == 0 {
		s.since = b.now()
	}
	s.claim = n
	b.place(s)
	b.pending.Store(true)
}

// hold takes n places, which are there. b is locked.
func (s *Share) hold(n int) {
	if n == 0 {
		return
	}
	s.held += n
	s.b.used += n
	s.b.place(s)
}

// place puts s where it belongs in both heaps. b is locked.
func (b *Budget) place(s *Share) {
	switch {
	case s.claim > 0 && s.inLine < 0:
		heap.Push(&b.claims, s)
	case s.claim > 0:
		heap.Fix(&b.claims, s.inLine)
	case s.inLine >= 0:
		heap.Remove(&b.claims, s.inLine)
	}
	switch {
	case s.held > 0 && s.inIdle < 0:
		s.oldest = b.now()
		heap.Push(&b.idlers, s)
	case s.held == 0 && s.inIdle >= 0:
		heap.Remove(&b.idlers, s.inIdle)
	}
}

// Dying says that the member ends one thing; its place is free when Free is
// called.
func (s *Share) Dying() {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.b.dying++
}

// Free gives one place back, of a thing that was dying or was not.
func (s *Share) Free(wasDying bool) {
	b := s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if wasDying {
		b.dying--
	}
	s.held--
	b.used--
	b.place(s)
	if b.needed > 0 {
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

// Offer says that something of a member is idle while places are scarce.
func (b *Budget) Offer() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.missing() > 0 {
		b.barren = false
		b.pending.Store(true)
	}
}

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
	owes := poorest != s && (poorest.held+2 <= s.held || poorest.held == 0 && poorest.since < since && ripe)
	if owes {
		b.gave++
	}
	return owes
}
