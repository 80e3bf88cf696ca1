// Http2 is a pool of HTTP/2 connections that many requests share. Run it from the root of the
// repository with
//
//	go run ./examples/http2
//
// It needs nothing else: a server with TLS runs in the program, and permits ten streams on each
// connection. One connection is a bottleneck of many services: of a proxy that pins it to one backend,
// of the limit of streams, of one TCP window. The pool has several, each with as many streams as it may
// have, and replaces them as the server and their age demand. The same pattern serves gRPC: a
// ClientConn to one address is an HTTP/2 connection.
//
// conn.go makes a connection that reports its end to the pool, with net/http alone. group.go gives each
// request a stream on a leased connection. server.go is the server.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/respool/respool/resource"
)

func main() {
	os.Exit(program(os.Args[1:], os.Stdout, os.Stderr))
}

// program returns the exit status: 0 if everything went well, 1 if it did not, 2 if there are arguments,
// of which it takes none.
func program(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		fmt.Fprintf(stderr, "http2: takes no arguments, got %q\n", args)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, stdout); err != nil {
		fmt.Fprintln(stderr, "http2:", err)
		return 1
	}
	return 0
}

const (
	streams = 10 // on each connection
	most    = 4  // connections
)

// closeTimeout bounds Close, which waits for every lease.
const closeTimeout = 10 * time.Second

// run starts the server, plays the scenes and closes everything.
func run(ctx context.Context, w io.Writer) (err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s, err := startServer()
	if err != nil {
		return err
	}
	defer s.stop()
	pool, err := resource.New(config(s.addr, s.client, most))
	if err != nil {
		return err
	}
	g := newGroup(pool, streams, most)
	err = scenes(ctx, w, g, s)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	err = errors.Join(err, pool.Close(closing)) // recalls the shared leases
	n := pool.Stats()
	fmt.Fprintf(w, "closed: every connection that was made has ended: %t\n", err == nil && n.Made == n.Destroyed)
	return err
}

// get sends one request, and returns the text of the reply.
func get(ctx context.Context, g *group, path string) (text string, err error) {
	err = g.do(ctx, func(c *conn) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+path, nil)
		if err != nil {
			return err
		}
		reply, err := c.client.Do(r)
		if err != nil {
			return err
		}
		defer reply.Body.Close()
		body, err := io.ReadAll(reply.Body)
		text = fmt.Sprint(reply.Proto, " ", string(body))
		return err
	})
	return text, err
}

// scenes shows what becomes of connections.
func scenes(ctx context.Context, w io.Writer, g *group, s *server) error {
	say := func(scene, result string, err error) {
		if err != nil {
			result = err.Error()
		}
		fmt.Fprintf(w, "%s: %s; connections made so far: %d\n", scene, result, g.pool.Stats().Made)
	}

	// 1. One request makes one connection, and the next one uses it.
	text, err := get(ctx, g, "/hello")
	say("a request", text, err)
	text, err = get(ctx, g, "/hello")
	say("the next one", text, err)

	// 2. As many requests as four connections may have streams for are under way at once. The server
	// answers none of them before all have come.
	say("40 requests at once", fmt.Sprint(together(ctx, g, fmt.Sprint("/meet/", most*streams), most*streams), " answered"), nil)
	say("100 requests", fmt.Sprint(together(ctx, g, "/hello", 100), " answered"), nil)

	// 3. A caller that gives up ends its stream, not the connection.
	bounded, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	_, err = get(bounded, g, "/hang")
	cancel()
	fmt.Fprintf(w, "a caller gives up: %t\n", errors.Is(err, context.DeadlineExceeded))
	text, err = get(ctx, g, "/hello")
	say("the next request", text, err)

	// 4. The server asks the clients of all connections to go (GOAWAY), as when it is about to be
	// restarted: no request fails, and the connections are replaced.
	before := g.pool.Stats().Made
	s.goAway.Store(true)
	answered := together(ctx, g, "/hello", most*streams)
	s.goAway.Store(false)
	answered += together(ctx, g, "/hello", most*streams)
	fmt.Fprintf(w, "the server lets its clients go: %d of %d requests answered; connections were replaced: %t\n",
		answered, 2*most*streams, g.pool.Stats().Made > before)

	// 5. The server dies while its connections are idle, and comes back: Watch tells the pool.
	before = g.pool.Stats().Made
	s.cut()
	if err := g.gone(ctx); err != nil { // so that the next request cannot be faster than the news
		return err
	}
	text, err = get(ctx, g, "/hello")
	fmt.Fprintf(w, "after all connections were cut: %s, %v; another connection: %t\n", text, err, g.pool.Stats().Made > before)
	return nil
}

// together sends n requests at once, and returns how many were answered.
func together(ctx context.Context, g *group, path string, n int) int {
	var all sync.WaitGroup
	var answered atomic.Int64
	for range n {
		all.Go(func() {
			if _, err := get(ctx, g, path); err == nil {
				answered.Add(1)
			}
		})
	}
	all.Wait()
	return int(answered.Load())
}
