package policy

import (
	"cmp"
	"container/heap"
	"math"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/respool/respool/resource"
)

// Priority is a [resource.Queue] that serves the highest [resource.Request.Priority]
// first, with aging: one level of priority is worth step of waiting. A caller is served
// before one a level above it that arrived more than step later, so low priorities wait
// longer but do not starve. Among equals, the higher priority is first, then the longer
// wait. With a step of [math.MaxInt64] the order is strict, and low priorities may
// starve.
//
// Every method takes O(log n) time for n waiters. A Queue serves one pool. Panics if
// step is not positive.
func Priority(step time.Duration) resource.Queue {
	var e argErrors
	e.require(step > 0, "the step must be positive, got %v", step)
	e.panicIfAny("Priority")
	q := newPriorityQueue(func(w *resource.Waiter) time.Duration { return virtualArrival(w, step) })
	return &q
}

// virtualArrival returns w.Since - priority*step: the time at which a caller with
// priority 0 would have had to arrive to be served in the position of w. It is clamped
// to the range of a Duration; clamped keys are ordered by priority.
func virtualArrival(w *resource.Waiter, step time.Duration) time.Duration {
	n, end := uint64(w.Request.Priority), time.Duration(math.MinInt64)
	if w.Request.Priority < 0 {
		n, end = -n, math.MaxInt64
	}
	hi, lo := bits.Mul64(n, uint64(step))
	if hi > 0 || lo > math.MaxInt64 {
		return end
	}
	offset := time.Duration(lo)
	switch {
	case w.Request.Priority >= 0 && w.Since >= math.MinInt64+offset:
		return w.Since - offset
	case w.Request.Priority < 0 && w.Since <= math.MaxInt64-offset:
		return w.Since + offset
	}
	return end
}

// EarliestDeadline is a [resource.Queue] that serves the caller with the earliest
// [resource.Waiter.Deadline] first: if all callers can be served in time, all are. The
// deadline is that of the caller's context or the end of [resource.Request.MaxWait],
// whichever is earlier. A caller with neither is served as if its deadline were
// defaultWait after it began to wait, so it waits longer than others but does not
// starve. Among equals, the higher [resource.Request.Priority] is first, then the
// longer wait.
//
// It does not help against overload: it then serves every caller just before its
// deadline, too late for many of them to finish their work. Refuse some at the
// Admission with [WithinDeadline], or use [CoDel].
//
// Every method takes O(log n) time for n waiters. A Queue serves one pool. Panics if
// defaultWait is not positive.
func EarliestDeadline(defaultWait time.Duration) resource.Queue {
	var e argErrors
	e.require(defaultWait > 0, "defaultWait must be positive, got %v", defaultWait)
	e.panicIfAny("EarliestDeadline")
	return &earliestDeadline{newPriorityQueue(func(w *resource.Waiter) time.Duration {
		switch {
		case w.Deadline != 0:
			return w.Deadline
		case w.Since > math.MaxInt64-defaultWait:
			return math.MaxInt64
		}
		return w.Since + defaultWait
	})}
}

type earliestDeadline struct{ priorityQueue }

// priorityQueue serves the waiter with the smallest key first. Keys are computed at
// Push and never change: waiting raises the urgency of all waiters alike, so the order
// of two waiters is constant and a heap suffices.
type priorityQueue struct {
	key    func(w *resource.Waiter) time.Duration
	heap   waiterHeap
	items  map[*resource.Waiter]*heapItem
	pushes uint64
	length atomic.Int64 // number of waiters, for State
}

func newPriorityQueue(key func(w *resource.Waiter) time.Duration) priorityQueue {
	return priorityQueue{key: key, items: make(map[*resource.Waiter]*heapItem)}
}

// heapItem is a waiter in the heap.
type heapItem struct {
	w     *resource.Waiter
	key   time.Duration
	seq   uint64 // ordinal of its Push
	index int    // in the heap
}

func (q *priorityQueue) Push(w *resource.Waiter, _ time.Duration) {
	if q.items[w] != nil {
		return
	}
	q.pushes++
	x := &heapItem{w: w, key: q.key(w), seq: q.pushes}
	q.items[w] = x
	heap.Push(&q.heap, x)
	q.length.Store(int64(len(q.heap)))
}

func (q *priorityQueue) Remove(w *resource.Waiter) {
	if x := q.items[w]; x != nil {
		heap.Remove(&q.heap, x.index)
		delete(q.items, w)
		q.length.Store(int64(len(q.heap)))
	}
}

func (q *priorityQueue) Pop(time.Duration) (*resource.Waiter, error) {
	if len(q.heap) == 0 {
		return nil, nil
	}
	x := heap.Pop(&q.heap).(*heapItem)
	delete(q.items, x.w)
	q.length.Store(int64(len(q.heap)))
	return x.w, nil
}

// waiterHeap implements heap.Interface.
type waiterHeap []*heapItem

func (h waiterHeap) Len() int { return len(h) }

func (h waiterHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	return cmp.Or(
		cmp.Compare(a.key, b.key),
		cmp.Compare(b.w.Request.Priority, a.w.Request.Priority),
		cmp.Compare(a.w.Since, b.w.Since),
		cmp.Compare(a.seq, b.seq),
	) < 0
}

func (h waiterHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *waiterHeap) Push(x any) {
	item := x.(*heapItem)
	item.index = len(*h)
	*h = append(*h, item)
}

func (h *waiterHeap) Pop() any {
	last := len(*h) - 1
	item := (*h)[last]
	(*h)[last] = nil // release the reference to the waiter
	*h = (*h)[:last]
	return item
}
