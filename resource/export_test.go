package resource

import (
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/respool/respool/internal/budget"
)

// Locked runs f with the pool's lock held: f stands still if it needs the lock.
// It returns false, and does not run f, if the pool sends everybody through the
// lock just now.
func (p *Pool[T]) Locked(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.slowPath.Load() != 0 {
		return false
	}
	f()
	return true
}

// Shards returns how many puddle pools there are, and how many resources the one
// that has most of them counts.
func (p *Pool[T]) Shards() (n, most int) {
	p.life.mu.Lock()
	defer p.life.mu.Unlock()
	for _, s := range p.life.shards {
		most = max(most, s.n)
	}
	return len(p.life.shards), most
}

// Wear sets the number of leases that each resource has had.
func (p *Pool[T]) Wear(leases int64) {
	const genShift = 28 // see claim.Word
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.registry.all {
		word := (*atomic.Uint64)(unsafe.Pointer(&e.word))
		had := e.word.Load().Leases
		word.Add(uint64(leases-had) << genShift)
		e.slotBase += leases - had
		if e.word.Load().Leases != leases {
			panic("the word is not as it was")
		}
	}
}

// ReleaseHalf does the first half of a Release on a slot, which began before
// anybody waited. The result does the rest.
func (l Lease[T]) ReleaseHalf() (rest func()) {
	p := l.e.pool
	if !l.e.word.Return(l.n, p.clock.tick.Load()) {
		panic("the resource has no seat")
	}
	return func() { p.handOff.wait(p.settle(l.e)) }
}

// StandStill has the pool's clock jump by d while its timers do not run, as where
// the process has stood still.
func (p *Pool[T]) StandStill(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clock.base = p.clock.base.Add(-d)
}

// Bounded reports whether a resource born at that time is within the bounds that follow from
// h, and what an Eviction would be told about it.
func (h Horizon) Bounded(born time.Duration, tick, idle, leases int64) (within bool, i Info) {
	e := &entry[int]{pool: new(Pool[int]), born: born}
	b := h.bounds(born)
	e.facts(&i, tick, idle, leases)
	return b.Include(tick, idle, leases), i
}

// HandOffsLate has the pool know that waiters run late after a hand-over, so that releasers
// pause unless they held the resource for a short time only.
func (p *Pool[T]) HandOffsLate() {
	for range 4 {
		p.handOff.advisor.WaiterRan(time.Second, time.Millisecond)
	}
}

// CountClock returns the count of how often the total of k, which has not been used yet, reads
// its clock.
func (k *Keyed[K, T]) CountClock() *atomic.Int64 {
	n := new(atomic.Int64)
	k.common.budget = budget.New(k.cfg.MaxTotal, func() time.Duration {
		n.Add(1)
		return time.Since(k.common.base)
	})
	return n
}

// Tidies reports whether keys will be looked at that may be forgotten.
func (k *Keyed[K, T]) Tidies() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.armed
}

// Unreported returns how many comings and goings of waiters are noted for the Queue.
func (p *Pool[T]) Unreported() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiters.news)
}

// Estimate is the hold that is reported of a lease that was not sampled.
func Estimate(ticks int64, passed time.Duration) time.Duration { return estimate(ticks, passed) }
