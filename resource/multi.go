package resource

import (
	"sync"
	"sync/atomic"
)

// multiWait is one caller of [Keyed.AcquireAny] that waits in the lines of several pools. The
// waiters in these lines share it.
//
// The caller is served once: a pool that is about to serve one of the waiters takes the caller
// first (serve), with a compare-and-swap under its own lock. A pool that finds the caller taken
// drops its waiter (passedOver), so that no resource is lent to a caller that will not use it
// (I8). The caller alone frees itself again (resume), when it cannot use what it got, and then
// joins every line again that has dropped it, at its old position (I7): a pool drops a waiter
// only after another pool has taken the caller, so the caller has not resumed yet.
type multiWait[T any] struct {
	taken atomic.Bool
	woken chan *waiter[T] // served or refused; as many fit as there are lines

	counts  *anyCounts    // constant: those of the Keyed
	lines   atomic.Int32  // lines that it is in
	listing atomic.Uint64 // the last one that has found it

	news   chan struct{} // holds one: reports has changed
	mu     sync.Mutex    // a leaf in the lock order
	events []creationEvent
}

// creationEvent is what happened to a creation that was begun for a caller of AcquireAny.
type creationEvent struct {
	line int
	kind creationEventKind
}

type creationEventKind uint8

const (
	creationBegun  creationEventKind = iota
	creationFailed                   // or it was refused
)

func newMultiWait[T any](lines int, c *anyCounts) *multiWait[T] {
	return &multiWait[T]{woken: make(chan *waiter[T], lines), news: make(chan struct{}, 1), counts: c}
}

// served reports whether a pool has taken the caller. m may be nil: then none has.
func (m *multiWait[T]) served() bool { return m != nil && m.taken.Load() }

// serve takes the caller for one pool. It reports whether no other pool has taken it.
func (m *multiWait[T]) serve() bool { return m.taken.CompareAndSwap(false, true) }

// resume ends that the caller is taken.
func (m *multiWait[T]) resume() { m.taken.Store(false) }

// entered notes that one of the waiters has joined its line.
func (m *multiWait[T]) entered() {
	if m.lines.Add(1) == 1 {
		m.counts.waiting.Add(1)
	}
}

// left notes that one of them has left it.
func (m *multiWait[T]) left() {
	if m.lines.Add(-1) == 0 {
		m.counts.waiting.Add(-1)
	}
}

// listed notes that a listing has found the caller, and reports whether it had before. m may be
// nil: then the caller waits in one line. Two listings at once may each find a caller twice.
func (m *multiWait[T]) listed(listing uint64) bool {
	return m != nil && m.listing.Swap(listing) == listing
}

// report notes what happened to a creation that was begun for the caller in that line. m may be
// nil: then the creation was begun for another one. It never blocks.
func (m *multiWait[T]) report(line int, kind creationEventKind) {
	if m == nil {
		return
	}
	m.mu.Lock()
	m.events = append(m.events, creationEvent{line, kind})
	m.mu.Unlock()
	select {
	case m.news <- struct{}{}:
	default:
	}
}

// takeEvents returns what was reported since the last call.
func (m *multiWait[T]) takeEvents() []creationEvent {
	m.mu.Lock()
	defer m.mu.Unlock()
	events := m.events
	m.events = nil
	return events
}
