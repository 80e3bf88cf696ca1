package resource

import (
	"sync"
	"sync/atomic"
)

// askMutex is a mutex that can be asked a question about what it guards. Its
// holders answer when they unlock it, so that Ask does not queue for the lock
// behind the goroutines of a crowd: it takes as long as one hold, not as many
// holds as goroutines wait.
type askMutex[A any] struct {
	answer func() A // constant; called with the lock held
	asked  atomic.Pointer[question[A]]
	_      [64]byte // asked is read when the lock, and its cache line, belong to another processor
	mu     sync.Mutex
}

// question is one call of Ask that waits, and those that came before it.
type question[A any] struct {
	reply  chan A // holds one
	before *question[A]
}

func (m *askMutex[A]) Lock()         { m.mu.Lock() }
func (m *askMutex[A]) TryLock() bool { return m.mu.TryLock() }

// Unlock answers what was asked and unlocks.
func (m *askMutex[A]) Unlock() {
	for {
		q := m.asked.Load()
		if q == nil {
			m.mu.Unlock()
		} else {
			q = m.asked.Swap(nil)
			a := m.answer()
			m.mu.Unlock()
			for ; q != nil; q = q.before {
				q.reply <- a // never blocks
			}
		}
		// A question that came since the look at asked is answered by the next
		// holder, if there is one, and else here.
		if m.asked.Load() == nil || !m.mu.TryLock() {
			return
		}
	}
}

// Ask returns the answer as of an instant during the call.
func (m *askMutex[A]) Ask() A {
	if m.mu.TryLock() {
		defer m.Unlock()
		return m.answer()
	}
	q := &question[A]{reply: make(chan A, 1)}
	for {
		q.before = m.asked.Load()
		if m.asked.CompareAndSwap(q.before, q) {
			break
		}
	}
	// If this fails the lock is held, or about to be handed over, and whoever
	// unlocks it sees the question: it was asked before.
	if m.mu.TryLock() {
		m.Unlock()
	}
	return <-q.reply
}
