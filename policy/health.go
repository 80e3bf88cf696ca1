package policy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/cause"
	"github.com/respool/respool/resource"
)

// Check adapts a function to [resource.Health]. f returns nil if v works. It is called
// before every lease and in every sweep; [IfIdle] reduces that. Panics if f is nil.
func Check[T any](f func(ctx context.Context, v T) error) resource.Health[T] {
	var e argErrors
	e.require(f != nil, "the function is nil")
	e.panicIfAny("Check")
	return check[T](f)
}

type check[T any] func(ctx context.Context, v T) error

func (f check[T]) Check(ctx context.Context, v T, _ resource.Info) error { return f(ctx, v) }

// wrapped is a Health inside another one, which is due when the inner one is.
type wrapped[T any] struct {
	h         resource.Health[T]
	scheduled resource.Scheduled // the innermost Health with a schedule; nil: always due
}

// wrap panics in the name of the constructor if h is nil or e has an error.
func wrap[T any](constructor string, e argErrors, h resource.Health[T]) wrapped[T] {
	f, isFunc := h.(check[T])
	e.require(h != nil && (!isFunc || f != nil), "the Health is nil")
	e.panicIfAny(constructor)
	w := wrapped[T]{h: h}
	switch h := h.(type) { // skip wrappers that only delegate: Due is on the hit path
	case *checkTimeout[T]:
		w.scheduled = h.scheduled
	case *consecutive[T]:
		w.scheduled = h.scheduled
	case resource.Scheduled:
		w.scheduled = h
	}
	return w
}

func (w *wrapped[T]) Due(i resource.Info) bool {
	return w.scheduled == nil || w.scheduled.Due(i)
}

// IfIdle checks with h only resources that have been idle for d and have not passed a
// check for d: a resource that was used or checked recently is taken to work. For those
// an acquire costs one comparison. A resource that has never passed a check counts as
// checked when it was made. Panics if d is not positive or h is nil.
func IfIdle[T any](d time.Duration, h resource.Health[T]) resource.Health[T] {
	var e argErrors
	e.require(d > 0, "the idle time must be positive, got %v", d)
	return &ifIdle[T]{wrap("IfIdle", e, h), d}
}

type ifIdle[T any] struct {
	wrapped[T]
	d time.Duration
}

func (f *ifIdle[T]) Due(i resource.Info) bool {
	return i.Idle >= f.d && i.Checked >= f.d && f.wrapped.Due(i)
}

func (f *ifIdle[T]) Check(ctx context.Context, v T, i resource.Info) error {
	return f.h.Check(ctx, v, i)
}

// ErrCheckTimeout is wrapped by the error of a check that [CheckTimeout] ended.
var ErrCheckTimeout = cause.New("policy: health check timed out", "health check timed out")

// CheckTimeout ends the context of each check with h after d, with the cause
// [ErrCheckTimeout]. A check that fails after that is a failure: its error wraps
// ErrCheckTimeout too, and the resource is destroyed. Without CheckTimeout, only the
// caller's context bounds a check before a lease. It does not help with a Check that
// ignores its context. Panics if d is not positive or h is nil.
func CheckTimeout[T any](d time.Duration, h resource.Health[T]) resource.Health[T] {
	var e argErrors
	e.require(d > 0, "the timeout must be positive, got %v", d)
	return &checkTimeout[T]{wrap("CheckTimeout", e, h), d}
}

type checkTimeout[T any] struct {
	wrapped[T]
	d time.Duration
}

func (t *checkTimeout[T]) Check(ctx context.Context, v T, i resource.Info) error {
	bounded, cancel := context.WithTimeoutCause(ctx, t.d, ErrCheckTimeout)
	defer cancel()
	err := t.h.Check(bounded, v, i)
	// If ctx ended first, this timeout is not the cause. In a nested CheckTimeout
	// the outer timeout may be; then only the outer one wraps the error.
	if err != nil && ctx.Err() == nil && context.Cause(bounded) == ErrCheckTimeout {
		return fmt.Errorf("%w: %w", ErrCheckTimeout, err)
	}
	return err
}

// Consecutive keeps a resource until n checks with h in a row have failed. Until then
// the errors match [resource.ErrTolerated] and the resource continues to be lent. A
// check that passes resets the count. With n 1 it behaves like h. Errors that h itself
// tolerates remain tolerated, however many there are. Panics if n is less than 1 or h
// is nil.
func Consecutive[T any](n int, h resource.Health[T]) resource.Health[T] {
	var e argErrors
	e.require(n >= 1, "the number of failures must be at least 1, got %d", n)
	return &consecutive[T]{wrap("Consecutive", e, h), n}
}

type consecutive[T any] struct {
	wrapped[T]
	n int
}

func (c *consecutive[T]) Check(ctx context.Context, v T, i resource.Info) error {
	err := c.h.Check(ctx, v, i)
	if err == nil || i.Failures >= c.n-1 { // not Failures+1 >= n, which could overflow
		return err
	}
	return fmt.Errorf("%w: %w", resource.ErrTolerated, err)
}

// CohortHealth is a [resource.Health] that, when a resource is found dead, checks the
// ones created at the same time or before. Create one with [Cohort]. Its methods are
// safe for concurrent use.
type CohortHealth[T any] struct {
	inner   wrapped[T]
	current atomic.Pointer[suspectSet]
}

// suspectSet is the set of resources with an ID up to maxID, except those that passed
// a check since. When another death is found a new set replaces it, in which no
// resource has passed yet.
type suspectSet struct {
	maxID       uint64
	passed      sync.Map // IDs of suspects that passed a check
	passedCount atomic.Int64
}

// maxPassed is the number of IDs that a suspectSet remembers. Only the pool knows
// which of them still exist; above this number all are forgotten, at the price of one
// more check for each that does.
const maxPassed = 1 << 16

// Cohort checks with h when h is due, and in addition checks suspects. After a restart
// of the server every older connection is dead, and callers should not have to discover
// them one idle time after another. When a check finds a resource dead, every resource
// with the same or a smaller ID is a suspect: it is due at once, until it has passed a
// check that began since. Another dead suspect changes nothing. A death among the
// resources that have passed, or that were made later, starts a new set of suspects: all
// resources up to the largest ID so far.
//
// h decides when other resources are due, so Cohort wraps [IfIdle], not the reverse. A
// tolerated failure, or one after the end of the context, is not a death. No method holds
// a lock for long. A Cohort serves one pool. Panics if h is nil.
func Cohort[T any](h resource.Health[T]) *CohortHealth[T] {
	return &CohortHealth[T]{inner: wrap("Cohort", nil, h)}
}

// Suspect makes every resource with this ID or a smaller one due, until it has passed a
// check that began since. Use it for deaths found outside of checks, for example those
// that [resource.Trace.Destroyed] reports after a lease was invalidated. It does not
// block. An ID not yet in use applies to resources that are given it later.
func (c *CohortHealth[T]) Suspect(id uint64) {
	for {
		old := c.current.Load()
		s := &suspectSet{maxID: id}
		if old != nil {
			s.maxID = max(id, old.maxID)
		}
		if c.current.CompareAndSwap(old, s) {
			return
		}
	}
}

// Due reports whether the resource is a suspect or due for the inner Health.
func (c *CohortHealth[T]) Due(i resource.Info) bool {
	return c.current.Load().contains(i.ID) || c.inner.Due(i)
}

// Check runs the check of the inner Health and updates the set of suspects. It blocks as
// long as that check, and returns its error.
func (c *CohortHealth[T]) Check(ctx context.Context, v T, i resource.Info) error {
	before := c.current.Load()
	err := c.inner.h.Check(ctx, v, i)
	switch {
	case err == nil:
		if before.clear(i.ID) > maxPassed {
			c.current.CompareAndSwap(before, &suspectSet{maxID: before.maxID})
		}
	case ctx.Err() == nil && !errors.Is(err, resource.ErrTolerated) && !c.current.Load().contains(i.ID):
		c.Suspect(i.ID)
	}
	return err
}

func (s *suspectSet) contains(id uint64) bool {
	if s == nil || id > s.maxID {
		return false
	}
	_, passed := s.passed.Load(id)
	return !passed
}

// clear records that id has passed, and returns how many have.
func (s *suspectSet) clear(id uint64) int64 {
	if !s.contains(id) {
		return 0
	}
	if _, twice := s.passed.LoadOrStore(id, struct{}{}); twice {
		return s.passedCount.Load()
	}
	return s.passedCount.Add(1)
}
