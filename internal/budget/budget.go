// Package budget divides a number of slots among the members that share it.
//
// A member takes a slot for each resource it makes and frees the slot when the
// resource is gone. When no slot is free, a member that needs one claims it, and the
// budget frees one for it:
//
//   - The least recently used idle resource of all members gives way.
//   - If nothing is idle, a member that has at least two more than the poorest claimant
//     gives way with the next resource that is returned to it, so that the numbers
//     converge while all members want more.
//   - If there are fewer slots than claimants, a claimant that has none is served before
//     those callers of another member that arrived later, and before all of them when
//     the other member has had its turn. The arguments of Owes say so.
//
// A free slot goes to the claimant that has least; of equals, to the one that has claimed
// longest. A patient claimant, which has no callers but wants idle resources, comes after
// all others, and its idle resources do not give way for its own claim. So a busy member
// cannot starve a quiet one, and members do not give way to each other in turns without
// effect: each step of the second rule brings two members closer, and the third goes by
// arrival. Slots that are being freed count as held by the claimants they are for, so that
// no more gives way than is wanted; but only for a limited time, since destroying a resource
// may hang.
//
// Lock order: a member calls its Share with the member's lock held, so Budget.mu is taken
// after the locks of members, and nothing is called with it held. The budget calls members
// only in Settle, without any lock but the arbiter.
package budget

import (
	"container/heap"
	"sync"
	"sync/atomic"
	"time"
)

// Member shares a Budget. Its methods are called by Settle, one at a time over all
// members.
type Member interface {
	// Granted reports that a slot was taken for the member. It must use the slot or
	// Free it.
	Granted()
	// GiveWay asks for the slot of the least recently used idle resource, if that has
	// been idle since before or longer. The member begins to destroy it and calls Dying;
	// or it returns since when the resource has been idle; or that nothing is idle.
	GiveWay(before time.Duration) (Answer, time.Duration)
	// Attend reports that slots are scarce. Until Scarce returns false, the member must
	// call Owes when a resource is returned for which its own callers wait, and Offer
	// when a resource becomes idle. A member that is not awake does so in any case.
	Attend()
}

// Recaller is a Member that can ask the holder of a resource to return it. Settle calls it.
type Recaller interface {
	// Recall reports that a claimant has a better claim to a slot of the member, and that
	// nothing is idle. It is called again when something else is pending.
	Recall()
}

// Answer is the result of GiveWay.
type Answer uint8

const (
	Nothing Answer = iota // nothing is idle
	Newer                 // the idle resource was used since; the duration is when
	Gave                  // the resource gives way
)

// Budget is a number of slots. Create one with New.
type Budget struct {
	now     func() time.Duration
	scarce  atomic.Bool // more is missing than is idle: members must attend
	pending atomic.Bool // Settle has work
	arbiter sync.Mutex  // held by the goroutine that runs Settle

	// mu guards the fields below and those of every Share.
	mu          sync.Mutex
	max         int
	used        int // slots taken
	dying       dyingCount
	needed      int // slots claimed
	emptyHanded int // claimants without a slot, except patient ones
	gave        int64
	claims      claimHeap
	idlers      idleHeap
	noIdle      map[*Share]struct{} // members with slots and nothing idle; they will Offer
	ending      map[*Share]struct{} // members with a dying resource that is not stuck
	exempt      []*Share            // members with idle resources that are not to give way now
	awake       map[*Share]struct{} // members that must be told to Attend
	round       int                 // of asking members to give way
	recallRound int                 // the last round in which members were asked for leased resources
	recalls     int                 // how many were in that round
	unfinished  bool                // the last pass ended before there was nothing to do
	unwanted    int                 // offers without a claim, since scarcity began or the last claim
}

// New returns a budget of max slots. now is the clock of the members.
func New(max int, now func() time.Duration) *Budget {
	return &Budget{
		now: now, max: max,
		noIdle: make(map[*Share]struct{}), ending: make(map[*Share]struct{}), awake: make(map[*Share]struct{}),
	}
}

// Join adds a member. A member that holds nothing, claims nothing and is not awake is
// not referenced by the budget, so it need not leave.
func (b *Budget) Join(m Member) *Share {
	return &Share{b: b, m: m, claimIndex: -1, idleIndex: -1}
}

// Scarce reports whether members must attend.
func (b *Budget) Scarce() bool { return b.scarce.Load() }

// Resize changes the number of slots. Call Settle after it.
func (b *Budget) Resize(max int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.max = max
	b.pending.Store(true)
}

// Over reports whether more slots are taken than exist, without those being freed.
func (b *Budget) Over() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.overLocked()
}

func (b *Budget) overLocked() bool { return b.used-b.dying.expected() > b.max }

// missingLocked returns how many resources must give way, in addition to those that
// are dying and the free slots.
func (b *Budget) missingLocked() int { return b.needed + b.used - b.max - b.dying.expected() }

// Fits reports whether at most as many slots are taken as exist.
func (b *Budget) Fits() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used <= b.max
}

// Short reports whether more slots are claimed than are free or being freed.
func (b *Budget) Short() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.missingLocked() > 0
}

// Levels returns the number of slots, how many are taken, and how often a resource
// gave way.
func (b *Budget) Levels() (max, used int, gave int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.max, b.used, b.gave
}

// updateLocked updates the heaps and sets after a change of s.
func (b *Budget) updateLocked(s *Share) {
	switch {
	case s.claim > 0 && s.claimIndex < 0:
		heap.Push(&b.claims, s)
	case s.claim > 0:
		heap.Fix(&b.claims, s.claimIndex)
	case s.claimIndex >= 0:
		heap.Remove(&b.claims, s.claimIndex)
	}
	if empty := s.claim > 0 && s.usable() == 0 && !s.patient; empty != s.emptyHanded {
		if s.emptyHanded = empty; empty {
			b.emptyHanded++
		} else {
			b.emptyHanded--
		}
	}
	if s.held > 0 {
		return
	}
	delete(b.noIdle, s)
	if s.idleIndex >= 0 {
		heap.Remove(&b.idlers, s.idleIndex)
	}
}

// scarcityOverLocked reports whether scarcity may end. When scarcity begins all
// members are asked, and while it lasts their operations take longer, so it ends only
// after as many offers without a claim as there are members.
func (b *Budget) scarcityOverLocked() bool {
	return b.needed == 0 && !b.overLocked() && b.unwanted >= len(b.idlers)+len(b.noIdle)
}

// claimHeap holds the members that claim, the next to be served first.
type claimHeap []*Share

func (h claimHeap) Len() int { return len(h) }
func (h claimHeap) Less(i, j int) bool {
	if h[i].patient != h[j].patient {
		return h[j].patient
	}
	if a, b := h[i].usable(), h[j].usable(); a != b {
		return a < b
	}
	return h[i].since < h[j].since
}

// nextExcept returns the next member to be served other than s; nil if there is none.
func (h claimHeap) nextExcept(s *Share) *Share {
	switch {
	case len(h) == 0 || len(h) == 1 && h[0] == s:
		return nil
	case h[0] != s:
		return h[0]
	case len(h) == 2 || h.Less(1, 2):
		return h[1]
	}
	return h[2]
}
func (h claimHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].claimIndex, h[j].claimIndex = i, j
}
func (h *claimHeap) Push(x any) {
	s := x.(*Share)
	s.claimIndex = len(*h)
	*h = append(*h, s)
}
func (h *claimHeap) Pop() any {
	old := *h
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	s.claimIndex = -1
	return s
}

// idleHeap holds the members that may have something idle, ordered by a lower bound of
// the time since when. The bound is corrected when the member comes first.
type idleHeap []*Share

func (h idleHeap) Len() int { return len(h) }
func (h idleHeap) Less(i, j int) bool {
	if h[i].oldest != h[j].oldest {
		return h[i].oldest < h[j].oldest
	}
	return h[i].asked < h[j].asked
}
func (h idleHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].idleIndex, h[j].idleIndex = i, j
}
func (h *idleHeap) Push(x any) {
	s := x.(*Share)
	s.idleIndex = len(*h)
	*h = append(*h, s)
}
func (h *idleHeap) Pop() any {
	old := *h
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	s.idleIndex = -1
	return s
}

// endTimeout is how long at least a dying resource counts as about to free its slot;
// at most half as long again. A resource that takes longer to be destroyed, because its
// Destroy hangs, is no longer waited for: something else gives way.
const endTimeout = time.Second

// generations is the number of age groups of dying resources that are waited for.
const generations = 3

// dyingCount counts dying resources by age.
type dyingCount struct {
	young [generations]int // by the number of ticks since they began to die
	stuck int              // older
	clock *time.Timer      // nil until the first resource dies
	ticks bool             // clock is running
}

// expected returns the number of slots that are about to be freed.
func (d *dyingCount) expected() (n int) {
	for _, m := range d.young {
		n += m
	}
	return n
}

// end counts one resource out. Its age is unknown; the youngest group is assumed, since
// most resources end at once, and to take one for stuck costs less than to wait for one
// that is.
func (d *dyingCount) end() {
	for i := range d.young {
		if d.young[i] > 0 {
			d.young[i]--
			return
		}
	}
	d.stuck--
}

// age moves every group one tick on.
func (d *dyingCount) age() {
	d.stuck += d.young[generations-1]
	copy(d.young[1:], d.young[:])
	d.young[0] = 0
}

// beginDyingLocked counts n resources in and starts the clock.
func (b *Budget) beginDyingLocked(n int) {
	b.dying.young[0] += n
	if b.dying.ticks {
		return
	}
	b.dying.ticks = true
	if b.dying.clock == nil {
		b.dying.clock = time.AfterFunc(endTimeout/(generations-1), b.tick)
	} else {
		b.dying.clock.Reset(endTimeout / (generations - 1))
	}
}

// tick is called by the clock while a dying resource is not stuck. Of each member only
// the time at which its last resource began to die is known.
func (b *Budget) tick() {
	now := b.now()
	b.mu.Lock()
	b.dying.age()
	for s := range b.ending {
		if now-s.died >= endTimeout {
			delete(b.ending, s)
			s.stuck = s.dying
			b.updateLocked(s)
		}
	}
	if b.dying.ticks = b.dying.expected()+len(b.ending) > 0; b.dying.ticks {
		b.dying.clock.Reset(endTimeout / (generations - 1))
	}
	b.pending.Store(true)
	b.mu.Unlock()
	b.Settle()
}
