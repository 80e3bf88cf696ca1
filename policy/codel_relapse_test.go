package policy_test

import (
	"testing"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// An overload that has just ended begins again with the first wait of more than
// twice the target, but not one that ended an interval earlier.
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
		// Somebody always waits for 6 ms until an interval is over: overload.
		for at := time.Duration(0); at <= 212*ms; at += 6 * ms {
			push(at)
			if at >= 12*ms {
				q.Pop(at)
			}
		}
		drained := 216 * ms
		for w, _ := q.Pop(drained); w != nil; w, _ = q.Pop(drained) {
		}
		// At the end of the interval in which the queue was empty the overload ends.
		ended := drained + 100*ms
		if w := push(ended); !popped(q, ended, w) {
			t.Fatalf("%s: the only one who waits is not served", tt.name)
		}
		at := ended + tt.pause
		first, second := push(at), push(at+5*ms)
		if tt.pause > 100*ms { // a look, to end the interval
			w := push(at + ms)
			q.Remove(w)
			q.Remove(second)
			if !popped(q, at+ms, first) {
				t.Fatalf("%s: the one who waited longest is not served", tt.name)
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

// popped reports whether Pop serves w.
func popped(q resource.Queue, now time.Duration, w *resource.Waiter) bool {
	got, refuse := q.Pop(now)
	return got == w && refuse == nil
}
