package wsconn

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

// A context is past when it has ended, or its deadline has been reached.
func TestPast(t *testing.T) {
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	over, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Hour))
	defer cancel()
	later, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	for _, tc := range []struct {
		name string
		ctx  context.Context
		want bool
	}{
		{"none", nil, false}, {"without a deadline", context.Background(), false}, {"canceled", canceled, true},
		{"deadline reached", over, true}, {"deadline ahead", later, false},
	} {
		if past(tc.ctx) != tc.want {
			t.Errorf("%s: past: %v", tc.name, !tc.want)
		}
	}
}

// A notice is a temporary timeout, for TLS and whatever else lies between.
func TestNotice(t *testing.T) {
	var err net.Error
	if !errors.As(error(errNothing), &err) || !err.Timeout() || !isNotice(errNothing) || isNotice(context.Canceled) {
		t.Errorf("%v is no notice", errNothing)
	}
	if e, ok := err.(interface{ Temporary() bool }); !ok || !e.Temporary() {
		t.Errorf("%v is not temporary", err)
	}
}

// A connection can be read without blocking if it is a socket or has TryRead.
func TestCanPoll(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if NewRawConn(a, false, time.Hour).CanPoll() {
		t.Error("a pipe can be read without blocking")
	}
	if !NewRawConn(new(scripted), false, time.Hour).CanPoll() {
		t.Error("what has TryRead cannot be read without blocking")
	}
}

// A deferred write of which nothing is left ends at once, and the next one does not know its error.
func TestTryEndDefer(t *testing.T) {
	w := NewRawConn(new(scripted), false, time.Hour)
	for _, failed := range []error{errors.New("failed"), nil} {
		w.Defer()
		if err := w.backlog.err; err != nil {
			t.Errorf("a write begins with %v", err)
		}
		w.backlog.err = failed
		if ended, left, err := w.TryEndDefer(); !ended || left != 0 || err != failed {
			t.Errorf("ended %v, %d bytes are left, %v; want %v", ended, left, err, failed)
		}
	}
	w.Defer()
	w.backlog.on.Store(true) // as while a goroutine writes the rest
	if ended, _, _ := w.TryEndDefer(); ended || !w.backlog.defers {
		t.Error("a write has ended that goes on")
	}
}

// WaitQuiet holds no lock when the connection is quiet at once.
func TestWaitQuiet_AtOnce(t *testing.T) {
	w := NewRawConn(new(scripted), false, time.Hour)
	w.parked = true
	yes := func() bool { return true }
	if err := w.WaitQuiet(context.Background(), yes, yes, nil, time.Hour); err != nil {
		t.Error(err)
	}
	if !w.mu.TryLock() {
		t.Fatal("the lock is held")
	}
	w.mu.Unlock()
}

// A read that has finished is neither under way, nor inside gorilla, nor interrupted.
func TestFinishRead(t *testing.T) {
	w := NewRawConn(new(scripted), false, time.Hour)
	w.read.on, w.read.inside, w.read.interrupted = true, true, true
	w.FinishRead(true)
	if w.read.on || w.read.inside || w.read.interrupted {
		t.Errorf("under way %v, inside %v, interrupted %v", w.read.on, w.read.inside, w.read.interrupted)
	}
}

// hooking is a context that calls a function when another one is to be called at its end, and notes
// whether that was taken back.
type hooking struct {
	context.Context
	done  chan struct{}
	then  func()
	stops int
}

func (c *hooking) Done() <-chan struct{} { return c.done }

func (c *hooking) Value(any) any { return nil }

func (c *hooking) AfterFunc(func()) (stop func() bool) {
	c.then()
	return func() bool { c.stops++; return true }
}

// A context does not keep the hook of a read that has ended while it was set.
func TestHookContext_ReadHasEnded(t *testing.T) {
	for _, ends := range []bool{false, true} {
		w := NewRawConn(new(scripted), false, time.Hour)
		ctx := &hooking{Context: context.Background(), done: make(chan struct{})}
		ctx.then = func() {
			if ends {
				w.FinishRead(true)
			}
		}
		w.read.on, w.read.ctx = true, ctx
		w.HookContext(false)
		if ended := ctx.stops == 1; ended != ends {
			t.Errorf("ended %v: the hook was taken back %d times", ends, ctx.stops)
		}
		if !ends {
			if unhook := w.FinishRead(true); unhook == nil || !unhook() || ctx.stops != 1 {
				t.Errorf("the hook was taken back %d times at the end", ctx.stops)
			}
		}
	}
}
