package resource

import (
	"math"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/respool/respool/internal/treap"
)

// idleSet owns the idle resources: those in local slots, those in the idle list,
// and the count of those reserved for a policy's question. Its user holds the
// pool's lock.
type idleSet[T any] struct {
	clock *clock         // constant
	order Order          // constant
	slots []localSlot[T] // constant; none if the order is OldestFirst

	list       idleList[T]
	occupied   uint64                 // a bit for each local slot that has a resource, idle or leased
	begun      int64                  // leases begun in local slots, those of resources in one left out
	contention int                    // how often callers found the lock held, recently
	reserved   map[*entry[T]]struct{} // in the list, and not to be lent while a policy is asked
	anyUnfit   bool                   // the unfit of some entry was ever set
}

// localSlot is a per-P cache of one idle resource, as sync.Pool has them. Which
// slot a goroutine uses follows from the address of its stack, so that goroutines
// that run at the same time use different cache lines and no lock: an acquire and a
// release are one compare-and-swap each, on the resource's own word. A stack guarded
// by a mutex takes twice as long uncontended and five times as long with two cores;
// the ratios of the row "one goroutine per core" in internal/bench come from here.
//
// A resource in a local slot belongs to the pool as one in the idle list does: every
// slow path may claim it. It keeps its slot while it is leased, so that its release
// needs no search.
type localSlot[T any] struct {
	e atomic.Pointer[entry[T]]
	_ [56]byte // one cache line each
}

// There are a few local slots per processor, so that two goroutines that run at once
// seldom share one, and no more than there are resources. Under contention a slow
// path that searches for an idle resource looks at no more than slotsSeen of them.
// idleSet.occupied has a bit for each, so maxSlots is at most 64.
const (
	slotsPerProc = 8
	maxSlots     = 64
	slotsSeen    = 8
)

// coolTicks is how long a resource stays in a local slot without being lent, before
// it moves to the idle list, where the newest is lent first.
const coolTicks = int64(time.Second / tickLen)

// contended is how many times callers must have found the lock held, halved each
// tick, for the pool to count as contended: 80 times a tick, or 800 a second. Then
// the order of lending matters less than keeping callers off the lock.
const contended = 160

func slotCount(procs, size int) int {
	n := 1
	for n*2 <= min(procs*slotsPerProc, maxSlots, size) {
		n *= 2
	}
	return n
}

// localIndex returns the index of the calling goroutine's slot among n, a power of
// two. It is a hint: any index is correct, and the same one each time is fast. So it
// is computed only where a call enters the pool, at one depth of the stack, and goes
// with the lease to its end. Nothing is read or written through the address.
func localIndex(n int) int {
	var here byte
	h := uint64(uintptr(unsafe.Pointer(&here))) >> 10
	return int(h*0x9E3779B97F4A7C15>>32) & (n - 1)
}

// meet counts a caller that found the lock held.
func (s *idleSet[T]) meet() { s.contention = min(s.contention+1, 4*contended) }

// isContended reports whether many goroutines use the pool at the same time.
func (s *idleSet[T]) isContended() bool { return s.contention >= contended }

// available is how many resources in the list may be lent.
func (s *idleSet[T]) available() int { return s.list.n - len(s.reserved) }

// occupy puts e in slot i, which is free, and opens it to the hit path.
func (s *idleSet[T]) occupy(e *entry[T], i int) {
	e.loc, e.slot, e.wasIdle = inSlot, i, true
	e.slotBase = e.word.Load().Leases
	s.occupied |= 1 << i
	s.slots[i].e.Store(e)
	e.word.Park(s.clock.tick.Load())
}

// leaveSlot takes e, which is the caller's to move, out of its slot, if it has one.
func (s *idleSet[T]) leaveSlot(e *entry[T]) {
	if e.loc != inSlot {
		return
	}
	s.slots[e.slot].e.Store(nil)
	s.occupied &^= 1 << e.slot
	s.begun += e.word.Load().Leases - e.slotBase
	e.word.Unpark()
	e.loc = moving
}

// claimSlot takes the idle resource out of slot i; nil if there is none. Its since
// is set.
func (s *idleSet[T]) claimSlot(i int) *entry[T] {
	e := s.slots[i].e.Load()
	if e == nil {
		return nil
	}
	if !e.word.Claim() {
		return nil
	}
	now := s.clock.tick.Load()
	e.since, e.stamp = now-e.word.Load().Ticks(now), s.list.stamp()
	s.leaveSlot(e)
	return e
}

// claimNear takes an idle resource out of slot i or one near it; nil if there is
// none. Under light load that is the newest.
func (s *idleSet[T]) claimNear(i int) *entry[T] {
	if s.occupied == 0 {
		return nil
	}
	seen := len(s.slots) // without contention one slot is occupied, and it has the newest
	if s.isContended() {
		seen = min(seen, slotsSeen)
	}
	before := s.occupied & (1<<i - 1)
	for _, set := range [...]uint64{s.occupied &^ before, before} {
		for ; set != 0 && seen > 0; set &= set - 1 {
			if e := s.claimSlot(bits.TrailingZeros64(set)); e != nil {
				return e
			}
			seen--
		}
	}
	return nil
}

// claimIdleFor is claimSlot if the resource has been idle in slot i for at least ticks. i may be
// 64, which is no slot.
func (s *idleSet[T]) claimIdleFor(i int, ticks int64) *entry[T] {
	if i >= len(s.slots) {
		return nil
	}
	if ticks > 0 {
		if e := s.slots[i].e.Load(); e == nil || e.word.Load().Ticks(s.clock.tick.Load()) < ticks {
			return nil
		}
	}
	return s.claimSlot(i)
}

// flushSlots moves every resource that has been idle in a local slot for at least
// ticks to the idle list, the newest on top.
func (s *idleSet[T]) flushSlots(ticks int64) {
	if s.occupied&(s.occupied-1) == 0 { // one at most, as is usual: there is nothing to sort
		if e := s.claimIdleFor(bits.TrailingZeros64(s.occupied), ticks); e != nil {
			s.list.push(e)
		}
		return
	}
	var some [maxSlots]*entry[T]
	n := 0
	for set := s.occupied; set != 0; set &= set - 1 {
		if e := s.claimIdleFor(bits.TrailingZeros64(set), ticks); e != nil {
			some[n] = e
			n++
		}
	}
	slices.SortFunc(some[:n], func(a, b *entry[T]) int { return int(a.since - b.since) })
	for _, e := range some[:n] {
		s.list.push(e)
	}
}

// slotLevels is how many resources are idle in local slots, and how many leases were
// ever begun there.
func (s *idleSet[T]) slotLevels() (idle int, begun int64) {
	begun = s.begun
	if s.occupied == 0 {
		return 0, begun
	}
	for i := range s.slots {
		if e := s.slots[i].e.Load(); e != nil {
			w := e.word.Load()
			if w.Open {
				idle++
			}
			begun += w.Leases - e.slotBase
		}
	}
	return idle, begun
}

// longLeases is how many resources in local slots have been leased for longTicks or
// more.
func (s *idleSet[T]) longLeases() (n int) {
	now := s.clock.tick.Load()
	for i := range s.slots {
		if e := s.slots[i].e.Load(); e != nil {
			if w := e.word.Load(); w.Leased && w.Ticks(now) >= longTicks {
				n++
			}
		}
	}
	return n
}

// noteLeases notes when the current leases of resources in local slots began; lendLocked
// notes it for all others. It is called now and then while the clock runs, and before the
// clock stops, which does not happen while leases begin. So the beginning of each lease
// that lasts is known.
func (s *idleSet[T]) noteLeases() {
	for i := range s.slots {
		if e := s.slots[i].e.Load(); e != nil {
			w := e.word.Load()
			if now := s.clock.tick.Load(); w.Leased { // read after the word: not behind it
				e.known.note(w.Leases, now-w.Ticks(now))
			}
		}
	}
}

// spent returns the resources in local slots whose lease numbers are nearly used up.
// There they may be lent and given back without ever passing through putLocked, which
// retires the others.
func (s *idleSet[T]) spent() (some []*entry[T]) {
	for i := range s.slots {
		if e := s.slots[i].e.Load(); e != nil && e.word.Spent() {
			some = append(some, e)
		}
	}
	return some
}

// take takes the idle resource to lend to a caller that asked for r and whose local
// slot is given; nil if there is none.
func (s *idleSet[T]) take(r *Request, slot int) *entry[T] {
	if r != nil {
		s.flushSlots(0) // the hit path does not check whether a resource fits
	} else if e := s.claimNear(slot); e != nil {
		return e
	}
	if e := s.takeListed(r); e != nil || r != nil || s.occupied == 0 {
		return e
	}
	s.flushSlots(0)
	return s.takeListed(r)
}

// takeListed is take for the list alone.
func (s *idleSet[T]) takeListed(r *Request) *entry[T] {
	e := s.list.first(s.order, r)
	if e != nil {
		s.list.remove(e)
	}
	return e
}

// first returns the resource in the list to lend first to a caller that asked for r;
// nil if there is none.
func (s *idleSet[T]) first(r *Request) *entry[T] { return s.list.first(s.order, r) }

// park puts e in the list, at the position that its stamp says.
func (s *idleSet[T]) park(e *entry[T]) {
	s.leaveSlot(e)
	e.wasIdle = true
	s.list.putBack(e)
}

// parkLocal puts e in the local slot of its last holder. If another resource is idle there,
// that is older, and moves to the list. If the slot's resource is leased, e goes to the
// list.
//
// Without contention only one resource at a time has a local slot, so that callers
// get the newest of all.
func (s *idleSet[T]) parkLocal(e *entry[T]) {
	i := e.slot
	if !s.isContended() {
		s.flushSlots(0)
	} else if old := s.claimSlot(i); old != nil {
		s.list.push(old)
	}
	switch {
	case e.loc == inSlot:
		e.word.Park(s.clock.tick.Load())
	case !e.proved || s.slots[i].e.Load() != nil || s.occupied != 0 && !s.isContended():
		e.stamp = s.list.stamp() // above those just flushed
		s.park(e)
	default:
		s.occupy(e, i)
	}
}

// parkAgain puts e in the list as if it had been there for so many ticks.
func (s *idleSet[T]) parkAgain(e *entry[T], idle int64) {
	e.since, e.stamp = s.clock.tick.Load()-idle, s.list.stamp()
	s.park(e)
	if s.order == OldestFirst {
		s.list.remove(e)
		s.list.pushUnder(e)
	}
}

// restore puts e back where it was before a lease that did not use it. since is the tick from
// which it was idle then.
func (s *idleSet[T]) restore(e *entry[T], since int64) {
	if e.loc != inSlot {
		s.park(e)
		return
	}
	if top := s.list.first(NewestFirst, nil); top == nil || top.since <= since {
		e.word.Park(since)
		return
	}
	s.leaveSlot(e)
	e.wasIdle = true
	s.list.putUnderNewer(e, since)
}

// reserve keeps e, which is in the list, from being lent while a policy is asked about it.
// That must not cost capacity: e keeps its position in the list, and growth counts it as
// coming, so that no creation begins in its place, unless the policy takes long: see
// userCalls.comingBack.
func (s *idleSet[T]) reserve(e *entry[T]) {
	s.list.reserve(e)
	if s.reserved == nil {
		s.reserved = make(map[*entry[T]]struct{})
	}
	s.reserved[e] = struct{}{}
}

// unreserve ends reserve. there says that e is still in the list.
func (s *idleSet[T]) unreserve(e *entry[T], there bool) {
	delete(s.reserved, e)
	if there {
		s.list.unreserve(e)
	}
	e.reserved = false
}

// setUnfit notes that e is too near its end for a MinRemaining of d or more.
func (s *idleSet[T]) setUnfit(e *entry[T], d time.Duration) {
	s.anyUnfit = true
	if e.loc == inList {
		s.list.setUnfit(e, d)
	} else {
		e.unfit = d
	}
}

// idleList is a set of idle resources, ordered by when they became idle. No
// operation grows with their number (I12): linked lists hold those that satisfy
// every MinRemaining, and trees, by position, those that were found too near their
// end for some, or were put back at an old position. There is one of each for
// resources that were lent before, and one for those that never were.
//
// A reserved resource keeps its position and is passed over. Few are reserved at a
// time. Its user holds the pool's lock.
type idleList[T any] struct {
	n                    int // reserved ones included
	used, unused         entryList[T]
	usedTree, unusedTree treap.Set[*entry[T]] // by stamp; the value is how much MinRemaining they satisfy
	newest, oldest       int64                // the largest and the smallest stamp in use
}

// entryList is a doubly linked list, with the newest resource on top.
type entryList[T any] struct{ top, bottom *entry[T] }

// stamp returns a stamp above all others: that of the newest resource.
func (s *idleList[T]) stamp() int64 {
	s.newest++
	return s.newest
}

// push adds e as the newest.
func (s *idleList[T]) push(e *entry[T]) {
	e.stamp = s.stamp()
	s.putBack(e)
}

// pushUnder adds e as the oldest.
func (s *idleList[T]) pushUnder(e *entry[T]) {
	s.oldest--
	e.stamp = s.oldest
	s.putBack(e)
}

// putBack adds e at the position that its stamp says: the newest, or one that it
// had before.
func (s *idleList[T]) putBack(e *entry[T]) {
	e.loc, e.neverLent, e.inTree = inList, e.unused(), false
	s.n++
	l := s.list(e)
	switch {
	case e.unfit > 0:
		e.inTree = true
	case l.top == nil:
		l.top, l.bottom = e, e
	case l.top.stamp < e.stamp:
		e.down, l.top.up = l.top, e
		l.top = e
	case l.bottom.stamp > e.stamp:
		e.up, l.bottom.down = l.bottom, e
		l.bottom = e
	default:
		e.inTree = true
	}
	if e.inTree && !e.reserved {
		s.addToTree(e)
	}
}

// putUnderNewer adds e, idle since that tick, below the resources that are idle for less
// long, as far as these are few. e has no position of its own.
func (s *idleList[T]) putUnderNewer(e *entry[T], since int64) {
	var newer [32]*entry[T]
	n := 0
	for n < len(newer) {
		top := s.first(NewestFirst, nil)
		if top == nil || top.since <= since {
			break
		}
		s.remove(top)
		newer[n] = top
		n++
	}
	s.push(e)
	for n > 0 {
		n--
		s.push(newer[n])
	}
}

// remove takes e out of the list.
func (s *idleList[T]) remove(e *entry[T]) {
	switch {
	case !e.inTree:
		s.unlink(e)
	case !e.reserved:
		s.tree(e).Remove(e.node)
	}
	e.inTree = false
	e.loc = moving
	s.n--
}

// reserve keeps e from being found from now on.
func (s *idleList[T]) reserve(e *entry[T]) {
	e.reserved = true
	if e.inTree {
		s.tree(e).Remove(e.node)
	}
}

// unreserve ends reserve.
func (s *idleList[T]) unreserve(e *entry[T]) {
	e.reserved = false
	if e.inTree {
		s.addToTree(e)
	}
}

// setUnfit notes that e, which is in the list, is too near its end for a MinRemaining of d
// or more.
func (s *idleList[T]) setUnfit(e *entry[T], d time.Duration) {
	if e.inTree {
		if !e.reserved {
			s.tree(e).Remove(e.node)
		}
	} else {
		s.unlink(e)
	}
	e.unfit, e.inTree = d, true
	if !e.reserved {
		s.addToTree(e)
	}
}

func (s *idleList[T]) list(e *entry[T]) *entryList[T] {
	if e.neverLent {
		return &s.unused
	}
	return &s.used
}

func (s *idleList[T]) tree(e *entry[T]) *treap.Set[*entry[T]] {
	if e.neverLent {
		return &s.unusedTree
	}
	return &s.usedTree
}

func (s *idleList[T]) addToTree(e *entry[T]) {
	if e.node == nil {
		e.node = &treap.Node[*entry[T]]{Item: e}
	}
	fits := int64(e.unfit)
	if fits == 0 {
		fits = everything
	}
	s.tree(e).Insert(e.node, e.stamp, fits)
}

func (s *idleList[T]) unlink(e *entry[T]) {
	l := s.list(e)
	if e.up != nil {
		e.up.down = e.down
	} else {
		l.top = e.down
	}
	if e.down != nil {
		e.down.up = e.up
	} else {
		l.bottom = e.up
	}
	e.up, e.down = nil, nil
}

// first returns the resource to lend first, by order, to a caller that asked for
// r; nil if there is none.
func (s *idleList[T]) first(o Order, r *Request) (best *entry[T]) {
	least := int64(0)
	if r != nil {
		least = int64(max(0, r.MinRemaining))
	}
	best = s.unused.first(o)
	best = earlier(o, best, treeFirst(&s.unusedTree, o, least))
	if r == nil || !r.Fresh {
		best = earlier(o, best, s.used.first(o))
		best = earlier(o, best, treeFirst(&s.usedTree, o, least))
	}
	return best
}

// first returns the first resource by order that is not reserved.
func (l *entryList[T]) first(o Order) *entry[T] {
	if o == OldestFirst {
		e := l.bottom
		for e != nil && e.reserved {
			e = e.up
		}
		return e
	}
	e := l.top
	for e != nil && e.reserved {
		e = e.down
	}
	return e
}

// treeFirst returns the first resource by order of those that satisfy more than least.
func treeFirst[T any](s *treap.Set[*entry[T]], o Order, least int64) *entry[T] {
	if s.Len() == 0 {
		return nil
	}
	find := s.LastAbove
	if o == OldestFirst {
		find = s.FirstAbove
	}
	return itemOf(find(least))
}

func itemOf[T any](n *treap.Node[*T]) *T {
	if n == nil {
		return nil
	}
	return n.Item
}

// earlier returns which of two resources is lent first, by order. Either may be nil.
func earlier[T any](o Order, a, b *entry[T]) *entry[T] {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case (a.stamp > b.stamp) == (o == NewestFirst):
		return a
	}
	return b
}

// reach says which requests a set of resources can serve: a request with MinRemaining d that
// takes used resources if d < used, and one that asks for Fresh if d < unused. The zero reach
// serves none.
type reach struct{ used, unused int64 }

// everything is more than any MinRemaining.
const everything = math.MaxInt64

// reach is that of all resources in the list that are not reserved.
func (s *idleList[T]) reach() (r reach) {
	r.unused = reachOf(&s.unused, &s.unusedTree)
	r.used = max(r.unused, reachOf(&s.used, &s.usedTree))
	return r
}

func reachOf[T any](l *entryList[T], t *treap.Set[*entry[T]]) int64 {
	if l.first(NewestFirst) != nil {
		return everything
	}
	most, _ := t.Max()
	return most
}

// reach is that of e alone.
func (e *entry[T]) reach() (r reach) {
	r.used = everything
	if e.unfit > 0 {
		r.used = int64(e.unfit)
	}
	if e.unused() {
		r.unused = r.used
	}
	return r
}

// unwanted returns the resource idle longest that no waiter with these needs can use; nil if
// there is none.
func (s *idleList[T]) unwanted(n needs) (oldest *entry[T]) {
	oldest = notAbove(&s.unused, &s.unusedTree, min(n.used, n.fresh))
	return earlier(OldestFirst, oldest, notAbove(&s.used, &s.usedTree, n.used))
}

// notAbove returns the oldest resource that satisfies no more than least.
func notAbove[T any](l *entryList[T], t *treap.Set[*entry[T]], least int64) *entry[T] {
	if least != everything {
		return itemOf(t.FirstBelow(least + 1))
	}
	return earlier(OldestFirst, l.first(OldestFirst), itemOf(t.First()))
}
