// Package budget divides a number of places among the members who share it.
//
// A member takes a place for each thing it makes and frees it when that is
// gone. When there is none left, a member who needs one claims it, and the
// budget sees to it that one comes:
//
//   - the least recently used idle thing gives way;
//   - if nothing is idle, a member that has at least two more than the poorest
//     claimant gives way with the next thing that comes back to it, so that
//     what members hold evens out while they all want more;
//   - if there are fewer places than claimants, one that has nothing is served
//     before callers who came to another member after it did.
//
// A free place goes to the claimant who holds least, of those to the one that
// has claimed longest; a patient one, which has no callers but wants to be
// ready, comes after all others, and what it has idle already is not ended for
// its own claim. So a busy member can not starve a quiet one, and nobody gives
// way in turns with another for nothing: each step of the second rule brings
// two members closer, and the third goes by age. What is on its way back counts
// as had by those it is for, so that no more gives way than is wanted; but not
// for ever, since an end may hang.
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
	// its own callers wait for, and Offer when something is idle. A member
	// that is not awake does so unasked.
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
	dying  ends
	needed int // places claimed
	bare   int // claimants that hold nothing, without the patient
	gave   int64
	claims claimHeap
	idlers idleHeap
	dry    map[*Share]struct{} // hold something, and will Offer when it is idle
	spared []*Share            // hold something idle, which not all may have
	awake  map[*Share]struct{} // those that must be told to Attend
	round  int                 // of asking members to give way
	quiet  int                 // offers that nobody wanted, since scarcity began or somebody claimed
}

// Share is one member's part in a Budget.
type Share struct {
	b *Budget
	m Member

	// Guarded by b.mu.
	held    int           // places
	dying   int           // of those, on their way back
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

// New returns a budget of max places. now is the members' clock.
func New(max int, now func() time.Duration) *Budget {
	return &Budget{now: now, max: max, dry: make(map[*Share]struct{}), awake: make(map[*Share]struct{})}
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
	b.pending.Store(true)
}

// Over reports whether more is held than there may be, what is dying left out.
func (b *Budget) Over() bool {
	if !b.scarce.Load() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.over()
}

func (b *Budget) over() bool { return b.used-b.dying.coming() > b.max }

// missing is how many things must give way, beside those that are dying and the
// places that are free. b is locked.
func (b *Budget) missing() int { return b.needed + b.used - b.max - b.dying.coming() }

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

// place puts s where it belongs. b is locked.
func (b *Budget) place(s *Share) {
	switch {
	case s.claim > 0 && s.inLine < 0:
		heap.Push(&b.claims, s)
	case s.claim > 0:
		heap.Fix(&b.claims, s.inLine)
	case s.inLine >= 0:
		heap.Remove(&b.claims, s.inLine)
	}
	if bare := s.claim > 0 && s.held == 0 && !s.patient; bare != s.bare {
		if s.bare = bare; bare {
			b.bare++
		} else {
			b.bare--
		}
	}
	if s.held > 0 {
		return
	}
	delete(b.dry, s)
	if s.inIdle >= 0 {
		heap.Remove(&b.idlers, s.inIdle)
	}
}

// Dying says that the member ends one thing; its place is free when Free is
// called.
func (s *Share) Dying() {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.dying++
	s.b.begin()
}

// Free gives one place back, of a thing that was dying or was not.
func (s *Share) Free(wasDying bool) {
	b := s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if wasDying {
		s.dying--
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

// calms reports whether scarcity may end. When it begins all members are asked,
// and while it lasts what they do takes longer, so it ends when it has lasted
// for as many steps as there are members. b is locked.
func (b *Budget) calms() bool {
	return b.needed == 0 && !b.over() && b.quiet >= len(b.idlers)+len(b.dry)
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
	if poorest == s || poorest.patient {
		return false
	}
	// What is dying goes to the poorest first.
	coming := b.dying.coming()
	richer := poorest.held+min(coming, poorest.claim)+2 <= s.held-s.dying
	first := poorest.held == 0 && b.bare > coming && poorest.since < since && ripe
	if richer || first {
		b.gave++
		return true
	}
	return false
}
