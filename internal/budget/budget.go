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
//     before callers who came to another member after it did, and before all
//     when that one has had its turn, which is for it to say.
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
	bare   int // claimants that have nothing, without the patient
	gave   int64
	claims claimHeap
	idlers idleHeap
	dry    map[*Share]struct{} // hold something, and will Offer when it is idle
	ending map[*Share]struct{} // something of theirs is dying, and not stuck
	spared []*Share            // hold something idle, which not all may have
	awake  map[*Share]struct{} // those that must be told to Attend
	round  int                 // of asking members to give way
	quiet  int                 // offers that nobody wanted, since scarcity began or somebody claimed
}

// New returns a budget of max places. now is the members' clock.
func New(max int, now func() time.Duration) *Budget {
	return &Budget{
		now: now, max: max,
		dry: make(map[*Share]struct{}), ending: make(map[*Share]struct{}), awake: make(map[*Share]struct{}),
	}
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

// Short reports whether more is claimed than is free or dying.
func (b *Budget) Short() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.missing() > 0
}

// Levels returns how many places there are, how many are taken, and how often
// something gave way.
func (b *Budget) Levels() (max, used int, gave int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.max, b.used, b.gave
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
	if bare := s.claim > 0 && s.has() == 0 && !s.patient; bare != s.bare {
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

// calms reports whether scarcity may end. When it begins all members are asked,
// and while it lasts what they do takes longer, so it ends when it has lasted
// for as many steps as there are members. b is locked.
func (b *Budget) calms() bool {
	return b.needed == 0 && !b.over() && b.quiet >= len(b.idlers)+len(b.dry)
}
