package policy

import (
	"context"
	"fmt"
	"time"

	"github.com/respool/respool/internal/cause"
	"github.com/respool/respool/resource"
)

// Check is a function as a [resource.Health]: nil says that v still works. It
// is called before every lease and in every sweep; [IfIdle] makes it rarer.
// Panics if f is nil.
func Check[T any](f func(ctx context.Context, v T) error) resource.Health[T] {
	var m misuse
	m.unless(f != nil, "the function is nil")
	m.report("Check")
	return check[T](f)
}

type check[T any] func(ctx context.Context, v T) error

func (f check[T]) Check(ctx context.Context, v T, _ resource.Info) error { return f(ctx, v) }

// wrapped is the Health within another. It is due when that is.
type wrapped[T any] struct {
	h         resource.Health[T]
	scheduled resource.Scheduled // h, or what is within it, if that says when
}

// wrap panics in the name of a constructor if h is nil or m has a complaint.
func wrap[T any](who string, m misuse, h resource.Health[T]) wrapped[T] {
	f, isFunc := h.(check[T])
	m.unless(h != nil && (!isFunc || f != nil), "the Health is nil")
	m.report(who)
	w := wrapped[T]{h: h}
	switch h := h.(type) { // a hit need not go through those that only pass it on
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

// IfIdle checks with h only what has been idle for d and has not passed a check
// for as long: what was just used works, and so does what was just checked. In
// between, an acquire costs it a comparison. What has never passed a check
// counts as checked when it was made. Panics if d is not positive or h is nil.
func IfIdle[T any](d time.Duration, h resource.Health[T]) resource.Health[T] {
	var m misuse
	m.unless(d > 0, "the idle time is %v, not more than 0", d)
	return &ifIdle[T]{wrap("IfIdle", m, h), d}
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

// ErrCheckTimeout is in the error of a check that [CheckTimeout] cut short.
var ErrCheckTimeout = cause.New("policy: health check timed out", "health check timed out")

// CheckTimeout ends the context of each check with h after d, with the cause
// [ErrCheckTimeout]. A check that then fails counts as failed: its error has
// ErrCheckTimeout too, and the resource ends. Without it, a check before a
// lease has as long as the caller. It does not help against a Check that does
// not heed its context. Panics if d is not positive or h is nil.
func CheckTimeout[T any](d time.Duration, h resource.Health[T]) resource.Health[T] {
	var m misuse
	m.unless(d > 0, "the timeout is %v, not more than 0", d)
	return &checkTimeout[T]{wrap("CheckTimeout", m, h), d}
}

type checkTimeout[T any] struct {
	wrapped[T]
	d time.Duration
}

func (t *checkTimeout[T]) Check(ctx context.Context, v T, i resource.Info) error {
	own, cancel := context.WithTimeoutCause(ctx, t.d, ErrCheckTimeout)
	defer cancel()
	ill := t.h.Check(own, v, i)
	// If ctx ended first its cause is not ours. Nested in another CheckTimeout
	// it may be, and is then said once, by the outer one.
	if ill != nil && ctx.Err() == nil && context.Cause(own) == ErrCheckTimeout {
		return fmt.Errorf("%w: %w", ErrCheckTimeout, ill)
	}
	return ill
}

// Consecutive keeps a resource whose check with h failed until n checks in a
// row have: until then their errors match [resource.ErrTolerated], and it goes
// on being lent. A check that passes starts the count anew. With n 1 it is h.
// What h itself tolerates stays tolerated, however often. Panics if n is less
// than 1 or h is nil.
func Consecutive[T any](n int, h resource.Health[T]) resource.Health[T] {
	var m misuse
	m.unless(n >= 1, "the number of failures is %d, not at least 1", n)
	return &consecutive[T]{wrap("Consecutive", m, h), n}
}

type consecutive[T any] struct {
	wrapped[T]
	n int
}

func (c *consecutive[T]) Check(ctx context.Context, v T, i resource.Info) error {
	ill := c.h.Check(ctx, v, i)
	if ill == nil || i.Failures >= c.n-1 { // not Failures+1 >= n, which could overflow
		return ill
	}
	return fmt.Errorf("%w: %w", resource.ErrTolerated, ill)
}
