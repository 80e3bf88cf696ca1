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

// Priority is a [resource.Queue] that serves the most urgent caller first, by
// [resource.Request.Priority]. One level is worth step of waiting: a caller
// overtakes those one level above it who came more than step later, so that the
// less urgent wait longer, but not for ever. Among equals, the more urgent is
// first, then who waited longer. With a step of [math.MaxInt64] the order is
// strict, and the less urgent may starve.
//
// Every method takes time in proportion to the logarithm of how many wait. A
// Queue serves one pool. Panics if step is not positive.
func Priority(step time.Duration) resource.Queue {
	var m misuse
	m.unless(step > 0, "the step is %v, not more than 0", step)
	m.report("Priority")
	p := newPriority(priorityKey(step))
	return &p
}

// priority is a heap. What waiting adds to a caller's claim it adds to all
// alike, so the order of two callers never changes and the key of each is
// constant.
type priority struct {
	key   func(w *resource.Waiter) time.Duration // the least is served next
	heap  places
	where map[*resource.Waiter]*place
	turns uint64
	shown atomic.Int64 // how many wait, for State
}

func newPriority(key func(w *resource.Waiter) time.Duration) priority {
	return priority{key: key, where: make(map[*resource.Waiter]*place)}
}

// place is a waiter's, in the heap.
type place struct {
	w     *resource.Waiter
	key   time.Duration
	turn  uint64 // in which it was pushed
	index int
}

func (p *priority) Push(w *resource.Waiter, _ time.Duration) {
	if p.where[w] != nil {
		return
	}
	p.turns++
	x := &place{w: w, key: p.key(w), turn: p.turns}
	p.where[w] = x
	heap.Push(&p.heap, x)
	p.shown.Store(int64(len(p.heap)))
}

func (p *priority) Remove(w *resource.Waiter) {
	if x := p.where[w]; x != nil {
		heap.Remove(&p.heap, x.index)
		delete(p.where, w)
		p.shown.Store(int64(len(p.heap)))
	}
}

func (p *priority) Pop(time.Duration) (*resource.Waiter, error) {
	if len(p.heap) == 0 {
		return nil, nil
	}
	x := heap.Pop(&p.heap).(*place)
	delete(p.where, x.w)
	p.shown.Store(int64(len(p.heap)))
	return x.w, nil
}

// priorityKey is the time at which a caller of priority 0 would have had to come to
// be served in the turn of w: w.Since - priority*step, or the end of the range that
// this is beyond. There the order is that of the priorities.
func priorityKey(step time.Duration) func(w *resource.Waiter) time.Duration {
	return func(w *resource.Waiter) time.Duration { return cameAt(w, step) }
}

func cameAt(w *resource.Waiter, step time.Duration) time.Duration {
	n, end := uint64(w.Request.Priority), time.Duration(math.MinInt64)
	if w.Request.Priority < 0 {
		n, end = -n, math.MaxInt64
	}
	hi, lo := bits.Mul64(n, uint64(step))
	if hi > 0 || lo > math.MaxInt64 {
		return end
	}
	worth := time.Duration(lo)
	switch {
	case w.Request.Priority >= 0 && w.Since >= math.MinInt64+worth:
		return w.Since - worth
	case w.Request.Priority < 0 && w.Since <= math.MaxInt64-worth:
		return w.Since + worth
	}
	return end
}

// places is what package heap works on. The first is served next.
type places []*place

func (ps places) Len() int { return len(ps) }

func (ps places) Less(i, j int) bool {
	a, b := ps[i], ps[j]
	return cmp.Or(
		cmp.Compare(a.key, b.key),
		cmp.Compare(b.w.Request.Priority, a.w.Request.Priority),
		cmp.Compare(a.w.Since, b.w.Since),
		cmp.Compare(a.turn, b.turn),
	) < 0
}

func (ps places) Swap(i, j int) {
	ps[i], ps[j] = ps[j], ps[i]
	ps[i].index, ps[j].index = i, j
}

func (ps *places) Push(x any) {
	p := x.(*place)
	p.index = len(*ps)
	*ps = append(*ps, p)
}

func (ps *places) Pop() any {
	last := len(*ps) - 1
	p := (*ps)[last]
	(*ps)[last] = nil // or the array would keep the waiter
	*ps = (*ps)[:last]
	return p
}
