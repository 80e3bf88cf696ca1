package resource

import (
	"sync/atomic"
	"time"
)

// waitNote is the last lease of a resource whose caller had to wait. That caller
// sets it; whoever has a copy of a lease reads it.
type waitNote struct {
	lease  atomic.Uint64
	waited atomic.Int64
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

// countServedWait counts that an acquire that had to wait got l.
func (s *search[T]) countServedWait(l Lease[T]) {
	s.counted = true
	l.e.wait.waited.Store(max(1, int64(s.lasted)))
	l.e.wait.lease.Store(l.gen())
	l.e.pool.counts.waits.serve(s.lasted)
}

// countFailedWait counts, if an acquire had to wait and is not counted yet, that it
// got nothing.
func (p *Pool[T]) countFailedWait(s *search[T]) {
	if !s.waited || s.counted {
		return
	}
	s.counted = true
	p.mu.Lock()
	p.counts.waits.fail(s.lasted)
	p.mu.Unlock()
}
