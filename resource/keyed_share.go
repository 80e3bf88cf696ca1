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

	failures [reasons]atomic.Int64 // failed acquires of all keys
	any      anyCounts
	listings atomic.Uint64 // how many calls of Keyed.Inspect there were
}

// member is a pool as its budget sees it: it gives up idle resources for other keys and is
// granted the slots that these had.
type member[T any] Pool[T]

// memberOf returns p as its budget sees it.
func memberOf[T any](p *Pool[T]) *member[T] { return (*member[T])(p) }

// Granted uses a slot that the budget took for the pool.
func (m *member[T]) Granted() {
	p := (*Pool[T])(m)
	p.lock()
	defer p.unlock()
	p.cap.grant()
	p.growLocked()
	p.cap.returnGranted()
}

// GiveWay retires the idle resource used least recently, unless a waiter could use
// it or it was used later than before.
func (m *member[T]) GiveWay(before time.Duration) (budget.Answer, time.Duration) {
	p := (*Pool[T])(m)
	p.lock()
	defer p.unlock()
	p.idle.flushSlots(0)
	e := m.spareLocked()
	if e == nil || m.keepsBackLocked(e) {
		return budget.Nothing, 0
	}
	if since := time.Duration(e.since) * tickLen; since > before {
		return budget.Newer, since
	}
	cause := ErrPreempted
	if p.cap.exceeds() {
		cause = ErrResized
	}
	p.retireLocked(e, cause, fateOther)
	return budget.Gave, 0
}

// Recall asks for a leased resource back, because another key has a better claim to its slot
// and nothing is idle. One is asked for at a time: when it has come back the budget asks again,
// if it must.
func (m *member[T]) Recall() {
	p := (*Pool[T])(m)
	p.lock()
	defer p.unlock()
	recallOp[T]{p}.preemptLocked()
}

// Attend sends every release through the lock from now on, and has the resources
// that are idle in local slots offered.
func (m *member[T]) Attend() {
	p := (*Pool[T])(m)
	p.lock()
	defer p.unlock()
	p.setSlowPathLocked()
	p.idle.flushSlots(0)
}

// preemptLocked retires e, which has just come back or, if it was not used, was just
// created, if another key has a better claim to its slot. It reports whether it did.
func (m *member[T]) preemptLocked(e *entry[T], used bool) bool {
	p := (*Pool[T])(m)
	if !p.cap.scarce() {
		return false
	}
	if p.cap.exceeds() {
		p.retireLocked(e, ErrResized, fateOther)
		return true
	}
	e.back = p.clock.now()
	if !used || p.waiters.n == 0 {
		return false // an idle resource may be chosen to give way: see offer
	}
	// A resource that took long to create must live as long before it makes way
	// for callers that only came earlier: so where callers always wait at least
	// half of the time of the slots is used, however many keys there are.
	lived, made := e.back-e.born, e.born-e.made
	next := p.waiters.front()
	if p.mode.ordered {
		next = p.waiters.back() // a Queue may leave the first waiter in front for ever
	}
	if next == nil { // all have expired
		return false
	}
	came := next.Since
	if lived >= turn*made {
		came = math.MaxInt64 // the key has had its turn, however many of its callers wait
	}
	if !p.cap.share.Owes(came, lived >= made) {
		return false
	}
	p.retireLocked(e, ErrPreempted, fateOther)
	return true
}

// turn is how many times the time of its creation a key may use its only resource for callers
// that came before those of a key that has nothing. Without an end, a key with a thousand
// waiters would leave others a thousandth.
const turn = 4

// offerLocked notifies the budget that a resource is idle, if slots are scarce.
func (m *member[T]) offerLocked() {
	p := (*Pool[T])(m)
	if !p.cap.scarce() {
		return
	}
	p.idle.flushSlots(0) // a resource may have been left there just before
	if p.idle.available() == 0 && p.health.unverified.n == 0 {
		return
	}
	if e := m.spareLocked(); e != nil && !m.keepsBackLocked(e) {
		p.cap.share.Offer()
	}
}

// keepsBackLocked reports whether e, which is idle, does not give way yet because the key
// that wants its slot would then have no less than this one: else the two would take it
// from each other in turns, and each create it anew. Once e has been idle for as long as
// its creation took it gives way, and until then it is not asked for.
func (m *member[T]) keepsBackLocked(e *entry[T]) bool {
	p := (*Pool[T])(m)
	now := p.clock.now()
	wait := e.born - e.made - (now - max(e.back, time.Duration(e.since)*tickLen))
	if wait <= 0 || !p.cap.share.NoRicher() {
		return false
	}
	p.alarm.after(now, wait) // dispatch offers it then
	return true
}

// spareLocked returns the idle resource that was used least recently, if no waiter could
// use it; else nil.
func (m *member[T]) spareLocked() *entry[T] {
	p := (*Pool[T])(m)
	if p.waiters.n > 0 && !p.hasConstraintsLocked() {
		return nil
	}
	if e := p.health.unverified.first(OldestFirst, nil); e != nil {
		return e
	}
	return p.idle.list.unwanted(p.waiters.needs())
}
