package main

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/respool/respool/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const want = `a request: HTTP/2.0 hello; connections made so far: 1
the next one: HTTP/2.0 hello; connections made so far: 1
40 requests at once: 40 answered; connections made so far: 4
100 requests: 100 answered; connections made so far: 4
a caller gives up: true
the next request: HTTP/2.0 hello; connections made so far: 4
the server lets its clients go: 80 of 80 requests answered; connections were replaced: true
after all connections were cut: HTTP/2.0 hello, <nil>; another connection: true
closed: every connection that was made has ended: true
`

// An argument is an error that names it.
func TestProgram_Arguments(t *testing.T) {
	var out, errs bytes.Buffer
	if status := program([]string{"-serve", "x"}, &out, &errs); status != 2 || out.Len() > 0 || errs.String() != "http2: takes no arguments, got [\"-serve\" \"x\"]\n" {
		t.Errorf("status %d, %q and %q", status, &out, &errs)
	}
}

// The program shows what becomes of connections.
func TestRun(t *testing.T) {
	var got bytes.Buffer
	if err := run(t.Context(), &got); err != nil {
		t.Fatalf("%v\n%s", err, got.String())
	}
	if got.String() != want {
		t.Errorf("the program said\n%s\nwant\n%s", got.String(), want)
	}
}

// A recalled connection takes no more requests, finishes those that it has, and is replaced.
func TestRecall(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := startServer()
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	pool, err := resource.New(config(s.addr, s.client, most))
	if err != nil {
		t.Fatal(err)
	}
	g := newGroup(pool, streams, most)
	first := make(chan error, 1)
	go func() {
		_, err := get(ctx, g, "/meet/2")
		first <- err
	}()
	for { // until that request is at the server
		s.mu.Lock()
		here := s.here
		s.mu.Unlock()
		if here == 1 {
			break
		}
		time.Sleep(time.Millisecond) // between two looks at what the server does
	}
	pool.Reset(nil)
	for spent := false; !spent; {
		g.mu.Lock()
		spent = g.leastLocked() == nil
		g.mu.Unlock()
		time.Sleep(time.Millisecond) // the recall runs on a goroutine of the pool
	}
	if _, err := get(ctx, g, "/meet/2"); err != nil { // the first one ends only with it
		t.Error(err)
	}
	if err := <-first; err != nil {
		t.Errorf("the request on the recalled connection: %v", err)
	}
	if n := pool.Stats(); n.Made != 2 {
		t.Errorf("%d connections were made, want 2", n.Made)
	}
	if err := pool.Close(ctx); err != nil {
		t.Error(err)
	}
}

// A server that is gone fails requests, and a caller that cannot have a stream heeds its context.
func TestNoServer(t *testing.T) {
	s, err := startServer()
	if err != nil {
		t.Fatal(err)
	}
	pool, err := resource.New(config(s.addr, s.client, 1))
	if err != nil {
		t.Fatal(err)
	}
	g := newGroup(pool, 1, 1)
	ctx, cancel := context.WithCancel(t.Context())
	hangs := make(chan error, 1)
	go func() {
		_, err := get(ctx, g, "/hang")
		hangs <- err
	}()
	for len(g.room) == 0 {
		time.Sleep(time.Millisecond) // until that request has the only stream
	}
	short, end := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer end()
	if _, err := get(short, g, "/hello"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no stream is free: %v", err)
	}
	cancel()
	if err := <-hangs; !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that gave up: %v", err)
	}
	s.stop()
	if _, err := get(t.Context(), g, "/hello"); err == nil {
		t.Error("a request was answered by a server that is gone")
	}
	closing, done := context.WithTimeout(t.Context(), 20*time.Second)
	defer done()
	if err := pool.Close(closing); err != nil {
		t.Error(err)
	}
}
