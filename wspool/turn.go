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
	state atomic.Int32             // turnFree, turnTaken or turnAwaited
	line  atomic.Pointer[turnLine] // nil: no goroutine has waited yet
}

// turnLine has the waiters of a turn.
type turnLine struct {
	mu  sync.Mutex
	all []chan struct{} // each has room for one; guarded by mu
}

const (
	turnFree    = iota
	turnTaken   // and the line is empty
	turnAwaited // taken, and the line is not empty; only a goroutine that holds its mu changes that
)

// try takes the turn if it is free.
func (t *turn) try() bool { return t.state.CompareAndSwap(turnFree, turnTaken) }

// join puts the caller in line. The caller has the turn when it has received from the result. A
// caller that stops waiting calls leave.
func (t *turn) join() chan struct{} {
	c := make(chan struct{}, 1)
	if t.line.Load() == nil {
		t.line.CompareAndSwap(nil, new(turnLine))
	}
	line := t.line.Load()
	line.mu.Lock()
	defer line.mu.Unlock()
	for {
		switch {
		case t.try():
			c <- struct{}{}
			return c
		case t.state.Load() == turnAwaited || t.state.CompareAndSwap(turnTaken, turnAwaited):
			line.all = append(line.all, c)
			return c
		}
	}
}

// leave takes the caller out of the line, or gives back the turn that it was given meanwhile.
// c is the result of join, from which nothing was received.
func (t *turn) leave(c chan struct{}) {
	line := t.line.Load()
	line.mu.Lock()
	i := slices.Index(line.all, c)
	if i >= 0 {
		t.removeLocked(line, i)
	}
	line.mu.Unlock()
	if i < 0 {
		t.give()
	}
}

// give ends the turn of the caller and gives it to the first in line.
func (t *turn) give() {
	if t.state.CompareAndSwap(turnTaken, turnFree) {
		return
	}
	line := t.line.Load()
	line.mu.Lock()
	defer line.mu.Unlock()
	if len(line.all) == 0 { // the only waiter has left since
		t.state.Store(turnFree)
		return
	}
	line.all[0] <- struct{}{}
	t.removeLocked(line, 0)
}

// removeLocked removes a waiter. The turn is taken.
func (t *turn) removeLocked(line *turnLine, i int) {
	if line.all = slices.Delete(line.all, i, i+1); len(line.all) == 0 {
		t.state.Store(turnTaken)
		line.all = nil
	}
}
