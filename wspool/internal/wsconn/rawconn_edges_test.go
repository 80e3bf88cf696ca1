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
