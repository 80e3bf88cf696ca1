package resource

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/claim"
	"github.com/respool/respool/internal/treap"
)

// location is where an entry is.
type location uint8

const (
	moving       location = iota // leased, or moved by a goroutine that has it to itself
	inList                       // idle, in the idle list
	inUnverified                 // idle, in the list of those that must pass a check first
	releasing                    // idle, while OnRelease or the check of a ReleaseAfter runs
	inSlot                       // in a local slot: idle and open to the hit path, or leased
	gone                         // destroyed, being destroyed, or hijacked
)

// entry is one resource from its creation to its end. It is never used for a
// second value.
type entry[T any] struct {
	word   claim.Word   // says which goroutine has it
	bounds claim.Bounds // in which a Predictable Eviction keeps it; set before it is first lent, then constant
	mark   mark         // its last sampled lease
	wait   waitNote

	// Set before it is first lent, then constant.
	pool     *Pool[T]
	value    T
	id       uint64
	born     time.Duration // on the pool's clock
	made     time.Duration // when its creation began
	jitter   float64
	phase    uint64 // which of its leases are sampled
	res      resident[*entry[T]]
	era      *era
	spared   error                   // it is lent once and then destroyed with this cause; nil: it is not
	cancel   context.CancelCauseFunc // ends the context that Make was given
	creation *creation[T]            // that it comes from, until that is done
	quota    Done

	// What Health found, set by a goroutine that has the entry to itself.
	checked  atomic.Int64 // tick of the last check that passed, plus one; 0: none
	failures atomic.Int32 // tolerated since

	done permit // of its lease's Admission; stale until the caller has the lease

	unseen int64 // leases that ended before a caller had them; set by the goroutine that ends one
	// takenBack is how many of these ended because a policy was asked first. They
	// do not count in Info.Leases: the same acquire may begin another.
	takenBack atomic.Int64

	known known // its last lease whose beginning is known

	// vetting is the lease that an acquire has and its caller has not yet, while
	// the policies are asked; 0: none. Only in a pool that has policies.
	vetting atomic.Uint64

	// Guarded by the pool's lock.
	loc       location
	reserved  bool          // in the idle list, but a policy is asked about it: not to be lent
	wasIdle   bool          // has been idle
	proved    bool          // has done its work
	end       error         // why it is expected to end soon, so that it has or will have a replacement; nil: it is not
	slot      int           // its local slot; if it has none, its last holder's
	slotBase  int64         // Leases when it got its local slot
	since     int64         // tick from which it is idle, outside the local slots
	back      time.Duration // when it last came back while slots of the total were scarce
	granted   time.Duration // when it was last handed to a waiter
	unfit     time.Duration // the least MinRemaining that it was found too near its end for; 0: none
	index     int           // in registry.all
	verified  int64         // tick at which it passed a check, if it was not lent since and is to be lent without another; else 0
	cause     error         // why it is invalidated, or destroyed
	fate      fate          // which counter its end belongs to, if invalidated
	up, down  *entry[T]     // in a linked list of idleList
	node      *treap.Node[*entry[T]]
	inTree    bool   // in an idleList: in a tree, not in a linked list
	neverLent bool   // in an idleList: no caller has had it
	stamp     int64  // its position in an idleList: larger is newer
	seen      uint64 // the last inspection that listed it
}

// fits reports whether the entry may be lent to a caller that asked for r; nil asks for
// nothing. Age only grows, so an entry that was found too old for a demand is too old for
// every larger one. The caller has e to itself, and the pool is locked.
func (e *entry[T]) fits(r *Request) bool {
	return r == nil || (e.unfit == 0 || r.MinRemaining < e.unfit) && (!r.Fresh || e.unused())
}

// lendable reports whether e may be lent again as far as is known now.
func (e *entry[T]) lendable(c *capacity) bool {
	return !e.invalid() && e.spared == nil && !c.surplus()
}

// justVerified reports whether e has passed a check for a waiter that is about to get
// it. With a Queue some time passes between the two.
func (e *entry[T]) justVerified(now int64) bool { return e.verified > 0 && now-e.verified <= 1 }

// listed reports whether the entry is in a list of idle ones and no user function runs for
// it. The pool is locked.
func (e *entry[T]) listed() bool {
	return e.loc == inList && !e.reserved || e.loc == inUnverified
}

// idle reports whether the entry is idle and has no local slot. The pool is locked.
func (e *entry[T]) idle() bool {
	return e.loc == inList || e.loc == inUnverified || e.loc == releasing
}

// unused reports whether no caller has had e. The caller of unused has e to itself, and the
// pool is locked.
func (e *entry[T]) unused() bool { return e.word.Load().Leases == e.unseen }

// info returns the facts. idle is in ticks.
func (e *entry[T]) info(now, idle int64) (i Info) {
	e.facts(&i, now, idle, e.word.Load().Leases)
	i.Idle = min(i.Idle, i.Age) // the tick at which it was given back may have been late
	return i
}

// facts writes the facts to *i, which is the zero Info. On a hit they stay where they are
// written. Each copy would cost as much as asking the policy, because of a store-forwarding
// stall: it would read 16 bytes just written as two 8-byte stores.
func (e *entry[T]) facts(i *Info, now, idle, leases int64) {
	age := max(0, time.Duration(now)*tickLen-e.born)
	checked := age
	if c := e.checked.Load(); c > 0 {
		checked = max(0, time.Duration(now+1-c)*tickLen)
	}
	i.ID = e.id
	i.Age = age
	i.Idle = time.Duration(idle) * tickLen
	i.Leases = leases - e.takenBack.Load()
	i.Jitter = e.jitter
	i.Checked = checked
	i.Failures = int(e.failures.Load())
}

// inspect returns the state of e. A resource that is being moved counts as leased, as in
// Stats. The pool is locked.
func (e *entry[T]) inspect(c *clock) (r ResourceInfo) {
	word := e.word.Load()
	now := c.now()
	tick := max(int64(now/tickLen), c.tick.Load()) // read after the word: not behind it
	idle := int64(0)
	switch {
	case e.idle():
		idle = max(0, tick-e.since)
		if e.reserved || e.loc == releasing {
			r.State = Checking
		}
	case word.Open:
		idle = word.Ticks(tick)
	default:
		r.State = Leased
		if word.Leased {
			r.Lease = uint64(word.Leases)
			r.Held = e.heldFor(word.Leases, tick-word.Ticks(tick), now)
		}
	}
	e.facts(&r.Info, tick, idle, word.Leases)
	r.Idle = min(r.Idle, r.Age)
	if e.invalid() {
		_, r.Invalidated = e.whyInvalid()
	}
	return r
}

// heldFor is how long that lease of e has lasted, which began at tick. The pool is locked.
func (e *entry[T]) heldFor(lease, tick int64, now time.Duration) time.Duration {
	if e.mark.lease.Load() == uint64(lease) {
		return max(0, now-time.Duration(e.mark.start.Load()))
	}
	since := e.known.note(lease, tick)
	return max(0, now.Truncate(tickLen)-time.Duration(since)*tickLen)
}

// known is a lease that runs or has run, and the tick at which it began. The tick of a
// claim.Word wraps around after 46 hours.
type known struct {
	lease atomic.Int64
	tick  atomic.Int64 // set before lease
}

// note notes a lease that runs and began at tick, or earlier if that is known, and returns
// when. The pool is locked.
func (k *known) note(lease, tick int64) (began int64) {
	if k.lease.Load() != lease {
		k.tick.Store(tick)
		k.lease.Store(lease)
	}
	return k.tick.Load()
}

// began returns when a lease began that its holder has not ended, if that is known. It
// needs no lock.
func (k *known) began(lease uint64) (tick int64, ok bool) {
	if k.lease.Load() != int64(lease) {
		return 0, false
	}
	return k.tick.Load(), true
}

// era is the time between two calls of [Pool.Reset], or the one before Close. A resource
// belongs to the era in which its creation began, and is not lent any more when that is
// over. So Reset and Close need not visit every resource while they hold the lock: a
// resource that is leased or being created is destroyed when it comes back, since putLocked
// sees that its era is over.
type era struct {
	over  atomic.Bool
	cause error         // why it is over; set before over, under the pool's lock
	ended time.Duration // when that was, on the pool's clock; as cause

	ctx    context.Context // ends when it is over
	cancel context.CancelCauseFunc
}

// newEra returns an era that begins; ctx ends at Close.
func newEra(ctx context.Context) *era {
	e := new(era)
	e.ctx, e.cancel = context.WithCancelCause(ctx)
	return e
}

// invalid reports whether e must not be lent again.
func (e *entry[T]) invalid() bool { return e.era.over.Load() || e.word.Invalidated() }

// whyInvalid returns the fate and the cause of e, which is invalid: those of the
// first thing that invalidated it. The pool is locked.
func (e *entry[T]) whyInvalid() (fate, error) {
	if e.word.Invalidated() {
		return e.fate, e.cause
	}
	return fateOther, e.era.cause
}

// discarded reports whether e is among the discards: it was idle when its era
// ended, and counts as being destroyed. The pool is locked.
func (e *entry[T]) discarded() bool { return e.listed() && e.era.over.Load() }

// registry has every resource from the end of its creation to the beginning of its
// end, in no order. Its user holds the pool's lock.
//
// A walk over it goes from the end to the front, a few resources under each hold of
// the lock: a resource that is removed meanwhile is replaced by the last one, which
// the walk has visited.
type registry[T any] struct {
	all      []*entry[T]
	expiring int            // of all, those that are expected to end soon: their end is set
	listings uint64         // how many times all was listed
	ids      *atomic.Uint64 // constant: the last ID; shared by the pools of a Keyed
}

func (r *registry[T]) add(e *entry[T]) {
	e.index = len(r.all)
	r.all = append(r.all, e)
}

// remove takes e out: it is gone.
func (r *registry[T]) remove(e *entry[T]) {
	e.loc = gone
	if e.end != nil {
		r.expiring--
	}
	last := len(r.all) - 1
	r.all[e.index] = r.all[last]
	r.all[e.index].index = e.index
	r.all[last] = nil
	r.all = r.all[:last]
}

// setExpiring notes that e is expected to end soon, and why.
func (r *registry[T]) setExpiring(e *entry[T], end error) {
	e.end = end
	r.expiring++
}

// before returns up to n resources before index from, and the index of the first.
func (r *registry[T]) before(from, n int) ([]*entry[T], int) {
	upTo := min(from, len(r.all))
	from = max(0, upTo-n)
	return r.all[from:upTo], from
}
