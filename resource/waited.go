package resource

import (
	"sync/atomic"
	"time"
)

// waitCounts is how the acquires that had to wait have ended. Those that failed
// are counted under the pool's lock, which they take anyway.
type waitCounts struct {
	served     atomic.Int64
	servedTime atomic.Int64
	_          [48]byte

	// Guarded by the pool's lock.
	failed     int64
	failedTime time.Duration
}

func (c *waitCounts) fail(waited time.Duration) {
	c.failed++
	c.failedTime += waited
}

func (c *waitCounts) serve(waited time.Duration) {
	c.servedTime.Add(int64(waited))
	c.served.Add(1)
}

// tell adds the counts to s. The pool is locked.
func (c *waitCounts) tell(s *Stats) {
	s.WaitsServed = c.served.Load()
	s.WaitsServedTime = time.Duration(c.servedTime.Load())
	s.WaitsFailed, s.WaitsFailedTime = c.failed, c.failedTime
	s.WaitTime = s.WaitsServedTime + s.WaitsFailedTime
}

// waitNote is the last lease of a resource whose caller had to wait. That caller
// sets it; whoever has a copy of a lease reads it.
type waitNote struct {
	lease  atomic.Uint64
	waited atomic.Int64
}

// endWait counts that an acquire that had to wait got l.
func (p *Pool[T]) endWait(s *search[T], l Lease[T]) {
	s.counted = true
	l.e.wait.waited.Store(max(1, int64(s.lasted)))
	l.e.wait.lease.Store(l.gen())
	p.waits.serve(s.lasted)
}

// failWait counts, if an acquire had to wait and it is not counted yet, that it
// got nothing.
func (p *Pool[T]) failWait(s *search[T]) {
	if !s.waited || s.counted {
		return
	}
	s.counted = true
	p.mu.Lock()
	p.waits.fail(s.lasted)
	p.mu.Unlock()
}

// Waited returns how long the caller of the acquire waited for this lease: until
// the resource was handed to it. It is 0 if the caller did not have to wait, and
// once the lease has ended.
func (l Lease[T]) Waited() time.Duration {
	if l.e == nil || l.e.wait.lease.Load() != l.gen() {
		return 0
	}
	d := time.Duration(l.e.wait.waited.Load())
	if !l.e.word.Holds(l.n) {
		return 0
	}
	return d
}
