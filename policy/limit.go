package policy

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/respool/respool/resource"
)

// Limiter admits up to a limit of units at once, and refuses at once what is
// over it. Make one with [Limit] or [BoundedQueue].
type Limiter struct {
	name  string
	limit atomic.Int64
	used  counter
	one   resource.Done // gives back one unit
	full  error

	mu      sync.Mutex // guards serving, and every change of limit
	serving int        // the part of limit that follows the pool's maximum; 0: none
}

// Limit admits at most n units at once. What is over is refused with [ErrFull],
// and what could never fit with [ErrCost]. The limit stays n when a pool is
// resized, even if n was its size: for that see [BoundedQueue]. Panics if n is
// less than 1.
func Limit(n int) *Limiter {
	var m misuse
	m.unless(n >= 1, "n is %d, not at least 1", n)
	m.report("Limit")
	return newLimiter("limit", n)
}

// BoundedQueue is [Limit] for Config.Admission in a pool that serves so many at
// once (its MaxSize): as a permit lasts from the request to the end of the
// lease, at most waiting callers wait, and the next one is refused at once. It
// is called "queue" in refusals.
//
// It follows [resource.Pool.Resize] as long as serving is the pool's maximum: then
// serving becomes the new maximum, and as many callers may wait as before. In
// several pools give them one each, or use [Limit]. Panics if serving is less than
// 1, waiting is negative, or their sum overflows.
func BoundedQueue(serving, waiting int) *Limiter {
	var m misuse
	m.unless(serving >= 1, "serving is %d, not at least 1", serving)
	m.unless(waiting >= 0, "waiting is %d, not at least 0", waiting)
	m.unless(waiting <= math.MaxInt-max(serving, 0), "serving %d and waiting %d are too many together", serving, waiting)
	m.report("BoundedQueue")
	l := newLimiter("queue", serving+waiting)
	l.serving = serving
	return l
}

func newLimiter(name string, n int) *Limiter {
	l := &Limiter{name: name, full: refuse(name, 0, ErrFull)}
	l.limit.Store(int64(n))
	l.one = func(resource.Outcome) { l.used.giveBack(1) }
	return l
}

// Admit implements [resource.Admission]. It does not block.
func (l *Limiter) Admit(_ context.Context, r resource.Request) (resource.Done, error) {
	n, err := units(l.name, r)
	if err != nil {
		return nil, err
	}
	if limit := l.limit.Load(); !l.used.take(n, limit) {
		if n > limit {
			return nil, tooMuch(l.name, n, limit)
		}
		return nil, l.full
	}
	if n == 1 {
		return l.one, nil
	}
	return func(resource.Outcome) { l.used.giveBack(n) }, nil
}

// takeOne is Admit of one unit, which one gives back.
func (l *Limiter) takeOne() error {
	if !l.used.take(1, l.limit.Load()) {
		return l.full
	}
	return nil
}

// Resize changes the limit: that of a [BoundedQueue] is how many may be served
// and wait together. Where it falls below what is in flight nobody is
// interrupted: nothing is admitted until enough has been given back. The limit is
// n from then on, and does not follow a pool any more. Panics if n is less than 1;
// to stop all, use a [Gate].
func (l *Limiter) Resize(n int) {
	var m misuse
	m.unless(n >= 1, "n is %d, not at least 1", n)
	m.report("Resize")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serving = 0
	l.limit.Store(int64(n))
}

// FollowSize implements [resource.SizeFollower], for a [BoundedQueue].
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

// Limit returns how many units may be in flight.
func (l *Limiter) Limit() int { return int(l.limit.Load()) }

// InFlight returns how many units are.
func (l *Limiter) InFlight() int { return int(l.used.n.Load()) }

// counter counts units in flight.
type counter struct{ n atomic.Int64 }

// take takes n more units if no more than limit are then in flight. It never
// takes more than that, not even for an instant, so that one who asks for much
// in vain keeps nobody out who asks for little.
func (c *counter) take(n, limit int64) bool {
	for {
		used := c.n.Load()
		if n > limit-used { // so written, it cannot overflow
			return false
		}
		if c.n.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// giveBack returns the units of one take, and how many are left in flight. What
// was not out does not come back: it would be room over the limit for good.
func (c *counter) giveBack(n int64) (left int64) {
	if left = c.n.Add(-n); left < 0 {
		c.n.Add(n)
		panic(fmt.Sprintf("policy: bug: a Done was called twice: %d units in flight", left))
	}
	return left
}
