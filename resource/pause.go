package resource

import (
	"sync"
	"time"

	"github.com/respool/respool/internal/handoff"
)

// handOff decides whether a releaser lets the waiter that it served run first (see
// package handoff), and has it wait until then. Its user holds the pool's lock, except
// for ran and wait.
type handOff struct {
	clock   *clock // constant
	advisor handoff.Advisor
	pauses  sync.Pool // of *pause
	pausing *pause    // of the releaser that holds the lock; nil: it does not pause
}

// pause is where a releaser waits until the waiter that it has served runs. The
// waiter makes the releaser runnable first, so the releaser is next on that processor
// and resumes when the waiter blocks, or when its time slice ends. With
// runtime.Gosched it would queue behind every runnable goroutine of the process.
type pause struct {
	ready chan struct{} // holds one
	began time.Duration // on the pool's clock
}

// handOffNote is what a waiter must do when it runs. The zero note is nothing.
type handOffNote struct {
	releaser *pause        // of the releaser that waits until then; nil: none
	served   time.Duration // when it was served; 0: it does not report when it ran
	heldFor  time.Duration // how long the resource was held before
}

// observe decides about the hand-over of a resource that was held for that long, and
// notes it for the waiter.
func (h *handOff) observe(n *handOffNote, held, now time.Duration) {
	switch h.advisor.Next(held) {
	case handoff.Watched:
		n.served, n.heldFor = now, held
	case handoff.Pause:
		b, _ := h.pauses.Get().(*pause)
		if b == nil {
			b = &pause{ready: make(chan struct{}, 1)}
		}
		b.began = now
		n.releaser, h.pausing = b, b
	}
}

// ran does what n says. The woken waiter calls it before anything else, since its
// releaser may wait for it.
func (h *handOff) ran(n *handOffNote) {
	if n.releaser != nil {
		n.releaser.ready <- struct{}{}
		n.releaser = nil
	}
	if n.served != 0 {
		h.advisor.WaiterRan(h.clock.now()-n.served, n.heldFor)
		n.served = 0
	}
}

// take returns the pause of the releaser that holds the lock; nil: it goes on at once.
func (h *handOff) take() *pause {
	b := h.pausing
	h.pausing = nil
	return b
}

// wait waits until the waiter that was served runs. It does nothing if b is nil. The
// pool is not locked.
func (h *handOff) wait(b *pause) {
	if b == nil {
		return
	}
	<-b.ready
	h.advisor.Paused(h.clock.now() - b.began)
	h.pauses.Put(b)
}
