package policy

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/respool/respool/resource"
)

// ErrOverloaded is the reason for which [CoDel] refuses a caller: the queue is
// overloaded and the caller has waited too long.
var ErrOverloaded = errors.New("policy: overloaded")

// CoDel is a [resource.Queue] that keeps waits short under overload. It serves in
// order of arrival until there is a standing queue: for a whole interval there was
// always a waiter that had waited longer than target. As long as that lasts, it serves
// the newest waiter first, which can still be served in time, and refuses with
// [ErrOverloaded] waiters that have waited longer than twice target. In the interval
// right after an overload, one such wait is enough to resume it. A short burst is
// served in order.
//
// A returned resource always goes to a waiter: the newest waiter is never refused.
// Waiters are refused only when a resource could be lent; until then their contexts
// bound their waits. A refusal has interval as RetryAfter and is counted in
// [resource.Stats.Rejected].
//
// target is the acceptable wait, and interval the acceptable length of a burst: 5 ms
// and 100 ms are good values for many services. A Queue serves one pool. Panics if
// target is not positive, or interval is not larger than target.
func CoDel(target, interval time.Duration) resource.Queue {
	var e argErrors
	e.require(target > 0, "the target must be positive, got %v", target)
	e.require(interval > target, "the interval must be larger than the target %v, got %v", target, interval)
	e.panicIfAny("CoDel")
	return &codel{
		target:   target,
		interval: interval,
		refusal:  &resource.Rejection{Policy: "codel", RetryAfter: interval, Err: ErrOverloaded},
		waiters:  waitList{nodes: make(map[*resource.Waiter]*waitNode)},
	}
}

// codel follows the variant of CoDel for services in folly: it does not refuse at an
// increasing rate, as CoDel drops packets in a router, but refuses every waiter beyond
// a limit.
//
// Each Pop samples the wait of the oldest waiter. folly samples the wait of the waiter
// being served. In order of arrival the two are the same. With the newest first, the
// served waiter has the shortest wait of all: the first sample would end the overload,
// the oldest would be served again, and the next interval would start it anew. The
// longest wait is short only if the queue was short, in either order, so one measure
// serves both.
//
// The minimum of the samples of one interval decides for the next interval. During
// overload the waiters beyond the limit leave before the last sample of each round, so
// the minimum is at most about twice target. It is at most target, which ends the
// overload, only if at some moment no waiter had waited longer.
//
// That also happens by chance, about once in a few thousand samples at three times the
// capacity. Then all waiters would be served in order of arrival for a whole interval,
// which gives the worst waits of all. So an overload that has just ended is resumed by
// the first wait beyond the limit, as CoDel in a router resumes dropping where it left
// off.
//
// An empty queue is not standing, although no Pop samples it; so becoming empty counts
// as a sample of 0. A single waiter, however long it waits, is then no overload. To
// refuse it would help no other waiter, just as to refuse the newest would not; and
// where a lease lasts many times the target, every waiter would be refused and the
// returned resources would stay idle.
type codel struct {
	target, interval time.Duration
	refusal          *resource.Rejection

	waiters       waitList
	minWait       time.Duration // smallest sample of this interval
	intervalStart time.Duration
	overloaded    bool // the last interval had a standing queue
	recent        bool // so had the interval before it

	length          atomic.Int64 // number of waiters, for State
	stateOverloaded atomic.Bool  // copy of overloaded, for State
}

func (c *codel) Push(w *resource.Waiter, _ time.Duration) {
	c.waiters.insert(w)
	c.length.Store(int64(len(c.waiters.nodes)))
}

func (c *codel) Remove(w *resource.Waiter) {
	c.waiters.remove(w)
	c.noteIfEmpty()
	c.length.Store(int64(len(c.waiters.nodes)))
}

func (c *codel) Pop(now time.Duration) (*resource.Waiter, error) {
	first := c.waiters.first
	if first == nil {
		return nil, nil
	}
	longest := now - first.w.Since
	c.sample(longest, now)
	w, refuse := first.w, error(nil)
	switch {
	case !c.overloaded:
	case longest-c.target > c.target && first != c.waiters.last: // 2*target could overflow
		refuse = c.refusal
	default:
		w = c.waiters.last.w
	}
	c.waiters.remove(w)
	c.noteIfEmpty()
	c.length.Store(int64(len(c.waiters.nodes)))
	c.stateOverloaded.Store(c.overloaded)
	return w, refuse
}

// sample records the longest wait. The first sample after the end of an interval
// judges that interval and belongs to the next one. A single sample never starts an
// overload, except right after one.
func (c *codel) sample(longest, now time.Duration) {
	if now-c.intervalStart < c.interval {
		c.minWait = min(c.minWait, longest)
		c.overloaded = c.overloaded || c.recent && longest-c.target > c.target
		return
	}
	c.recent = c.overloaded && now-c.intervalStart-c.interval < c.interval // an idle period ends it for good; 2*interval could overflow
	c.overloaded = c.minWait > c.target
	c.minWait = longest
	c.intervalStart = now
}

func (c *codel) noteIfEmpty() {
	if c.waiters.first == nil {
		c.minWait = 0
	}
}

// waitList is a list of waiters ordered by Since, the oldest first.
type waitList struct {
	first, last *waitNode
	nodes       map[*resource.Waiter]*waitNode
}

type waitNode struct {
	w          *resource.Waiter
	prev, next *waitNode
}

// insert inserts w behind all waiters with the same or an earlier Since. A waiter
// that is pushed again, because a policy rejected the resource it was given, keeps its
// Since and was near the front or the back: so the position is searched from both
// ends.
func (l *waitList) insert(w *resource.Waiter) {
	if l.nodes[w] != nil {
		return
	}
	n := &waitNode{w: w}
	l.nodes[w] = n
	after, before := l.last, l.first
	for after != nil && after.w.Since > w.Since {
		if before.w.Since > w.Since {
			after = before.prev
			break
		}
		after, before = after.prev, before.next
	}
	l.link(n, after)
}

// link inserts n behind after, or at the front if after is nil.
func (l *waitList) link(n, after *waitNode) {
	if n.prev = after; after != nil {
		n.next, after.next = after.next, n
	} else {
		n.next, l.first = l.first, n
	}
	if n.next != nil {
		n.next.prev = n
	} else {
		l.last = n
	}
}

// remove removes w if it is in the list.
func (l *waitList) remove(w *resource.Waiter) {
	n := l.nodes[w]
	if n == nil {
		return
	}
	delete(l.nodes, w)
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		l.first = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		l.last = n.prev
	}
}
