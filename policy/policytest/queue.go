package policytest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// Queue tests a [resource.Queue]. new returns the one to test, empty, a new one for each
// call.
//
//   - Over random histories of Push, Remove and Pop no waiter is lost, returned twice,
//     returned after it was removed, or returned without having been pushed. While there
//     are waiters Pop returns one, served or refused; otherwise nil. The history of a
//     violation is printed.
//   - Remove of a waiter that it does not hold has no effect: a pool calls Remove even for
//     a waiter whose Push panicked.
//   - Its refusals have a text and no negative RetryAfter, and come with a waiter.
//   - No method blocks or panics, whatever priorities, costs, classes, times and deadlines
//     the waiters have.
//   - In a pool every waiting caller is served or refused in time.
//   - It leaves no goroutine behind.
//
// The order of service is not tested.
func Queue(t testing.TB, new func() resource.Queue) {
	t.Helper()
	newQueue := func(k *kit) resource.Queue {
		q := new()
		if q == nil {
			k.fatalf("new returned nil")
		}
		k.closeAtEnd(q)
		return q
	}
	run(t, "Queue",
		subtest{"histories", func(k *kit) { runHistories(k, newQueue) }},
		subtest{"in a pool", func(k *kit) {
			usePool(k, resource.Config[int]{Make: numbers(false), Queue: newQueue(k)}, workload{requests: queueRequests, patient: true})
		}},
	)
}

// queueRequests are the requests of the callers of a pool with a Queue.
var queueRequests = []resource.Request{
	{}, {Priority: 1}, {Priority: -1}, {Priority: 5, Class: "a"}, {Cost: 3, Class: "b"}, {MinRemaining: tick},
}

// histories is the number of random histories. Their lengths increase, so that the
// first violation is found in a short one.
const histories = 400

func runHistories(k *kit, newQueue func(k *kit) resource.Queue) {
	for n := range histories {
		h := &history{kit: k, q: newQueue(k), numbers: make(map[*resource.Waiter]int), r: k.source(n)}
		h.extreme = n%4 == 3
		for range 1 + n/4 {
			h.step()
		}
		h.drain()
	}
}

// history is a sequence of calls on one Queue, with the waiters that it should hold.
type history struct {
	*kit
	q       resource.Queue
	r       *rand.Rand
	extreme bool // use extreme values
	now     time.Duration
	pushed  int
	numbers map[*resource.Waiter]int // of the waiters in the queue, in order of Push from 1
	waiting []*resource.Waiter       // the waiters in the queue, in order of Push
	gone    []*resource.Waiter       // removed or popped
	calls   []string
}

func (h *history) step() {
	h.now += time.Duration(h.r.Int64N(int64(20 * tick)))
	if h.r.IntN(16) == 0 {
		h.now += time.Duration(h.r.Int64N(int64(time.Hour)))
	}
	switch n := h.r.IntN(16); {
	case n < 7:
		h.push()
	case n < 10:
		h.remove()
	case n < 11:
		h.removeUnknown()
	default:
		h.pop()
	}
}

// drain pops the remaining waiters.
func (h *history) drain() {
	for len(h.waiting) > 0 {
		h.now += time.Duration(h.r.Int64N(int64(tick)))
		h.pop()
	}
	h.pop()
}

// call makes one call and records it.
func (h *history) call(what string, f func()) {
	h.calls = append(h.calls, what)
	if !h.within(promptly, "the last call of this history", f) {
		h.failWithHistory("that was the last call of a history")
	}
}

// failWithHistory ends the subtest with a message and the history.
func (h *history) failWithHistory(format string, args ...any) {
	h.Helper()
	h.fatalf("%s\nThe history, %d calls on a new Queue:\n\t%s",
		fmt.Sprintf(format, args...), len(h.calls), strings.Join(h.calls, "\n\t"))
}

func (h *history) push() {
	w := &resource.Waiter{Since: time.Duration(h.r.Float64() * float64(h.now))}
	if h.r.IntN(2) == 0 {
		w.Since = h.now
	}
	w.Request = resource.Request{
		Priority: h.r.IntN(7) - 3,
		Cost:     h.r.IntN(4),
		Class:    []string{"", "a", "b"}[h.r.IntN(3)],
		NoWait:   false,
	}
	if h.r.IntN(2) == 0 {
		w.Deadline = h.now + time.Duration(h.r.Int64N(int64(time.Second)))
	}
	if h.extreme {
		w.Deadline = []time.Duration{1, math.MaxInt64, w.Deadline}[h.r.IntN(3)]
		w.Request.Priority = []int{math.MinInt, -1, 0, 1, math.MaxInt}[h.r.IntN(5)]
		w.Request.Cost = []int{math.MinInt, 0, math.MaxInt}[h.r.IntN(3)]
		w.Request.MinRemaining = []time.Duration{math.MinInt64, 0, math.MaxInt64}[h.r.IntN(3)]
		w.Since = []time.Duration{0, h.now}[h.r.IntN(2)]
	}
	h.pushed++
	h.numbers[w] = h.pushed
	h.waiting = append(h.waiting, w)
	h.call(fmt.Sprintf("Push(#%d %+v since %v, deadline %v, now %v)", h.pushed, w.Request, w.Since, w.Deadline, h.now),
		func() { h.q.Push(w, h.now) })
}

// remove removes a random waiter.
func (h *history) remove() {
	if len(h.waiting) == 0 {
		return
	}
	w := h.waiting[h.r.IntN(len(h.waiting))]
	n := h.numbers[w]
	h.forget(w)
	h.call(fmt.Sprintf("Remove(#%d)", n), func() { h.q.Remove(w) })
}

// removeUnknown removes a waiter that is not in the queue.
func (h *history) removeUnknown() {
	w, what := &resource.Waiter{Since: h.now}, "a waiter that was never pushed"
	if n := len(h.gone); n > 0 && h.r.IntN(2) == 0 {
		w, what = h.gone[h.r.IntN(n)], "a waiter that was removed or popped before"
	}
	h.call("Remove("+what+")", func() { h.q.Remove(w) })
}

// forget records that w is no longer in the queue.
func (h *history) forget(w *resource.Waiter) {
	delete(h.numbers, w)
	for i, x := range h.waiting {
		if x == w {
			h.waiting = append(h.waiting[:i:i], h.waiting[i+1:]...)
		}
	}
	h.gone = append(h.gone, w)
}

func (h *history) pop() {
	var w *resource.Waiter
	var refuse error
	h.call(fmt.Sprintf("Pop(now %v)", h.now), func() { w, refuse = h.q.Pop(h.now) })
	last := len(h.calls) - 1
	n := h.numbers[w]
	h.calls[last] += fmt.Sprintf(" = #%d, %v", n, refuse)
	if refuse != nil {
		h.wantGoodError("Pop", refuse)
		h.stopIfBad()
	}
	switch {
	case w == nil && refuse != nil:
		h.failWithHistory("Pop returned the error %q without a waiter: an error refuses the waiter that it comes with", refuse)
	case w == nil && len(h.waiting) > 0:
		h.failWithHistory("Pop returned nil while there are %d waiters: it must serve or refuse one of them", len(h.waiting))
	case w == nil:
		return
	case n == 0 && slices.Contains(h.gone, w):
		h.failWithHistory("Pop returned a waiter that had been removed or popped before")
	case n == 0:
		h.failWithHistory("Pop returned a waiter that was never pushed: it must return the waiters that were pushed, not copies")
	}
	h.forget(w)
}
