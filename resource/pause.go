package resource

import (
	"time"

	"github.com/respool/respool/internal/handoff"
)

// pause is where a releaser waits until the waiter that it has served runs. The
// waiter makes the releaser runnable first thing, so the releaser is next on that
// processor and resumes when the waiter blocks, at the latest when its time slice
// ends. With runtime.Gosched it would queue behind every runnable goroutine of
// the process.
type pause struct {
	ready chan struct{} // holds one
	began time.Duration // on the pool's clock
}

// observeHandOff prepares what is to be done about the hand-off of a resource to
// w: see package handoff. The pool is locked.
func (p *Pool[T]) observeHandOff(w *waiter[T], held, now time.Duration) {
	switch p.advisor.Next(held) {
	case handoff.Watched:
		w.served, w.heldFor = now, held
	case handoff.Pause:
		b, _ := p.pauses.Get().(*pause)
		if b == nil {
			b = &pause{ready: make(chan struct{}, 1)}
		}
		b.began = now
		w.releaser, p.pausing = b, b
	}
}

// running does what observeHandOff asked of w, which has been woken. Its owner
// calls it before anything else, since its releaser may wait for it.
func (p *Pool[T]) running(w *waiter[T]) {
	if w.releaser != nil {
		w.releaser.ready <- struct{}{}
		w.releaser = nil
	}
	if w.served != 0 {
		p.advisor.WaiterRan(p.clock.now()-w.served, w.heldFor)
		w.served = 0
	}
}

// takePause returns the pause of the releaser that holds the lock; nil: it goes
// on at once. The pool is locked.
func (p *Pool[T]) takePause() *pause {
	b := p.pausing
	p.pausing = nil
	return b
}

// pauseFor waits until the waiter that was served runs. It does nothing if b is
// nil. The pool is not locked.
func (p *Pool[T]) pauseFor(b *pause) {
	if b == nil {
		return
	}
	<-b.ready
	p.advisor.Paused(p.clock.now() - b.began)
	p.pauses.Put(b)
}
