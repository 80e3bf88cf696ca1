package policy

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/respool/respool/resource"
)

// Limiter admits up to a limit of units at once and refuses the rest immediately.
// Create one with [Limit] or [BoundedQueue].
type Limiter struct {
	name       string
	limit      atomic.Int64
	used       counter
	releaseOne resource.Done
	errFull    error

	mu      sync.Mutex // guards serving and serializes changes of limit
	serving int        // the part of limit that follows the pool's maximum; 0: none
}

// Limit admits at most n units at once. Requests over the limit are refused with
// [ErrFull], and those that could never fit with [ErrCost]. The limit does not
// follow [resource.Pool.Resize], even if n was the size of the pool: see
// [BoundedQueue] for that. Panics if n is less than 1.
func Limit(n int) *Limiter {
	var e argErrors
	e.require(n >= 1, "n must be at least 1, got %d", n)
	e.panicIfAny("Limit")
	return newLimiter("limit", n)
}

// BoundedQueue is a [Limit] of serving+waiting for Config.Admission; serving is the
// number of leases that the pool can have at once (its MaxSize). A permit lasts from
// the request to the end of the lease, so at most waiting callers wait and the next
// one is refused immediately. Its name in refusals is "queue".
//
// It follows [resource.Pool.Resize] as long as serving equals the pool's maximum:
// serving becomes the new maximum, and waiting stays. Use one BoundedQueue per pool,
// or [Limit]. Panics if serving is less than 1, waiting is negative, or their sum
// overflows.
func BoundedQueue(serving, waiting int) *Limiter {
	var e argErrors
	e.require(serving >= 1, "serving must be at least 1, got %d", serving)
	e.require(waiting >= 0, "waiting must not be negative, got %d", waiting)
	e.require(waiting <= math.MaxInt-max(serving, 0), "the sum of serving %d and waiting %d overflows", serving, waiting)
	e.panicIfAny("BoundedQueue")
	l := newLimiter("queue", serving+waiting)
	l.serving = serving
	return l
}

func newLimiter(name string, n int) *Limiter {
	l := &Limiter{name: name, errFull: reject(name, 0, ErrFull)}
	l.limit.Store(int64(n))
	l.releaseOne = func(resource.Outcome) { l.used.release(1) }
	return l
}

// Admit implements [resource.Admission]. It does not block.
func (l *Limiter) Admit(_ context.Context, r resource.Request) (resource.Done, error) {
	n, err := units(l.name, r.Cost)
	if err != nil {
		return nil, err
	}
	if limit := l.limit.Load(); !l.used.take(n, limit) {
		if n > limit {
			return nil, rejectCost(l.name, n, limit)
		}
		return nil, l.errFull
	}
	if n == 1 {
		return l.releaseOne, nil
	}
	return func(resource.Outcome) { l.used.release(n) }, nil
}

// takeOne takes one unit, which releaseOne returns.
func (l *Limiter) takeOne() error {
	if !l.used.take(1, l.limit.Load()) {
		return l.errFull
	}
	return nil
}

// Resize sets the limit; for a [BoundedQueue] that is the sum of serving and
// waiting. A limit below the units in flight interrupts no caller: new requests are
// refused until enough units have been returned. After Resize the limit no longer
// follows a pool. Panics if n is less than 1; use a [Gate] to admit nothing.
func (l *Limiter) Resize(n int) {
	var e argErrors
	e.require(n >= 1, "n must be at least 1, got %d", n)
	e.require(l.errFull != nil, "the Limiter must be created with Limit or BoundedQueue")
	e.panicIfAny("Resize")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serving = 0
	l.limit.Store(int64(n))
}

// FollowSize implements [resource.SizeFollower] for a [BoundedQueue]. The limit of
// [Limit] never follows a pool.
func (l *Limiter) FollowSize(from, to int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.serving != from || to < 1 {
		return
	}
	waiting := l.limit.Load() - int64(from)
	l.serving = to
	l.limit.Store(waiting + min(int64(to), math.MaxInt-waiting)) // Limit returns an int
}

// Limit returns the number of units that may be in flight.
func (l *Limiter) Limit() int { return int(l.limit.Load()) }

// InFlight returns the number of units in flight.
func (l *Limiter) InFlight() int { return int(l.used.n.Load()) }

// counter counts units in flight.
type counter struct{ n atomic.Int64 }

// take adds n units if at most limit are in flight afterwards. It never exceeds the
// limit, not even temporarily: otherwise a large request that fails could cause a
// small concurrent one to be refused.
func (c *counter) take(n, limit int64) bool {
	for {
		used := c.n.Load()
		if n > limit-used { // in this form the comparison cannot overflow
			return false
		}
		if c.n.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// release returns the units of one take and reports how many remain in flight. It
// panics instead of going below zero, which would raise the limit for good.
func (c *counter) release(n int64) (left int64) {
	if left = c.n.Add(-n); left < 0 {
		c.n.Add(n)
		panic(fmt.Sprintf("policy: bug: a Done was called twice: %d units in flight", left))
	}
	return left
}
