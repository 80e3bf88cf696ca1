package policytest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// Queue checks a [resource.Queue]. new makes the one to check, a new one at
// each call, and empty.
//
//   - Over random histories of Push, Remove and Pop no waiter is lost, none is
//     given out twice, and none that left or never came. While some wait Pop
//     gives out one, served or refused, and when nobody waits nil. A history
//     that goes wrong is printed.
//   - Remove of a waiter that it does not hold changes nothing: a pool whose
//     Push panicked says goodbye to that waiter all the same.
//   - It refuses with an error that has a text and no negative RetryAfter, and
//     never refuses nobody.
//   - No method blocks or panics, whatever priorities, costs, classes, times and
//     deadlines the waiters have.
//   - In a pool every caller who waits is served or refused in time.
//   - It leaves no goroutine behind.
//
// The order in which it serves is its own affair.
func Queue(t testing.TB, new func() resource.Queue) {
	t.Helper()
	fresh := func(k *kit) resource.Queue {
		q := new()
		if q == nil {
			k.fatalf("new returned nil")
		}
		k.closes(q)
		return q
	}
	run(t, "Queue",
		check{"over histories", func(k *kit) { overHistories(k, fresh) }},
		check{"in a pool", func(k *kit) {
			inPool(k, resource.Config[int]{Make: makes(false), Queue: fresh(k)}, visit{requests: waits, patient: true})
		}},
	)
}

// waits are what the callers of a pool with a Queue ask for.
var waits = []resource.Request{
	{}, {Priority: 1}, {Priority: -1}, {Priority: 5, Class: "a"}, {Cost: 3, Class: "b"}, {MinRemaining: moment},
}

// histories is how many random histories there are. They grow longer, so that
// the first that goes wrong is short.
const histories = 400

func overHistories(k *kit, fresh func(k *kit) resource.Queue) {
	for n := range histories {
		h := &history{kit: k, q: fresh(k), in: make(map[*resource.Waiter]int), r: k.source(n)}
		h.extreme = n%4 == 3
		for range 1 + n/4 {
			h.step()
		}
		h.drain()
	}
}

// history is one history of a Queue: what it was told, what it should hold.
type history struct {
	*kit
	q       resource.Queue
	r       *rand.Rand
	extreme bool // numbers at their edges
	now     time.Duration
	pushed  int
	in      map[*resource.Waiter]int // those that wait, by number from 1
	order   []*resource.Waiter       // the same, oldest push first
	gone    []*resource.Waiter       // those that left or were given out
	told    []string
}

func (h *history) step() {
	h.now += time.Duration(h.r.Int64N(int64(20 * moment)))
	if h.r.IntN(16) == 0 {
		h.now += time.Duration(h.r.Int64N(int64(time.Hour)))
	}
	switch n := h.r.IntN(16); {
	case n < 7:
		h.push()
	case n < 10:
		h.leave()
	case n < 11:
		h.leaveAgain()
	default:
		h.pop()
	}
}

// drain takes out who is left.
func (h *history) drain() {
	for len(h.order) > 0 {
		h.now += time.Duration(h.r.Int64N(int64(moment)))
		h.pop()
	}
	h.pop()
}

// call makes one call and notes it.
func (h *history) call(what string, f func()) {
	h.told = append(h.told, what)
	if !h.within(prompt, "the last call of this history", f) {
		h.wrong("that was the last call of a history")
	}
}

// wrong ends the check with the history and what is wrong with it.
func (h *history) wrong(format string, args ...any) {
	h.Helper()
	h.fatalf("%s\nThe history, %d calls on a new Queue:\n\t%s",
		fmt.Sprintf(format, args...), len(h.told), strings.Join(h.told, "\n\t"))
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
	h.in[w] = h.pushed
	h.order = append(h.order, w)
	h.call(fmt.Sprintf("Push(#%d %+v since %v, deadline %v, now %v)", h.pushed, w.Request, w.Since, w.Deadline, h.now),
		func() { h.q.Push(w, h.now) })
}

// leave has one of those that wait leave.
func (h *history) leave() {
	if len(h.order) == 0 {
		return
	}
	w := h.order[h.r.IntN(len(h.order))]
	n := h.in[w]
	h.forget(w)
	h.call(fmt.Sprintf("Remove(#%d)", n), func() { h.q.Remove(w) })
}

// leaveAgain removes one that the Queue does not hold.
func (h *history) leaveAgain() {
	w, what := &resource.Waiter{Since: h.now}, "one that was never pushed"
	if n := len(h.gone); n > 0 && h.r.IntN(2) == 0 {
		w, what = h.gone[h.r.IntN(n)], "one that left or was popped before"
	}
	h.call("Remove("+what+")", func() { h.q.Remove(w) })
}

// forget notes that w does not wait any more.
func (h *history) forget(w *resource.Waiter) {
	delete(h.in, w)
	for i, x := range h.order {
		if x == w {
			h.order = append(h.order[:i:i], h.order[i+1:]...)
		}
	}
	h.gone = append(h.gone, w)
}

func (h *history) pop() {
	var w *resource.Waiter
	var refuse error
	h.call(fmt.Sprintf("Pop(now %v)", h.now), func() { w, refuse = h.q.Pop(h.now) })
	last := len(h.told) - 1
	n := h.in[w]
	h.told[last] += fmt.Sprintf(" = #%d, %v", n, refuse)
	if refuse != nil {
		h.wantGoodError("Pop", refuse)
		h.stopIfBad()
	}
	switch {
	case w == nil && refuse != nil:
		h.wrong("Pop refused nobody with %q: an error goes with the waiter that it refuses", refuse)
	case w == nil && len(h.order) > 0:
		h.wrong("Pop returned nil while %d wait: it must give out one of them, or refuse one", len(h.order))
	case w == nil:
		return
	case n == 0 && h.was(w):
		h.wrong("Pop returned a waiter that had left or been popped before: it must forget those")
	case n == 0:
		h.wrong("Pop returned a waiter that was never pushed: it must give out those it was given, not copies")
	}
	h.forget(w)
}

func (h *history) was(w *resource.Waiter) bool {
	for _, x := range h.gone {
		if x == w {
			return true
		}
	}
	return false
}
