//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package wsconn

import (
	"context"
	"io"
	"testing"
)

// ending is a context that calls onHook when a function is to wait for its end.
type ending struct {
	context.Context
	done   chan struct{}
	err    error
	onHook func(f func())
	hooks  int
}

func (c *ending) Done() <-chan struct{} { return c.done }

func (c *ending) Err() error { return c.err }

func (c *ending) AfterFunc(f func()) (stop func() bool) {
	c.hooks++
	c.onHook(f)
	return func() bool { return true }
}

// A wait hooks the context of its read once, when it has found nothing, and what arrives while it does is
// not missed. A read that finds something does not hook it. A context that ends meanwhile, or has ended,
// ends the wait, and harms no later one.
func TestAwaitOutside_Hooks(t *testing.T) {
	a := newAsker(t, false)
	const frame = "\x81\x01x"
	await := func(onHook func(c *ending, f func())) (on bool, hooks int) {
		c := &ending{Context: context.Background(), done: make(chan struct{})}
		c.onHook = func(f func()) { onHook(c, f) }
		a.Raw.BeginRead(c, true)
		on = a.AwaitOutside()
		a.Raw.EndRead(on)
		return on, c.hooks
	}
	send := func(*ending, func()) { io.WriteString(a.peer, frame) }
	end := func(c *ending, f func()) {
		c.err = context.Canceled
		close(c.done)
		go f() // as context.AfterFunc requires
	}
	take := func() {
		t.Helper()
		if _, _, ok := a.TakeMessage(10, nil); !ok || !a.Drained() {
			t.Error("the message is lost")
		}
	}
	for range 3 {
		a.send(t, frame)
		if on, hooks := await(send); !on || hooks != 0 {
			t.Errorf("with a message there: on %v, %d hooks", on, hooks)
		}
		take()
		if on, hooks := await(send); !on || hooks != 1 {
			t.Errorf("with a message that arrives: on %v, %d hooks", on, hooks)
		}
		take()
		if on, hooks := await(end); on || hooks != 1 {
			t.Errorf("with a context that ends: on %v, %d hooks", on, hooks)
		}
		if on, _ := await(func(c *ending, f func()) { a.Raw.contextEnded(); send(c, f) }); !on {
			t.Error("the context of an earlier read ends this one")
		}
		take()
	}
}
