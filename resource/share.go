package resource

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/budget"
)

// shared is what the pools of a Keyed have in common.
type shared[T any] struct {
	base    time.Time // of every clock, so that idle times can be compared
	budget  *budget.Budget
	ids     atomic.Uint64
	drained func(p *Pool[T]) // runs when a pool is closed and empty

	failures [reasons]atomic.Int64 // acquires of all keys that failed
}

// A pool holds a place of the budget for each of its live. It takes the place
// before startMake, and whatever lowers live gives it back.

// places takes the places for want makes, of which demand are for callers, and
// returns how many it got. What callers miss is claimed: see Granted. The pool
// is locked.
func (p *Pool[T]) places(want, demand int) int {
	if p.shared == nil {
		return want
	}
	if want == 0 && p.claimed == 0 {
		return 0
	}
	had := min(p.granted, want)
	p.granted -= had
	took := had + p.share.Take(want-had, max(0, demand-had), p.waiters.n == 0)
	p.claimed = max(0, demand-took)
	return took
}

// placeNow takes a place, if one is free that no pool waits for. The pool is
// locked.
func (p *Pool[T]) placeNow() bool {
	return p.claimed == 0 && p.share.Take(1, 0, false) == 1
}

// vacatePlace gives up the place of one that is gone. The pool is locked.
func (p *Pool[T]) vacatePlace(wasDying bool) {
	p.live--
	if p.shared != nil {
		p.share.Free(wasDying)
	}
}

// fitsTotal reports whether there are no more than the total allows: it may have
// been lowered.
func (p *Pool[T]) fitsTotal() bool { return p.shared == nil || p.shared.budget.Fits() }

// giveWay retires e, which has just come back or, if it was not used, was just
// made, if the total has a better use for its place. It reports whether it has.
// The pool is locked.
func (p *Pool[T]) giveWay(e *entry[T], used bool) bool {
	if !p.shared.budget.Scarce() {
		return false
	}
	if p.shared.budget.Over() {
		p.retire(e, ErrResized, fateOther)
		return true
	}
	e.back = p.clock.now()
	if !used || p.waiters.n == 0 {
		return false // if it lies idle it may be chosen to give way: see offer
	}
	// One that took long to make must live as long before it makes way for
	// callers who only came earlier: so where callers always wait at least
	// half of the time of the places goes to use, however many keys there are.
	lived, made := e.back-e.born, e.born-e.made
	next := p.waiters.front()
	if p.ordered {
		next = p.waiters.back() // a Queue may leave who came first in front for ever
	}
	if next == nil { // all have expired
		return false
	}
	came := next.Since
	if lived >= turn*made {
		came = math.MaxInt64 // the key has had its turn, however long its line is
	}
	if !p.share.Owes(came, lived >= made) {
		return false
	}
	p.retire(e, ErrPreempted, fateOther)
	return true
}

// turn is how many times the time of its making a key may use its only resource,
// for callers who came before those of a key that has nothing. Without an end to
// it a key with a thousand callers in line would leave others the thousandth part.
const turn = 4

// offer says that something is idle, if places are scarce. The pool is locked.
func (p *Pool[T]) offer() {
	if !p.shared.budget.Scarce() {
		return
	}
	p.idle.flushSlots(0) // what was given back just now may have been left there
	if p.idle.available() == 0 && p.unverified() == 0 {
		return
	}
	if e := p.spare(); e != nil && !p.keepsBack(e) {
		p.share.Offer()
	}
}

// keepsBack reports whether e, which is idle, does not give way yet, since those
// for whom it would have no less than this pool: else the two would take it from
// each other in turns, and each make it anew. Once it has been idle for as long
// as it took to make it goes, and until then it is asked for no more. The pool is
// locked.
func (p *Pool[T]) keepsBack(e *entry[T]) bool {
	now := p.clock.now()
	wait := e.born - e.made - (now - max(e.back, time.Duration(e.since)*tickLen))
	if wait <= 0 || !p.share.NoRicher() {
		return false
	}
	p.growAgain(now, wait) // unlock offers it then
	return true
}

// spare returns the idle resource that was used least recently, if nobody waits
// who could use it; else nil. The pool is locked.
func (p *Pool[T]) spare() *entry[T] {
	if p.waiters.n > 0 && !p.choosy() {
		return nil
	}
	if e := p.health.unverified.first(OldestFirst, nil); e != nil {
		return e
	}
	return p.idle.list.unwanted(p.waiters.needs())
}

// claimLess lowers the claim to what those who wait, and Warm, can use. The pool
// is locked.
func (p *Pool[T]) claimLess() {
	n := max(p.waiters.n, p.warmth())
	if p.maker.sought {
		n = max(n, 1)
	}
	if n < p.claimed {
		p.claimed = n
		p.share.Claim(n, p.waiters.n == 0)
	}
}

// leaveTotal ends what the pool wants of the total. The pool is locked.
func (p *Pool[T]) leaveTotal() {
	p.claimed = 0
	p.share.Claim(0, false)
	p.share.Awake(false)
}

func (p *Pool[T]) nextID() uint64 {
	if p.shared != nil {
		return p.shared.ids.Add(1)
	}
	p.ids++
	return p.ids
}

// member is a pool as its budget sees it.
type member[T any] Pool[T]

// Granted uses a place that the budget took for the pool.
func (m *member[T]) Granted() {
	p := (*Pool[T])(m)
	p.lock()
	defer p.unlock()
	p.claimed = p.share.Claimed()
	p.granted++
	p.grow()
	for ; p.granted > 0; p.granted-- { // it is not wanted any more
		p.share.Free(false)
	}
}

// GiveWay retires the idle resource used least recently, if nobody waits who
// could use it and it has not been used after before.
func (m *member[T]) GiveWay(before time.Duration) (budget.Answer, time.Duration) {
	p := (*Pool[T])(m)
	p.lock()
	defer p.unlock()
	p.idle.flushSlots(0)
	e := p.spare()
	if e == nil || p.keepsBack(e) {
		return budget.Nothing, 0
	}
	if since := time.Duration(e.since) * tickLen; since > before {
		return budget.Newer, since
	}
	cause := ErrPreempted
	if p.shared.budget.Over() {
		cause = ErrResized
	}
	p.retire(e, cause, fateOther)
	return budget.Gave, 0
}

// Attend has every release come through the lock from now on, and what is idle
// on seats offered.
func (m *member[T]) Attend() {
	p := (*Pool[T])(m)
	p.lock()
	defer p.unlock()
	p.setDetour()
	p.idle.flushSlots(0)
}
