package policy

import (
	"context"

	"github.com/respool/respool/resource"
)

// WeightedSemaphore is the method set of Weighted in golang.org/x/sync/semaphore.
type WeightedSemaphore interface {
	// Acquire takes n and blocks until it can, or ctx ends.
	Acquire(ctx context.Context, n int64) error
	// TryAcquire takes n if that needs no waiting.
	TryAcquire(n int64) bool
	// Release gives n back.
	Release(n int64)
}

// Semaphore admits what s has room for and keeps the others waiting, until
// their context ends, in the order of s. NoWait is refused with [ErrFull]. Use
// it to share one bound with code that has nothing to do with a pool; else
// [Limit] is faster and refuses at once. A Cost larger than all of s waits until
// its context ends. Panics if s is nil.
func Semaphore(s WeightedSemaphore) resource.Admission {
	var m misuse
	m.unless(s != nil, "the semaphore is nil")
	m.report("Semaphore")
	return &semaphore{s: s, one: func(resource.Outcome) { s.Release(1) }}
}

type semaphore struct {
	s   WeightedSemaphore
	one resource.Done
}

// Admit implements [resource.Admission].
func (p *semaphore) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	const name = "semaphore"
	n, err := units(name, r)
	if err != nil {
		return nil, err
	}
	if r.NoWait {
		if !p.s.TryAcquire(n) {
			return nil, refuse(name, 0, ErrFull)
		}
	} else if err := p.s.Acquire(ctx, n); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, refuse(name, 0, err)
	}
	if n == 1 {
		return p.one, nil
	}
	return func(resource.Outcome) { p.s.Release(n) }, nil
}
