package sched

import (
	"runtime"
	"unsafe"
)

// A channel stays what it is. The rewritten code calls Await before an operation on one, which
// returns when that would not block, and then does it: no other goroutine runs in between. A send
// on a channel without a buffer would need two goroutines at once; it panics.

// channel is what the scheduler keeps of a channel.
type channel struct {
	obj    Obj
	closed bool
}

// Case is an operation on a channel.
type Case struct {
	c     *channel    // nil: the channel is nil, or there is no execution
	ready func() bool // it would not block
}

// channel returns what is kept of a channel, given its address.
func (e *exec) channel(p unsafe.Pointer) *channel {
	c := e.channels[p]
	if c == nil {
		c = new(channel)
		e.channels[p] = c
	}
	return c
}

// R is a receive from c.
func R[T any](c <-chan T) Case {
	if current == nil || c == nil {
		return Case{}
	}
	return Case{current.channel(*(*unsafe.Pointer)(unsafe.Pointer(&c))), func() bool { return len(c) > 0 || closed(c) }}
}

// S is a send on c.
func S[T any](c chan<- T) Case {
	if current == nil || c == nil {
		return Case{}
	}
	x := current.channel(*(*unsafe.Pointer)(unsafe.Pointer(&c)))
	if cap(c) == 0 && !x.closed && !current.killing {
		panic("explore: a send on a channel without a buffer is not supported")
	}
	return Case{x, func() bool { return x.closed || len(c) < cap(c) }}
}

// closed reports whether c, which is empty, is closed.
func closed[T any](c <-chan T) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Await returns when x would not block.
func Await(x Case, k Kind) {
	if e := live(); e != nil {
		if x.c == nil { // a nil channel blocks for ever
			WaitFor(&e.clock, k, func() bool { return false })
		}
		WaitFor(&x.c.obj, k, x.ready)
		Write(&x.c.obj)
		return
	}
	if current == nil {
		return // outside of an execution the operation itself blocks
	}
	current.unwind()
	if x.c == nil || !x.ready() {
		runtime.Goexit()
	}
}

// Recv is <-c.
func Recv[T any](c <-chan T) T {
	Await(R(c), Receive)
	return <-c
}

// Recv2 is v, ok := <-c.
func Recv2[T any](c <-chan T) (T, bool) {
	Await(R(c), Receive)
	v, ok := <-c
	return v, ok
}

// AwaitSend returns when a send on c would not block.
func AwaitSend[T any](c chan<- T) { Await(S(c), Send) }

// CloseChan closes c.
func CloseChan[T any](c chan<- T) {
	if current != nil {
		x := current.channel(*(*unsafe.Pointer)(unsafe.Pointer(&c)))
		Before(&x.obj, Close)
		if current.killing && x.closed {
			return
		}
		x.closed = true
		Write(&x.obj)
	}
	close(c)
}

// Choose returns the index of a case of a select statement that would not block; -1: none, and the
// statement has a default. If several would not block, each is explored.
func Choose(hasDefault bool, cases ...Case) int {
	e := live()
	if e == nil {
		if current == nil {
			panic("explore: a select outside of an execution")
		}
		current.unwind()
		for i, x := range cases {
			if x.c != nil && x.ready() {
				return i
			}
		}
		if hasDefault {
			return -1
		}
		runtime.Goexit()
	}
	any := func() bool {
		for _, x := range cases {
			if x.c != nil && x.ready() {
				return true
			}
		}
		return false
	}
	o := &e.clock
	for _, x := range cases {
		if x.c != nil {
			o = &x.c.obj
			break
		}
	}
	if hasDefault {
		Before(o, Select)
	} else {
		WaitFor(o, Select, any)
	}
	ready, chosen := 0, -1
	for i, x := range cases {
		if x.c != nil && x.ready() {
			if ready++; chosen < 0 {
				chosen = i
			}
		}
	}
	if ready > 1 && e.exploring {
		c := e.select_(ready)
		for i, x := range cases {
			if x.c != nil && x.ready() {
				if c--; c < 0 {
					chosen = i
					break
				}
			}
		}
	}
	// Which case is chosen depends on all.
	for i, x := range cases {
		if x.c != nil {
			touch(&x.c.obj, i == chosen)
		}
	}
	return chosen
}

// select_ chooses one of n ready cases.
func (e *exec) select_(n int) int {
	if e.search.script != nil {
		return e.search.cases[e.steps]
	}
	e.choosing = true
	c := e.choose(n, e.cur)
	e.choosing = false
	e.switches = append(e.switches, Switch{e.steps, -1 - c})
	return c
}

// CloseInStep closes c as part of the step that runs.
func CloseInStep(c chan struct{}) {
	if e := current; e != nil {
		x := e.channel(*(*unsafe.Pointer)(unsafe.Pointer(&c)))
		x.closed = true
		Write(&x.obj)
	}
	close(c)
}

// Offer sends v, if c has room, as part of the step that runs.
func Offer[T any](c chan T, v T) {
	if e := current; e != nil {
		Write(&e.channel(*(*unsafe.Pointer)(unsafe.Pointer(&c))).obj)
	}
	select {
	case c <- v:
	default:
	}
}

// Raw returns the object of a variable that is not a type of this program, given its address.
func Raw(p unsafe.Pointer) *Obj {
	e := current
	if e == nil {
		return new(Obj)
	}
	o := e.raw[p]
	if o == nil {
		o = new(Obj)
		e.raw[p] = o
	}
	return o
}
