package mux

import "math/bits"

// slotState is what the id of a slot is used for.
type slotState uint8

const (
	free   slotState = iota
	queued           // its call is in the outbox: it was not sent
	flying           // its call was handed to the network
	orphan           // its call was given up; the reply may still come
)

// slot is one place for a call that awaits its reply.
type slot[T any] struct {
	gen   uint64 // generation; the bits that an id has room for are part of it
	state slotState
	owner T     // valid while queued or flying
	since int64 // of an orphan: the tick at which its call was given up

	subscribed bool // of an orphan: its reply begins a stream, which must be canceled
}

// slots hands out ids and finds the call of an id. An id is a slot and a generation, so that a
// reply that comes late or twice never matches the next call of its slot. A slot is free again
// only when its reply came: the caller calls release then. Of the free ones the one that has
// been free longest is taken, which makes the generations last. Its user serializes the calls.
type slots[T any] struct {
	all      []slot[T]
	free     []int32 // a ring of the free ones that were used
	first, n int     // of the ring
	shift    int     // bits of an id that are the slot
	gens     uint64  // mask of a generation in an id
	max      int     // how many slots there may be
	begin    uint64  // generation before the first of a slot
	last     uint64  // largest generation so far
	live     int     // queued and flying
	orphans  int

	compacted bool // ids with the first generations were used
}

// newSlots returns slots for ids of idBits bits, which are larger than after (see lastID) until the
// generations begin again. At most max are in use at once.
func newSlots[T any](idBits, max int, after uint64) slots[T] {
	shift := bits.Len(uint(max - 1))
	begin := after >> shift
	return slots[T]{shift: shift, gens: 1<<(idBits-shift) - 1, max: max, begin: begin, last: begin}
}

// lastID returns an id that is not smaller than those so far, if generations had no limit.
func (s *slots[T]) lastID() uint64 { return s.last<<s.shift | (1<<s.shift - 1) }

// take takes a slot for owner, as queued. It returns false if none is free.
func (s *slots[T]) take(owner T) (id uint64, ok bool) {
	var i int
	switch {
	case s.n > 0:
		i = int(s.free[s.first])
		s.first = (s.first + 1) % len(s.free)
		s.n--
	case len(s.all) < s.max:
		i = len(s.all)
		s.all = append(s.all, slot[T]{gen: s.begin})
	default:
		return 0, false
	}
	e := &s.all[i]
	if e.gen++; e.gen&s.gens == 0 { // 0 is no id
		e.gen++
	}
	s.last = max(s.last, e.gen)
	e.state, e.owner = queued, owner
	s.live++
	return e.gen&s.gens<<s.shift | uint64(i), true
}

// find returns the slot of an id that is in use, or nil.
func (s *slots[T]) find(id uint64) *slot[T] {
	i := id & (1<<s.shift - 1)
	if i >= uint64(len(s.all)) || s.all[i].state == free || s.all[i].gen&s.gens != id>>s.shift {
		return nil
	}
	return &s.all[i]
}

// issued reports whether id, which find does not find, may have been used before. It cannot
// tell once the generations of a slot have begun again.
func (s *slots[T]) issued(id uint64) bool {
	i := id & (1<<s.shift - 1)
	g := id >> s.shift
	if i < uint64(len(s.all)) {
		return g > 0 && g <= min(s.gens, s.all[i].gen)
	}
	return s.compacted && i < uint64(s.max) && g > 0 && g <= min(s.gens, s.begin)
}

// compact frees the memory of the slots if none is in use. Later generations follow the last one.
func (s *slots[T]) compact() {
	if s.live+s.orphans == 0 && len(s.all) > 0 {
		*s = slots[T]{shift: s.shift, gens: s.gens, max: s.max, begin: s.last, last: s.last, compacted: true}
	}
}

// abandon turns a flying slot into an orphan.
func (s *slots[T]) abandon(id uint64, now int64, subscribed bool) {
	e := s.find(id)
	var none T
	e.state, e.owner, e.since, e.subscribed = orphan, none, now, subscribed
	s.live--
	s.orphans++
}

// release frees the slot of id.
func (s *slots[T]) release(id uint64) {
	e := s.find(id)
	if e.state == orphan {
		s.orphans--
	} else {
		s.live--
	}
	var none T
	e.state, e.owner = free, none
	s.put(int32(id & (1<<s.shift - 1)))
}

// put adds a slot to the end of the ring.
func (s *slots[T]) put(i int32) {
	if s.n == len(s.free) {
		grown := make([]int32, max(8, 2*len(s.free)))
		for k := range s.n {
			grown[k] = s.free[(s.first+k)%len(s.free)]
		}
		s.free, s.first = grown, 0
	}
	s.free[(s.first+s.n)%len(s.free)] = i
	s.n++
}

// oldest returns the tick at which the oldest orphan was given up; false: there is none.
func (s *slots[T]) oldest() (since int64, ok bool) {
	if s.orphans == 0 {
		return 0, false
	}
	for i := range s.all {
		if e := &s.all[i]; e.state == orphan && (!ok || e.since < since) {
			since, ok = e.since, true
		}
	}
	return since, ok
}
