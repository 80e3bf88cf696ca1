package policy_test

import (
	"errors"
	"math"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// queueTest calls a Queue as a pool does, at times set by the test.
type queueTest struct {
	t     *testing.T
	q     resource.Queue
	now   time.Duration
	names map[*resource.Waiter]string
}

func newQueueTest(t *testing.T, q resource.Queue) *queueTest {
	return &queueTest{t: t, q: q, names: map[*resource.Waiter]string{}}
}

// at sets the time in milliseconds.
func (q *queueTest) at(ms int) { q.now = time.Duration(ms) * time.Millisecond }

func (q *queueTest) push(name string) *resource.Waiter {
	w := &resource.Waiter{Since: q.now}
	q.names[w] = name
	q.q.Push(w, q.now)
	return w
}

func (q *queueTest) pop(refused bool, names ...string) {
	q.t.Helper()
	for _, want := range names {
		w, refuse := q.q.Pop(q.now)
		if got := q.names[w]; got != want || (refuse != nil) != refused || refused && !errors.Is(refuse, policy.ErrOverloaded) {
			q.t.Errorf("at %v: %q, refused with %v; want %q, refused %v", q.now, got, refuse, want, refused)
		}
	}
}

func (q *queueTest) wantServed(names ...string)  { q.t.Helper(); q.pop(false, names...) }
func (q *queueTest) wantRefused(names ...string) { q.t.Helper(); q.pop(true, names...) }

// The beginning and the end of an overload, sample by sample.
func TestCoDel_Order(t *testing.T) {
	q := newQueueTest(t, policy.CoDel(target, interval))
	q.at(1000)
	q.push("a")
	q.push("b")
	q.push("c")
	q.at(1050)
	q.wantServed("a") // the queue was empty before: an interval begins, with 50 ms
	q.at(1143)
	q.push("d")
	q.wantServed("b") // in order of arrival, although b waited long
	q.at(1150)
	q.push("e")
	gone := q.push("gone")
	q.push("f")
	q.wantRefused("c") // standing queue
	q.q.Remove(gone)
	q.wantServed("f") // d waited 7 ms: more than the target, less than the limit
	q.at(1154)
	q.push("g")
	q.wantRefused("d")
	q.wantServed("g") // e waited 4 ms: no standing queue
	q.at(1249)
	q.push("h")
	q.wantRefused("e") // the new state applies from the next interval on
	q.wantServed("h")
	q.at(1250)
	q.push("i")
	q.push("j")
	q.wantServed("i", "j")
	q.wantServed("")
}

// At three times the capacity the overload lasts: the newest waiter is served, and others
// are refused when they have waited too long.
func TestCoDel_Lasts(t *testing.T) {
	q := newQueueTest(t, policy.CoDel(target, interval))
	served, refused := 0, 0
	for ms := range 3000 {
		q.at(ms)
		newest := q.push("")
		for ms%3 == 0 {
			w, refuse := q.q.Pop(q.now)
			waited := q.now - w.Since
			if refuse == nil {
				if ms > 250 && w != newest {
					t.Fatalf("at %v: served a waiter of %v, not the newest", q.now, waited)
				}
				served++
				break
			}
			refused++
			// Waiters from before the overload have waited longer.
			if waited <= 2*target || ms > 250 && waited > 2*target+3*time.Millisecond {
				t.Fatalf("at %v: refused a waiter of %v", q.now, waited)
			}
		}
	}
	if served != 1000 || refused < 1980 {
		t.Errorf("%d served and %d refused, want 1000 and nearly 2000", served, refused)
	}
}

// The newest waiter is served however long it has waited: no returned resource stays idle
// because all waiters have waited too long.
func TestCoDel_ServesSomebody(t *testing.T) {
	q := newQueueTest(t, policy.CoDel(target, interval))
	for _, name := range []string{"a", "b", "c", "d"} {
		q.push(name)
	}
	q.at(100)
	q.wantServed("a") // an interval begins
	q.at(200)
	q.wantRefused("b", "c")
	q.wantServed("d")
}

// A queue that was empty for a moment is not standing, whether its last waiter was served or
// removed, and although every served and every current waiter has waited long.
func TestCoDel_Emptied(t *testing.T) {
	for _, c := range []struct {
		name  string
		empty func(q *queueTest, b *resource.Waiter)
		want  bool // whether the queue is standing
	}{
		{"served", func(q *queueTest, _ *resource.Waiter) { q.wantServed("b") }, false},
		{"left", func(q *queueTest, b *resource.Waiter) { q.q.Remove(b) }, false},
		{"neither", func(*queueTest, *resource.Waiter) {}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := newQueueTest(t, policy.CoDel(target, interval))
			q.at(950)
			q.push("a")
			b := q.push("b")
			q.at(1000)
			q.wantServed("a")
			c.empty(q, b)
			q.at(1001)
			q.push("c")
			q.push("d")
			q.at(1100)
			if c.want {
				q.wantRefused("b", "c")
				q.wantServed("d")
			} else {
				q.wantServed("c", "d")
			}
		})
	}
}

// An overload that ended long ago does not cause refusals in a later burst.
func TestCoDel_LongAfter(t *testing.T) {
	q := newQueueTest(t, policy.CoDel(5*time.Millisecond, 100*time.Millisecond))
	q.at(0)
	q.push("a")
	q.push("b")
	q.at(100)
	q.push("c")
	q.wantServed("a")
	q.at(200)
	q.push("d")
	q.wantRefused("b", "c")
	q.wantServed("d") // overloaded until the queue is empty

	q.at(3_600_000)
	for _, name := range []string{"e", "f", "g"} {
		q.push(name)
	}
	for i, name := range []string{"e", "f", "g"} {
		q.at(3_600_000 + 20*(i+1))
		q.wantServed(name)
	}
}

// The largest durations mean never.
func TestCoDel_Extremes(t *testing.T) {
	q := newQueueTest(t, policy.CoDel(math.MaxInt64-1, math.MaxInt64))
	q.push("a")
	q.push("b")
	q.now = math.MaxInt64 - 1
	q.wantServed("a")
	q.now++
	q.wantServed("b", "")
}

func TestQueues_Misuse(t *testing.T) {
	for _, c := range []struct {
		name string
		f    func()
		says []string
	}{
		{"CoDel", func() { policy.CoDel(0, -1) }, []string{"policy: CoDel: ", "target must be positive, got 0s", "interval must be larger than the target 0s, got -1ns"}},
		{"CoDel short interval", func() { policy.CoDel(5, 5) }, []string{"the interval must be larger than the target 5ns, got 5ns"}},
		{"Priority", func() { policy.Priority(0) }, []string{"policy: Priority: ", "step must be positive, got 0s"}},
	} {
		t.Run(c.name, func(t *testing.T) { wantPanicSaying(t, c.f, c.says...) })
	}
}

// A Queue keeps no reference to removed and popped waiters.
func TestQueues_KeepNobody(t *testing.T) {
	for name, q := range map[string]resource.Queue{
		"Priority": policy.Priority(time.Second), "CoDel": policy.CoDel(target, interval),
	} {
		t.Run(name, func(t *testing.T) {
			var ps []weak.Pointer[resource.Waiter]
			func() {
				var ws []*resource.Waiter
				for n := range 100 {
					w := &resource.Waiter{Since: time.Duration(n * n % 100), Request: resource.Request{Priority: n % 7}}
					ws, ps = append(ws, w), append(ps, weak.Make(w))
					q.Push(w, 100)
					q.Push(w, 100) // pushed twice by mistake
				}
				for _, w := range ws[:50] {
					q.Remove(w)
					q.Remove(w)
				}
				popped := 0
				for w, _ := q.Pop(200); w != nil; w, _ = q.Pop(200) {
					popped++
				}
				if popped != 50 {
					t.Errorf("%d popped of 50", popped)
				}
				q.Remove(&resource.Waiter{})
			}()
			runtime.GC()
			for n, p := range ps {
				if p.Value() != nil {
					t.Fatalf("waiter %d is kept", n)
				}
			}
			runtime.KeepAlive(q)
		})
	}
}

// An overload that has just ended is resumed by the first wait of more than twice the
// target, but not one that ended an interval earlier.
func TestCoDel_Relapse(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name  string
		pause time.Duration // from the end of the overload to the long wait
		again bool
	}{
		{"in the next interval", 20 * ms, true},
		{"later", 120 * ms, false},
	} {
		q := policy.CoDel(5*ms, 100*ms)
		push := func(at time.Duration) *resource.Waiter {
			w := &resource.Waiter{Since: at}
			q.Push(w, at)
			return w
		}
		// A standing queue with waits of 6 ms for an interval: overload.
		for at := time.Duration(0); at <= 212*ms; at += 6 * ms {
			push(at)
			if at >= 12*ms {
				q.Pop(at)
			}
		}
		drained := 216 * ms
		for w, _ := q.Pop(drained); w != nil; w, _ = q.Pop(drained) {
		}
		// The overload ends after an interval in which the queue was empty.
		ended := drained + 100*ms
		if w := push(ended); !popped(q, ended, w) {
			t.Fatalf("%s: the only waiter is not served", tt.name)
		}
		at := ended + tt.pause
		first, second := push(at), push(at+5*ms)
		if tt.pause > 100*ms { // a sample, to end the interval
			w := push(at + ms)
			q.Remove(w)
			q.Remove(second)
			if !popped(q, at+ms, first) {
				t.Fatalf("%s: the oldest waiter is not served", tt.name)
			}
			first, second = push(at+ms), push(at+5*ms)
		}
		w, refuse := q.Pop(at + 13*ms)
		if tt.again && (w != first || refuse == nil) {
			t.Errorf("%s: after a wait of 13ms Pop = %p, %v; want the first, refused", tt.name, w, refuse)
		}
		if !tt.again && (w != first || refuse != nil) {
			t.Errorf("%s: after a wait of 12ms Pop = %p, %v; want the first, served", tt.name, w, refuse)
		}
		if w := push(at + 13*ms); tt.again && !popped(q, at+13*ms, w) {
			t.Errorf("%s: then the newest is not served", tt.name)
		}
		q.Remove(second)
	}
}

// A waiter that is pushed again, since a policy ended the resource that it was given, has the
// place of its time: behind those that came before it or at the same time, and before the others.
func TestCoDel_PushedAgain(t *testing.T) {
	const ms = time.Millisecond
	for n := 1; n <= 6; n++ {
		for i := range n {
			for _, same := range []int{-1, 0, 1} { // none came at the same time; the next one; the one before
				q := policy.CoDel(time.Second, time.Minute)
				var ws []*resource.Waiter
				for k := range n {
					w := &resource.Waiter{Since: time.Duration(k) * ms}
					if k > 0 && (same == 0 && k == i+1 || same == 1 && k == i) {
						w.Since = ws[k-1].Since
					}
					ws = append(ws, w)
					q.Push(w, w.Since)
				}
				again := ws[i]
				q.Remove(again)
				q.Push(again, 10*ms)
				q.Push(again, 10*ms) // is one waiter
				if same == 0 && i+1 < n {
					ws[i], ws[i+1] = ws[i+1], again
				}
				for k, want := range ws {
					if got, refuse := q.Pop(20 * ms); got != want || refuse != nil {
						t.Fatalf("%d waiters, number %d pushed again, same time %d: Pop number %d is not in order of time, or %v", n, i, same, k, refuse)
					}
				}
				if w, _ := q.Pop(20 * ms); w != nil {
					t.Errorf("%d waiters, number %d pushed again: one more", n, i)
				}
			}
		}
	}
}

// The newest waiter is the newest by time too: during an overload one that is pushed again does
// not become it.
func TestCoDel_PushedAgainInOverload(t *testing.T) {
	const ms = time.Millisecond
	q := policy.CoDel(5*ms, 100*ms)
	var ws []*resource.Waiter
	for at := 200 * ms; len(ws) < 6; at += ms {
		w := &resource.Waiter{Since: at}
		ws = append(ws, w)
		q.Push(w, at)
	}
	for _, w := range ws[:2] { // with these long waits the next interval is an overload
		if !popped(q, w.Since+110*ms, w) {
			t.Fatal("not served in order before the overload")
		}
	}
	late := []*resource.Waiter{{Since: 420 * ms}, {Since: 421 * ms}, {Since: 422 * ms}, {Since: 423 * ms}}
	for _, w := range late {
		q.Push(w, w.Since)
	}
	for _, want := range ws[2:] {
		if got, refuse := q.Pop(424 * ms); got != want || refuse == nil {
			t.Fatalf("a waiter from before the overload: %v", refuse)
		}
	}
	for _, k := range []int{0, 1, 2} {
		q.Remove(late[k])
		q.Push(late[k], 424*ms)
	}
	for k := range late {
		if !popped(q, 424*ms, late[len(late)-1-k]) {
			t.Errorf("the waiter served as number %d is not the newest", k)
		}
	}
}

// popped reports whether Pop serves w.
func popped(q resource.Queue, now time.Duration, w *resource.Waiter) bool {
	got, refuse := q.Pop(now)
	return got == w && refuse == nil
}
