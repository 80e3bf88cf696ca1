package policy

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/respool/respool/resource"
)

// CohortHealth is a [resource.Health] that suspects the contemporaries of the
// dead. Make one with [Cohort]. Its methods may be called by many goroutines at
// once.
type CohortHealth[T any] struct {
	in  wrapped[T]
	now atomic.Pointer[suspicion]
}

// suspicion is of every resource up to an ID. A new one takes its place when
// another death is found; what passed under the old one has proved nothing
// then.
type suspicion struct {
	upTo   uint64
	passed sync.Map // IDs, of those that passed a check since
	n      atomic.Int64
}

// maxPassed is how many IDs a suspicion remembers. Only the pool knows which of
// them are gone; when there are so many all are forgotten, which costs those
// that are still there one more check.
const maxPassed = 1 << 16

// Cohort checks with h when h is due, and besides suspects: if a server was
// restarted all that was made before is dead, and callers should not have to
// find that out one idle time after the other. When a check finds a resource
// dead, every one with its ID or a smaller one (made at the same time, or
// before) is due at once, until it has passed a check begun since. That another
// suspect is found dead is no news; a death among those that have passed, or
// that were made later, begins a new suspicion, of all up to the largest ID so
// far.
//
// h decides when the others are due, so Cohort goes around [IfIdle]. A failure
// that is tolerated, or that comes when the context has ended, is no death. No
// method takes a lock that others hold for long. A Cohort serves one pool.
// Panics if h is nil.
func Cohort[T any](h resource.Health[T]) *CohortHealth[T] {
	return &CohortHealth[T]{in: wrap("Cohort", nil, h)}
}

// Suspect makes every resource with this ID or a smaller one due, until it has
// passed a check begun since. It is for deaths that others see: those that invalidate
// reported, say, which [resource.Trace.Destroyed] tells. It does not block. An
// ID that is not yet in use suspects what will have it.
func (c *CohortHealth[T]) Suspect(id uint64) {
	for {
		old := c.now.Load()
		s := &suspicion{upTo: id}
		if old != nil {
			s.upTo = max(id, old.upTo)
		}
		if c.now.CompareAndSwap(old, s) {
			return
		}
	}
}

// Due reports whether the resource is suspected, or else what the Health within
// says.
func (c *CohortHealth[T]) Due(i resource.Info) bool {
	return c.now.Load().suspects(i.ID) || c.in.Due(i)
}

// Check asks the Health within, and learns from what it says.
func (c *CohortHealth[T]) Check(ctx context.Context, v T, i resource.Info) error {
	before := c.now.Load()
	ill := c.in.h.Check(ctx, v, i)
	switch {
	case ill == nil:
		if before.clear(i.ID) > maxPassed {
			c.now.CompareAndSwap(before, &suspicion{upTo: before.upTo})
		}
	case ctx.Err() == nil && !errors.Is(ill, resource.ErrTolerated) && !c.now.Load().suspects(i.ID):
		c.Suspect(i.ID)
	}
	return ill
}

func (s *suspicion) suspects(id uint64) bool {
	if s == nil || id > s.upTo {
		return false
	}
	_, passed := s.passed.Load(id)
	return !passed
}

// clear notes that id has passed, and returns how many have.
func (s *suspicion) clear(id uint64) int64 {
	if !s.suspects(id) {
		return 0
	}
	if _, twice := s.passed.LoadOrStore(id, struct{}{}); twice {
		return s.n.Load()
	}
	return s.n.Add(1)
}
