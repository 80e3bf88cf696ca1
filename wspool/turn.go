package wspool

import (
	"slices"
	"sync"
	"sync/atomic"
)

// turn is a mutual exclusion whose waiters can stop waiting. It is given to waiters in the
// order in which they joined. A turn that is free costs one atomic operation each way and
// has no channel. The zero turn is free.
type turn struct {
	state atomic.Int32 // turnFree, turnTaken or turnAwaited

	// Guarded by mu.
	mu   sync.Mutex
	line []chan struct{} // of the waiters; each has room for one
}

const (
	turnFree    = iota
	turnTaken   // and line is empty
	turnAwaited // taken, and line is not empty; only a goroutine that holds mu changes that
)

// try takes the turn if it is free.
func (t *turn) try() bool { return t.state.CompareAndSwap(turnFree, turnTaken) }

// join puts the caller in line. The caller has the turn when it has received from the result. A
// caller that stops waiting calls leave.
func (t *turn) join() chan struct{} {
	c := make(chan struct{}, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		switch {
		case t.try():
			c <- struct{}{}
			return c
		case t.state.Load() == turnAwaited || t.state.CompareAndSwap(turnTaken, turnAwaited):
			t.line = append(t.line, c)
			return c
		}
	}
}

// leave takes the caller out of the line, or gives back the turn that it was given meanwhile.
// c is the result of join, from which nothing was received.
func (t *turn) leave(c chan struct{}) {
	t.mu.Lock()
	i := slices.Index(t.line, c)
	if i >= 0 {
		t.line = slices.Delete(t.line, i, i+1)
		t.settleLocked()
	}
	t.mu.Unlock()
	if i < 0 {
		t.give()
	}
}

// give ends the turn of the caller and gives it to the first in line.
func (t *turn) give() {
	if t.state.CompareAndSwap(turnTaken, turnFree) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.line) == 0 { // the only waiter has left since
		t.state.Store(turnFree)
		return
	}
	t.line[0] <- struct{}{}
	t.line = slices.Delete(t.line, 0, 1)
	t.settleLocked()
}

// settleLocked notes that the line may be empty now. The turn is taken.
func (t *turn) settleLocked() {
	if len(t.line) == 0 {
		t.state.Store(turnTaken)
		t.line = nil
	}
}
