package resource

import (
	"slices"
	"sync/atomic"
	"unsafe"
)

// A seat is where a goroutine leaves an idle resource for itself. Which seat is
// whose follows from the address of its stack, so that goroutines that run at
// the same time use different cache lines and no lock: acquire and release are
// one compare-and-swap each on the resource's own word. A mutex-guarded stack
// takes twice that alone and five times that with two cores; the ratios of the
// row "one goroutine per core" in internal/bench come from here.
//
// The resource on a seat belongs to the pool as one on the shelf does: every
// slow path may claim it. It keeps its seat while it is leased, so that its
// release needs no search.
type seat[T any] struct {
	e atomic.Pointer[entry[T]]
	_ [56]byte // one cache line each
}

// How many seats: a few per processor, so that two goroutines that run at once
// seldom meet; no more than there are resources. In a crowd a slow path that
// looks for an idle resource looks at no more than seatsSeen of them.
const (
	seatsPerProc = 8
	maxSeats     = 64
	seatsSeen    = 8
)

func seatCount(procs, size int) int {
	n := 1
	for n*2 <= min(procs*seatsPerProc, maxSeats, size) {
		n *= 2
	}
	return n
}

// mySeat returns the number of the calling goroutine's seat. It is a hint: any
// number is right, and the same one each time is fast. So it is asked for only
// where a caller comes in, at one depth of the stack, and goes with the lease to
// its end. (Nothing is read or written through the address.)
func (p *Pool[T]) mySeat() int {
	var here byte
	h := uint64(uintptr(unsafe.Pointer(&here))) >> 10
	return int(h*0x9E3779B97F4A7C15>>32) & (len(p.seats) - 1)
}

// hit takes what is on that seat, the caller's, if the pool is in its ordinary state.
// idle is for how many ticks it was idle.
func (p *Pool[T]) hit(seat int) (l Lease[T], idle int64, ok bool) {
	if p.detour.Load() != 0 || len(p.seats) == 0 {
		return l, 0, false
	}
	e := p.seats[seat].e.Load()
	if e == nil {
		return l, 0, false
	}
	gen, idle, ok := e.word.Take(&p.clock.tick)
	if !ok {
		return l, 0, false
	}
	return Lease[T]{e, gen | uint64(idle)<<idleShift}, idle, true
}

// sit opens e on seat i, which is free. The pool is locked.
func (p *Pool[T]) sit(e *entry[T], i int) {
	e.place, e.seat, e.parked = seated, i, true
	e.sat = e.word.Load().Leases
	p.taken++
	p.seats[i].e.Store(e)
	e.word.Sit(p.clock.tick.Load())
}

// vacate takes the seat from e, which is in the pool's hands. The pool is
// locked.
func (p *Pool[T]) vacate(e *entry[T]) {
	p.seats[e.seat].e.Store(nil)
	p.taken--
	p.acquired += e.word.Load().Leases - e.sat
	e.word.Stand()
	e.place = out
}

// claimSeat takes the idle resource on seat i, if there is one, into the pool's
// hands, and returns since when it is idle. The pool is locked.
func (p *Pool[T]) claimSeat(i int) *entry[T] {
	e := p.seats[i].e.Load()
	if e == nil {
		return nil
	}
	if !e.word.Claim() {
		return nil
	}
	now := p.clock.tick.Load()
	e.since, e.stamp = now-e.word.Load().Ticks(now), p.shelf.stamp()
	p.vacate(e)
	return e
}

// claimNear takes an idle resource from the caller's seat or one near it, if
// there is one: under little load that is the newest. The pool is locked.
func (p *Pool[T]) claimNear(seat int) *entry[T] {
	if p.taken == 0 {
		return nil
	}
	seen := len(p.seats) // then the one that has a seat is the newest of all
	if p.crowded() {
		seen = min(seen, seatsSeen)
	}
	for i := range seen {
		if e := p.claimSeat((seat + i) & (len(p.seats) - 1)); e != nil {
			return e
		}
	}
	return nil
}

// clearSeats puts every idle resource that is seated on the shelf, the newest
// on top, if it has been idle for at least ticks. The pool is locked.
func (p *Pool[T]) clearSeats(ticks int64) {
	if p.taken == 0 {
		return
	}
	var some [maxSeats]*entry[T]
	n := 0
	now := p.clock.tick.Load()
	for i := range p.seats {
		if ticks > 0 {
			e := p.seats[i].e.Load()
			if e == nil || e.word.Load().Ticks(now) < ticks {
				continue
			}
		}
		if e := p.claimSeat(i); e != nil {
			some[n] = e
			n++
		}
	}
	slices.SortFunc(some[:n], func(a, b *entry[T]) int { return int(a.since - b.since) })
	for _, e := range some[:n] {
		p.shelf.push(e)
	}
}

// retireSpent ends what has a seat and whose lease numbers are nearly used up:
// there it may be lent and given back without ever coming to put, which ends the
// others. The pool is locked.
func (p *Pool[T]) retireSpent() {
	found := false
	for i := range p.seats {
		if e := p.seats[i].e.Load(); e != nil && e.word.Spent() {
			p.condemn(e, ErrWornOut, fateOther)
			found = true
		}
	}
	if found {
		p.grow()
	}
}

// seats are read by Stats: how many of them are idle, and how many leases were
// begun on them. The pool is locked.
func (p *Pool[T]) seatLevels() (idle int, begun int64) {
	if p.taken == 0 {
		return 0, 0
	}
	for i := range p.seats {
		if e := p.seats[i].e.Load(); e != nil {
			s := e.word.Load()
			if s.Open {
				idle++
			}
			begun += s.Leases - e.sat
		}
	}
	return idle, begun
}
