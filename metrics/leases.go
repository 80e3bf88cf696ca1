package metrics

import (
	"cmp"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/respool/respool/resource"
)

// leases has those that run and were sampled, and those found overdue.
type leases struct {
	m      *Meter
	shards [16]shelf
	budget budget // of entries in the pprof profile
}

// shelf has the leases of some resources. A resource has one lease at a time, so
// they are found by its ID; but the end of one may be told after the beginning
// of the next.
type shelf struct {
	mu     sync.Mutex
	byID   map[uint64]*lease
	free   *lease // to be used again
	closed bool
	_      [32]byte
}

// lease is one that runs.
type lease struct {
	id, number uint64
	began      time.Time
	class      string
	overdue    bool // it was reported
	profiled   bool // it is in the pprof profile
	depth      int
	stack      [maxStack]uintptr
	next       *lease // in the list of free ones
}

func (ls *leases) shelf(id uint64) *shelf { return &ls.shards[id%uint64(len(ls.shards))] }

// begin notes a lease with the stack of its acquirer, who calls it.
func (ls *leases) begin(e resource.LeaseEvent) {
	var stack [maxStack]uintptr
	depth := runtime.Callers(1, stack[:])
	now := time.Now()
	s := ls.shelf(e.ID)
	s.mu.Lock()
	l, late := s.place(e.ID, e.Lease)
	if l != nil {
		l.began, l.class, l.depth = now, e.Request.Class, depth
		copy(l.stack[:], stack[:depth])
		if ls.budget.take(now.Sub(ls.m.born)) {
			l.profiled = true
			heldProfile.Add(l, 1+leading(l.stack[:depth])) // 1: Add itself
		}
	}
	s.mu.Unlock()
	if late.ID != 0 {
		ls.m.reportReturned(late)
	}
}

// place makes room for a lease: nil if it is over already. late is one of the
// same resource that was overdue and whose end is yet to be told. The shelf is
// locked.
func (s *shelf) place(id, number uint64) (l *lease, late Held) {
	if s.closed {
		return nil, late
	}
	if old := s.byID[id]; old != nil {
		if old.number >= number {
			return nil, late
		}
		if old.overdue {
			late = old.held(time.Now())
		}
		s.remove(old)
	}
	l = s.free
	if l == nil {
		l = new(lease)
	} else {
		s.free = l.next
	}
	if s.byID == nil {
		s.byID = make(map[uint64]*lease)
	}
	l.id, l.number, l.next = id, number, nil
	s.byID[id] = l
	return l, late
}

// remove forgets l. The shelf is locked.
func (s *shelf) remove(l *lease) {
	if l.profiled {
		heldProfile.Remove(l)
	}
	delete(s.byID, l.id)
	l.class, l.depth, l.overdue, l.profiled = "", 0, false, false
	l.next, s.free = s.free, l
}

// end notes that a lease has ended, which lasted for held.
func (ls *leases) end(id, number uint64, held time.Duration) {
	s := ls.shelf(id)
	s.mu.Lock()
	l := s.byID[id]
	if l == nil || l.number != number {
		s.mu.Unlock()
		return
	}
	var late Held
	if l.overdue {
		late = l.held(time.Now())
		late.For = max(late.For, held)
	}
	s.remove(l)
	s.mu.Unlock()
	if late.ID != 0 {
		ls.m.reportReturned(late)
	}
}

// held is l as its readers see it, its stack not resolved yet.
func (l *lease) held(now time.Time) Held {
	return Held{
		ID: l.id, Lease: l.number, For: max(0, now.Sub(l.began)),
		Class: clean(l.class, maxLabel), Overdue: l.overdue,
		Stack: l.frames(),
	}
}

func (l *lease) frames() []Frame { return frames(l.stack[:l.depth]) }

// list returns the limit of them that have lasted longest, those first; all if
// limit is negative.
func (ls *leases) list(limit int) []Held {
	if limit == 0 {
		return nil
	}
	type brief struct {
		id, number uint64
		began      time.Time
	}
	var all []brief
	for i := range ls.shards {
		s := &ls.shards[i]
		s.mu.Lock()
		for _, l := range s.byID {
			all = append(all, brief{l.id, l.number, l.began})
		}
		s.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b brief) int {
		return cmp.Or(a.began.Compare(b.began), cmp.Compare(a.id, b.id))
	})
	if limit < 0 {
		limit = len(all)
	}
	list := make([]Held, 0, min(limit, len(all)))
	now := time.Now()
	for _, b := range all {
		if len(list) == limit {
			break
		}
		if l, ok := ls.copy(b.id, b.number); ok {
			list = append(list, l.held(now))
		}
	}
	return list
}

// copy returns that lease as it is, unless it has ended.
func (ls *leases) copy(id, number uint64) (lease, bool) {
	s := ls.shelf(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.byID[id]; l != nil && l.number == number {
		return *l, true
	}
	return lease{}, false
}

// close forgets all, and notes no more.
func (ls *leases) close() {
	for i := range ls.shards {
		s := &ls.shards[i]
		s.mu.Lock()
		s.closed = true
		for _, l := range s.byID {
			s.remove(l)
		}
		s.free = nil
		s.mu.Unlock()
	}
}
