package resource

import "testing"

// TestWaitQueue_Late: a waiter whose deadline has passed is passed over for lateFor, and is served
// like the others if it still waits then.
func TestWaitQueue_Late(t *testing.T) {
	var q waitQueue[int]
	a, b := &waiter[int]{deadline: 5}, &waiter[int]{}
	q.insert(a)
	q.insert(b)
	if w, _ := q.first(everyone, 4); w != a {
		t.Error("a waiter is passed over before its deadline")
	}
	if w, _ := q.first(everyone, 5); w != b || q.late.n != 1 || q.active() != 1 {
		t.Errorf("%d waiters are late", q.late.n)
	}
	if at := q.revive(4 + lateFor); at != 5+lateFor || q.late.n != 1 {
		t.Errorf("%d waiters are late before lateFor has passed; to be looked at again at %v", q.late.n, at)
	}
	if w, _ := q.first(everyone, 4+lateFor); w != b {
		t.Error("a waiter that is late is served")
	}
	if at := q.revive(5 + lateFor); at != 0 || q.late.n != 0 {
		t.Errorf("%d waiters are late after lateFor; to be looked at again at %v", q.late.n, at)
	}
	if w, _ := q.first(everyone, 5+lateFor); w != a {
		t.Error("a waiter that still waits is passed over")
	}
}
