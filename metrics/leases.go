package metrics

import (
	"cmp"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/respool/respool/metrics/internal/text"
	"github.com/respool/respool/resource"
)

// leases holds the leases that are held and were sampled or found overdue.
type leases struct {
	m      *Meter
	shards [16]shard
	budget budget // of entries in the pprof profile
}

// shard holds the leases of some resources. A resource has at most one lease, so a
// lease is found by the ID of its resource; but the Trace may report the end of a
// lease after the beginning of the next one.
type shard struct {
	mu      sync.Mutex
	byID    map[uint64]*lease
	free    *lease // list of leases to be reused
	overdue int    // number of overdue leases in byID
	closed  bool
	_       [24]byte
}

// lease is a lease that is held.
type lease struct {
	id, number uint64
	began      time.Time
	class      string
	overdue    bool // it was reported
	shared     bool // it is never overdue: see resource.Request.Shared
	profiled   bool // it is in the pprof profile
	depth      int
	stack      [maxStack]uintptr
	next       *lease // in the free list
}

// overdue returns the number of leases that were found overdue.
func (ls *leases) overdue() int {
	n := 0
	for i := range ls.shards {
		s := &ls.shards[i]
		s.mu.Lock()
		n += s.overdue
		s.mu.Unlock()
	}
	return n
}

func (ls *leases) shard(id uint64) *shard { return &ls.shards[id%uint64(len(ls.shards))] }

// begin adds a lease with the stack of its acquire, on whose goroutine it is called.
func (ls *leases) begin(e resource.LeaseEvent) {
	var stack [maxStack]uintptr
	depth := runtime.Callers(1, stack[:])
	now := time.Now()
	s := ls.shard(e.ID)
	s.mu.Lock()
	l, late := s.addLocked(e.ID, e.Lease)
	if l != nil {
		l.began, l.class, l.depth, l.shared = now, e.Request.Class, depth, e.Request.Shared
		l.stack = stack // zeros follow
		if ls.budget.take(now.Sub(ls.m.born)) {
			l.profiled = true
			heldProfile.Add(l, 1+leading(l.stack[:depth])) // 1: Add itself
		}
	}
	s.mu.Unlock()
	if late.ID != 0 {
		ls.m.returned(late)
	}
}

// addLocked adds a lease. It returns nil if the lease has ended already. If the lease
// before it on the resource was overdue, its end is not reported yet: late is that
// lease, and has an ID other than 0.
func (s *shard) addLocked(id, number uint64) (l *lease, late Held) {
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
		s.removeLocked(old)
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

func (s *shard) removeLocked(l *lease) {
	if l.profiled {
		heldProfile.Remove(l)
	}
	if l.overdue {
		s.overdue--
	}
	delete(s.byID, l.id)
	l.class, l.depth, l.overdue, l.shared, l.profiled = "", 0, false, false, false
	l.next, s.free = s.free, l
}

// end removes a lease that has ended.
func (ls *leases) end(e resource.EndEvent) {
	dropped := is(e.Cause, resource.ErrDropped) // without the lock: it calls methods of the cause
	s := ls.shard(e.ID)
	s.mu.Lock()
	h, known := Held{ID: e.ID, Lease: e.Lease, For: e.Held}, false
	if l := s.byID[e.ID]; l != nil && l.number == e.Lease {
		if l.overdue || dropped {
			h, known = l.held(time.Now()), l.overdue
			h.For = max(h.For, e.Held)
			h.Ended = e.Cause
		}
		s.removeLocked(l)
	}
	s.mu.Unlock()
	if dropped {
		ls.m.reportDropped(h)
	}
	if known {
		ls.m.returned(h)
	}
}

// held returns l as a Held that its reader owns.
func (l *lease) held(now time.Time) Held { return l.with(now, slices.Clone(l.frames())) }

func (l *lease) with(now time.Time, stack []Frame) Held {
	return Held{
		ID: l.id, Lease: l.number, For: max(0, now.Sub(l.began)),
		Class: text.Clean(l.class, text.MaxLabel), Overdue: l.overdue, Shared: l.shared,
		Stack: stack,
	}
}

// frames returns the stack of l, which all readers share.
func (l *lease) frames() []Frame {
	if l.depth == 0 { // not sampled; the array may have the stack of an earlier lease
		return nil
	}
	return resolved.frames(&l.stack)
}

// list returns the limit leases that have lasted longest, the longest first; all
// leases if limit is negative. Leases with equal stacks share one Stack, which the
// reader owns.
func (ls *leases) list(limit int) []Held {
	if limit == 0 {
		return nil
	}
	first := earliest{limit: limit}
	for i := range ls.shards {
		s := &ls.shards[i]
		s.mu.Lock()
		for _, l := range s.byID {
			first.add(beginning{l.id, l.number, l.began.Sub(ls.m.born)})
		}
		s.mu.Unlock()
	}
	first.cut()
	list := make([]Held, 0, len(first.found))
	now := time.Now()
	own := make(map[*Frame][]Frame) // copies, by the first frame of the shared stack
	for _, b := range first.found {
		l, ok := ls.copy(b.id, b.number)
		if !ok {
			continue
		}
		stack := l.frames()
		if len(stack) > 0 {
			first := &stack[0]
			if own[first] == nil {
				own[first] = slices.Clone(stack)
			}
			stack = own[first]
		}
		list = append(list, l.with(now, stack))
	}
	return list
}

// beginning is the time at which a lease began.
type beginning struct {
	id, number uint64
	at         time.Duration // since the meter was made
}

func (b beginning) compare(o beginning) int {
	return cmp.Or(cmp.Compare(b.at, o.at), cmp.Compare(b.id, o.id))
}

// earliest keeps the limit earliest of the beginnings added; all if limit is negative.
// Of many, most are rejected after one comparison.
type earliest struct {
	limit int
	found []beginning
	full  bool // found[limit-1] is the latest one kept so far
}

func (e *earliest) add(b beginning) {
	if e.full && b.compare(e.found[e.limit-1]) > 0 {
		return
	}
	e.found = append(e.found, b)
	if e.limit > 0 && len(e.found)/2 >= e.limit {
		e.cut()
	}
}

// cut sorts the beginnings and drops those over the limit.
func (e *earliest) cut() {
	slices.SortFunc(e.found, beginning.compare)
	if e.limit > 0 && len(e.found) >= e.limit {
		e.found, e.full = e.found[:e.limit], true
	}
}

// copy returns a copy of the lease, and false if it has ended.
func (ls *leases) copy(id, number uint64) (lease, bool) {
	s := ls.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.byID[id]; l != nil && l.number == number {
		return *l, true
	}
	return lease{}, false
}

// close removes all leases; none is added after it.
func (ls *leases) close() {
	for i := range ls.shards {
		s := &ls.shards[i]
		s.mu.Lock()
		s.closed = true
		for _, l := range s.byID {
			s.removeLocked(l)
		}
		s.free = nil
		s.mu.Unlock()
	}
}
