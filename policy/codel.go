package policy

import (
	"errors"
	"time"

	"github.com/respool/respool/resource"
)

// ErrOverloaded is why [CoDel] refused a caller: more come than can be served,
// and this one had waited too long.
var ErrOverloaded = errors.New("policy: overloaded")

// CoDel is a [resource.Queue] that keeps waits short under overload. It serves
// first come, first served, until there is a standing queue: through a whole
// interval somebody always waited who had waited longer than target. Then, while
// that lasts, it serves the newest first, who can still be served in time, and
// refuses those who have waited longer than twice target, with [ErrOverloaded] and interval as
// the time after which to ask again. In good order a burst is not refused: it passes.
//
// target is how long a wait may be when all is well; interval, some tens of it,
// how long a burst may last: 5 ms and 100 ms serve many. Callers are refused when
// something comes back that could be lent, not before; their own deadline still holds.
// A refused caller is counted in [resource.Stats.Rejected].
//
// A Queue serves one pool. Panics if target is not positive, or interval
// not longer than target.
func CoDel(target, interval time.Duration) resource.Queue {
	var m misuse
	m.unless(target > 0, "the target is %v, not more than 0", target)
	m.unless(interval > target, "the interval is %v, not more than the target %v", interval, target)
	m.report("CoDel")
	return &codel{
		target:   target,
		interval: interval,
		refusal:  &resource.Rejection{Policy: "codel", RetryAfter: interval, Err: ErrOverloaded},
		line:     line{where: make(map[*resource.Waiter]*spot)},
	}
}

// codel follows folly's rule for services: it does not refuse more and more
// often, as the CoDel of routers drops packets, but all who waited beyond a
// limit.
//
// What is measured is how long the one has waited who has waited longest, at
// each Pop. folly looks at the one it takes out. In the order of coming that is
// the same; but with the newest first it is the one with the shortest wait, a measure
// that would end the overload with the first look, serve the oldest again, and
// begin anew. The longest wait is short only if the queue has been short, in
// either order. Those refused at a Pop leave first: what counts is the
// least of an interval, so the limit itself, twice target, does not end an
// overload, but there being nobody left near it does.
//
// An empty queue is not standing, though nothing is popped from it that would
// show that: so that it became empty counts as a wait of 0. That also makes one
// who waits alone, however long, no overload: refusing him would help nobody.
type codel struct {
	target, interval time.Duration
	refusal          *resource.Rejection

	line       line
	least      time.Duration // the longest wait, at its shortest in this interval
	ends       time.Duration // this interval
	overloaded bool          // the last one had a standing queue
}

func (c *codel) Push(w *resource.Waiter, _ time.Duration) { c.line.insert(w) }

func (c *codel) Remove(w *resource.Waiter) {
	c.line.remove(w)
	c.emptied()
}

func (c *codel) Pop(now time.Duration) (*resource.Waiter, error) {
	first := c.line.first
	if first == nil {
		return nil, nil
	}
	longest := now - first.w.Since
	c.sample(longest, now)
	w, refuse := first.w, error(nil)
	if c.overloaded {
		if longest-c.target > c.target { // twice target could be too large a number
			refuse = c.refusal
		} else {
			w = c.line.last.w
		}
	}
	c.line.remove(w)
	c.emptied()
	return w, refuse
}

// sample notes the longest wait. The first look after an interval's end judges
// the interval, and belongs to the next: one look alone makes no overload.
func (c *codel) sample(longest, now time.Duration) {
	if now < c.ends {
		c.least = min(c.least, longest)
		return
	}
	c.overloaded = c.least > c.target
	c.least = longest
	c.ends = now + c.interval
}

func (c *codel) emptied() {
	if c.line.first == nil {
		c.least = 0
	}
}

// line is waiters by when they began to wait, the first of them in front.
type line struct {
	first, last *spot
	where       map[*resource.Waiter]*spot
}

type spot struct {
	w          *resource.Waiter
	prev, next *spot
}

// insert puts w behind all who came before it or with it. One who was served
// something that a policy then turned down waits again since he first did, and
// was near the front or the back: so it is looked for from both.
func (l *line) insert(w *resource.Waiter) {
	if l.where[w] != nil {
		return
	}
	s := &spot{w: w}
	l.where[w] = s
	after, before := l.last, l.first
	for after != nil && after.w.Since > w.Since {
		if before.w.Since > w.Since {
			after = before.prev
			break
		}
		after, before = after.prev, before.next
	}
	l.link(s, after)
}

// link puts s behind after, or in front if that is nil.
func (l *line) link(s, after *spot) {
	if s.prev = after; after != nil {
		s.next, after.next = after.next, s
	} else {
		s.next, l.first = l.first, s
	}
	if s.next != nil {
		s.next.prev = s
	} else {
		l.last = s
	}
}

// remove takes w out, if it is there.
func (l *line) remove(w *resource.Waiter) {
	s := l.where[w]
	if s == nil {
		return
	}
	delete(l.where, w)
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		l.first = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		l.last = s.prev
	}
}
