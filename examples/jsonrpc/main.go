// Jsonrpc calls methods of a JSON-RPC 2.0 server through a pool of WebSocket
// connections. Run it from the root of the repository with
//
//	go run ./examples/jsonrpc
//
// All there is to know about the pool is in client.go. The server is in
// server.go, made with sourcegraph/jsonrpc2.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run plays five scenes and says to w how they ended.
func run(w io.Writer) (err error) {
	s, err := start()
	if err != nil {
		return err
	}
	defer s.stop()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	one, err := newClient("ws://"+s.addr, 1) // one connection: all calls but the last are on it
	if err != nil {
		return err
	}
	defer func() {
		// Bounded: Close would wait for ever behind a lease that has leaked.
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, one.pool.Close(ctx))
	}()

	// 1. A call.
	var sum int
	if err := one.call(ctx, "add", []int{2, 3}, &sum); err != nil {
		return err
	}
	fmt.Fprintf(w, "call: 2 + 3 = %d\n", sum)

	// 2. An error of the server's, which is no reason to close the connection.
	err = one.call(ctx, "multiply", []int{2, 3}, &sum)
	fmt.Fprintf(w, "error: %v; connections dialled: %d\n", err, one.pool.Stats().Made)

	// 3. A caller leaves before its reply comes. The connection goes with it, so
	// that the late reply reaches nobody.
	var slept string
	leave, left := context.WithCancel(ctx)
	go func() { <-s.asleep; left() }()
	err = one.call(leave, "sleep", 50, &slept)
	left()
	fmt.Fprintf(w, "cancelled: %t", errors.Is(err, context.Canceled))
	if err := one.call(ctx, "add", []int{7, 8}, &sum); err != nil {
		return err
	}
	fmt.Fprintf(w, "; the next caller: 7 + 8 = %d; connections dialled: %d\n", sum, one.pool.Stats().Made)

	// 4. The server is restarted during a call, which may run twice.
	restarted := make(chan error, 1)
	go func() { <-s.asleep; restarted <- s.restart() }()
	if err := one.callAgain(ctx, "sleep", 50, &slept); err != nil {
		return err
	}
	if err := <-restarted; err != nil {
		return err
	}
	fmt.Fprintf(w, "restarted meanwhile: %s; connections dialled: %d\n", slept, one.pool.Stats().Made)

	// 5. Many callers at once.
	return crowd(ctx, w, "ws://"+s.addr)
}

// crowd has 50 callers add 20 times each, on 4 connections.
func crowd(ctx context.Context, w io.Writer, url string) error {
	four, err := newClient(url, 4)
	if err != nil {
		return err
	}
	var right, wrong atomic.Int64
	var all sync.WaitGroup
	for a := range 50 {
		all.Go(func() {
			for b := range 20 {
				var sum int
				if err := four.call(ctx, "add", []int{a, b}, &sum); err == nil && sum == a+b {
					right.Add(1)
				} else {
					wrong.Add(1)
				}
			}
		})
	}
	all.Wait()
	most := four.pool.Stats().Made
	fmt.Fprintf(w, "50 callers: %d right, %d wrong; at most 4 connections: %t\n", right.Load(), wrong.Load(), most <= 4)
	return four.pool.Close(ctx)
}
