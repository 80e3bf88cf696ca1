package mux

import "sync/atomic"

// waiter is a goroutine that waits for something that arrives on a connection. While it waits
// it may have to read the connection for all.
type waiter struct {
	wake  chan struct{} // holds one
	ready atomic.Bool   // what it waits for is there

	in         bool // in a ring
	next, prev *waiter
}

func (w *waiter) init() { w.wake = make(chan struct{}, 1) }

// rouse wakes the goroutine, or has it not wait.
func (w *waiter) rouse() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// arrived reports that what w waits for is there.
func (w *waiter) arrived() {
	w.ready.Store(true)
	w.rouse()
}

// reset makes w wait for the next thing. Nothing refers to w meanwhile.
func (w *waiter) reset() {
	w.ready.Store(false)
	select {
	case <-w.wake:
	default:
	}
}

// ring holds the waiters of a connection, the newest first. Its user serializes the calls.
type ring struct{ newest *waiter }

func (r *ring) add(w *waiter) {
	w.in, w.prev, w.next = true, nil, r.newest
	if r.newest != nil {
		r.newest.prev = w
	}
	r.newest = w
}

func (r *ring) remove(w *waiter) {
	if !w.in {
		return
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		r.newest = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	w.in, w.next, w.prev = false, nil, nil
}
