package policy

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/respool/respool/resource"
)

// ErrOverloaded is why [CoDel] refused a caller: more come than can be served,
// and this one had waited too long.
var ErrOverloaded = errors.New("policy: overloaded")

// CoDel is a [resource.Queue] that keeps waits short under overload. It serves
// first come, first served, until there is a standing queue: through a whole
// interval somebody always waited who had waited longer than target. Then, as
// long as that lasts, it serves the newest first, who can still be served in
// time, and refuses with [ErrOverloaded] those who have waited longer than
// twice target. In the interval right after that, one such wait is enough to go
// on so. A burst that passes is served in order.
//
// What comes back is always lent to somebody who waits: the newest is never
// refused. Callers are refused only when something could be lent; until then
// their own contexts bound their waits. A refusal says to ask again after
// interval, and is counted in [resource.Stats.Rejected].
//
// target is how long a wait may be when all is well, and interval how long a
// burst may last: 5 ms and 100 ms serve many. A Queue serves one pool. Panics
// if target is not positive, or interval not longer than target.
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
// What is measured, at each Pop, is the wait of the one who has waited longest.
// folly takes the wait of the one who is served. In the order of coming that is
// the same. With the newest first it is the shortest wait there is: the first
// look would end the overload, the oldest would be served again, and the next
// interval begin it anew. The longest wait is short only if the queue was
// short, in either order, so one measure serves both.
//
// The least of the looks of one interval decides for the next. While there is
// overload those beyond the limit leave before the last look of each round, so
// the least is at most about twice target; it is at most target, which ends the
// overload, only if at some moment nobody was left who had waited longer.
//
// That comes to pass by chance too, once in a few thousand looks at three times
// the load, and then all come who wait in the order of coming for a whole
// interval: the worst waits of all. So an overload that has just ended begins
// again with the first wait beyond the limit, as the CoDel of routers takes up
// dropping where it left off.
//
// An empty queue is not standing, though no Pop is there to show it: so to
// become empty counts as a wait of 0. One who waits alone, however long, is
// then no overload. To refuse him would help nobody, as it would help nobody to
// refuse the newest, behind whom nobody waits; and where a lease lasts many
// times the target, all would be refused, and what came back lie idle.
type codel struct {
	target, interval time.Duration
	refusal          *resource.Rejection

	line       line
	least      time.Duration // the longest wait, at its shortest in this interval
	began      time.Duration // this interval
	overloaded bool          // the last one had a standing queue
	recent     bool          // so had the one before it

	shown     atomic.Int64 // how many wait, for State
	shownLate atomic.Bool  // overloaded, for State
}

func (c *codel) Push(w *resource.Waiter, _ time.Duration) {
	c.line.insert(w)
	c.shown.Store(int64(len(c.line.where)))
}

func (c *codel) Remove(w *resource.Waiter) {
	c.line.remove(w)
	c.emptied()
	c.shown.Store(int64(len(c.line.where)))
}

func (c *codel) Pop(now time.Duration) (*resource.Waiter, error) {
	first := c.line.first
	if first == nil {
		return nil, nil
	}
	longest := now - first.w.Since
	c.sample(longest, now)
	w, refuse := first.w, error(nil)
	switch {
	case !c.overloaded:
	case longest-c.target > c.target && first != c.line.last: // 2*target could overflow
		refuse = c.refusal
	default:
		w = c.line.last.w
	}
	c.line.remove(w)
	c.emptied()
	c.shown.Store(int64(len(c.line.where)))
	c.shownLate.Store(c.overloaded)
	return w, refuse
}

// sample notes the longest wait. The first look after an interval's end judges
// the interval, and belongs to the next: one look alone makes no overload, but
// where there was one just before.
func (c *codel) sample(longest, now time.Duration) {
	if now-c.began < c.interval {
		c.least = min(c.least, longest)
		c.overloaded = c.overloaded || c.recent && longest-c.target > c.target
		return
	}
	c.recent = c.overloaded && now-c.began < 2*c.interval // a quiet hour ends it for good
	c.overloaded = c.least > c.target
	c.least = longest
	c.began = now
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
