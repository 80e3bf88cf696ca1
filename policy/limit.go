package policy

import (
	"context"
	"fmt"
	"math"
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
}

// Limit admits at most n units at once. What is over is refused with [ErrFull],
// and what could never fit with [ErrCost]. Panics if n is less than 1.
func Limit(n int) *Limiter {
	var m misuse
	m.unless(n >= 1, "n is %d, not at least 1", n)
	m.report("Limit")
	return newLimiter("limit", n)
}

// BoundedQueue is [Limit] for Config.Admission in a pool that serves so many at
// once (its MaxSize): as a permit lasts from the request to the end of the
// lease, at most waiting callers wait, and the next one is refused at once. It
// is called "queue" in refusals. Panics if serving is less than 1, waiting is
// negative, or their sum overflows.
func BoundedQueue(serving, waiting int) *Limiter {
	var m misuse
	m.unless(serving >= 1, "serving is %d, not at least 1", serving)
	m.unless(waiting >= 0, "waiting is %d, not at least 0", waiting)
	m.unless(waiting <= math.MaxInt-max(serving, 0), "serving %d and waiting %d are too many together", serving, waiting)
	m.report("BoundedQueue")
	return newLimiter("queue", serving+waiting)
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

// Resize changes the limit. Where it falls below what is in flight nobody is
// interrupted: nothing is admitted until enough has been given back. Panics if n
// is less than 1; to stop all, use a [Gate].
func (l *Limiter) Resize(n int) {
	var m misuse
	m.unless(n >= 1, "n is %d, not at least 1", n)
	m.report("Resize")
	l.limit.Store(int64(n))
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
