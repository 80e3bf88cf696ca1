// Package claim is the atomic word of a resource that says which goroutine may use it.
//
// At every instant a resource is in one of three states, and only a change of this word
// moves it to another:
//
//	pool    the pool has it: it is in the idle list, or is being created, checked or
//	        destroyed. The goroutine that holds the pool's lock decides.
//	open    it is idle in a local slot. The first goroutine that changes the word has
//	        it, without a lock: a caller by Take, the pool by Claim.
//	leased  a caller holds it, under a lease number. Only the holder of that number
//	        ends the lease, once: by Return to the local slot, or by End, after which
//	        the pool has it.
//
// Every condition that must send a hit to the slow path is in the same word, so that a
// hit is one compare-and-swap each way, which fails if the condition holds. [Bounds] adds
// conditions that follow from constants of the resource.
package claim

import "sync/atomic"

// The word, from the top: 36 bits of lease number, 24 bits of clock tick, 4
// flags. The lease number says both which lease this is and how many there have
// been, provided that the pool retires the resource once its word is
// [Word.Spent]. The tick is when it was last taken, lent, returned or parked,
// modulo 2^24 ticks. parked says that the resource has a local slot.
const (
	leased uint64 = 1 << iota
	open
	parked
	invalidated

	flags     = leased | open | parked | invalidated
	tickShift = 4
	tickBits  = 24
	tickMask  = 1<<tickBits - 1
	genShift  = tickShift + tickBits
	genMask   = 1<<NumberBits - 1
)

// NumberBits is how many bits a lease number has. Methods that take a lease number
// ignore the bits above, so a caller may keep something there.
const NumberBits = 64 - genShift

// spare is how many lease numbers are left when a Word is spent. At 30 ns for
// each they last for two minutes.
const spare = 1 << 32

// MaxLeases is how many leases a Word has when it is spent.
const MaxLeases = genMask + 1 - spare

// Word is a claim. The zero Word is that of a resource that the pool has, never leased.
type Word struct{ v atomic.Uint64 }

// is reports whether v has lease number gen, of which only the low bits count.
func is(v, gen uint64) bool { return v-gen<<genShift < 1<<genShift }

func pack(gen uint64, tick int64, f uint64) uint64 {
	return gen<<genShift | uint64(tick)&tickMask<<tickShift | f
}

// Take moves an open resource to a new lease, and returns its number and for
// how many ticks it was open. It fails if the resource is not open, or invalidated.
// The clock is read after the word, so that it cannot be behind it.
func (w *Word) Take(clock *atomic.Int64) (gen uint64, idle int64, ok bool) {
	v := w.v.Load()
	if v&flags != open|parked {
		return 0, 0, false
	}
	tick := clock.Load()
	gen = (v>>genShift + 1) & genMask
	idle = int64((uint64(tick) - v>>tickShift) & tickMask)
	return gen, idle, w.v.CompareAndSwap(v, pack(gen, tick, leased|parked))
}

// Bounds says up to when a resource may be lent and given back without asking anything: at
// ticks before Tick, if it was open for fewer ticks than Idle and has had fewer leases than
// Leases. The zero Bounds never allows it.
type Bounds struct{ Tick, Idle, Leases int64 }

// Include reports whether a resource that was open for idle ticks and has had so many leases
// is within the bounds at that tick.
func (b *Bounds) Include(tick, idle, leases int64) bool {
	return tick < b.Tick && idle < b.Idle && leases < b.Leases
}

// TakeWithin is Take, and fails also if the resource is not within the bounds. Its body is
// that of Take, which would not be inlined if it called another function.
func (w *Word) TakeWithin(clock *atomic.Int64, b *Bounds) (gen uint64, idle int64, ok bool) {
	v := w.v.Load()
	if v&flags != open|parked {
		return 0, 0, false
	}
	tick := clock.Load()
	gen = (v>>genShift + 1) & genMask
	idle = int64((uint64(tick) - v>>tickShift) & tickMask)
	if !b.Include(tick, idle, int64(v>>genShift)) {
		return 0, 0, false
	}
	return gen, idle, w.v.CompareAndSwap(v, pack(gen, tick, leased|parked))
}

// Return ends lease gen and opens the resource to the next caller, in its local slot. It
// fails if the lease has ended, or the resource has no local slot or is invalidated.
func (w *Word) Return(gen uint64, tick int64) bool {
	v := w.v.Load()
	if v&flags != leased|parked || !is(v, gen) {
		return false
	}
	return w.v.CompareAndSwap(v, pack(gen, tick, open|parked))
}

// Lasts returns for how many ticks lease gen has lasted; false if it has ended.
// The clock is read after the word, so that it cannot be behind it.
func (w *Word) Lasts(gen uint64, clock *atomic.Int64) (ticks int64, ok bool) {
	v := w.v.Load()
	if v&leased == 0 || !is(v, gen) {
		return 0, false
	}
	return int64((uint64(clock.Load()) - v>>tickShift) & tickMask), true
}

// End ends lease gen, whatever else is true of the resource, which the pool has then. It
// fails only if that lease has ended.
func (w *Word) End(gen uint64) bool {
	for {
		v := w.v.Load()
		if v&leased == 0 || !is(v, gen) {
			return false
		}
		if w.v.CompareAndSwap(v, v&^leased) {
			return true
		}
	}
}

// Claim gives an open resource to the pool. It fails if a caller was faster.
func (w *Word) Claim() bool {
	for {
		v := w.v.Load()
		if v&open == 0 {
			return false
		}
		if w.v.CompareAndSwap(v, v&^open) {
			return true
		}
	}
}

// Lend begins a new lease of a resource that the pool has, and returns its number.
func (w *Word) Lend(tick int64) uint64 {
	v := w.mine("lend")
	gen := (v>>genShift + 1) & genMask
	w.v.Store(pack(gen, tick, leased|v&(parked|invalidated)))
	return gen
}

// Park opens a resource that the pool has, in a local slot, to the first goroutine that
// takes it.
func (w *Word) Park(tick int64) {
	v := w.mine("park")
	w.v.Store(pack(v>>genShift, tick, open|parked|v&invalidated))
}

// Unpark records that a resource that the pool has is no longer in a local slot.
func (w *Word) Unpark() { w.v.Store(w.mine("unpark") &^ parked) }

// mine returns the word of a resource that the pool has. The caller knows that it has,
// under the pool's lock; otherwise two goroutines would hold the resource.
func (w *Word) mine(to string) uint64 {
	v := w.v.Load()
	if v&(leased|open) != 0 {
		panic("resource: bug: " + to + " what the pool does not hold")
	}
	return v
}

// Invalidate marks the resource: from now on Take and Return fail. It may meet Take,
// Return and End, but not what the pool's lock guards.
func (w *Word) Invalidate() { w.v.Or(invalidated) }

// Spent reports whether the lease numbers are nearly used up: after another 2^32
// leases the first would come again.
func (w *Word) Spent() bool { return w.v.Load()>>genShift >= MaxLeases }

// Invalidated reports whether Invalidate was called.
func (w *Word) Invalidated() bool { return w.v.Load()&invalidated != 0 }

// Holds reports whether lease gen is not yet ended.
func (w *Word) Holds(gen uint64) bool {
	v := w.v.Load()
	return v&leased != 0 && is(v, gen)
}

// State is a Word at one instant.
type State struct {
	Open   bool
	Leased bool
	Leases int64 // begun so far, modulo 2^36
	tick   uint64
}

// Load returns the Word as it is now.
func (w *Word) Load() State {
	v := w.v.Load()
	return State{
		Open:   v&open != 0,
		Leased: v&leased != 0,
		Leases: int64(v >> genShift),
		tick:   v >> tickShift & tickMask,
	}
}

// Ticks returns how many ticks before now that was, modulo 2^24.
func (s State) Ticks(now int64) int64 {
	return int64((uint64(now) - s.tick) & tickMask)
}
