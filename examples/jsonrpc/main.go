// Jsonrpc calls methods of a JSON-RPC 2.0 server through a pool of WebSocket
// connections. Run it from the root of the repository with
//
//	go run ./examples/jsonrpc
//
// The use of the pool is in client.go. The server, in server.go, uses sourcegraph/jsonrpc2.
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

// run runs five scenarios and prints the results to w.
func run(w io.Writer) (err error) {
	s, err := start()
	if err != nil {
		return err
	}
	defer s.stop()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	one, err := newClient("ws://"+s.addr, 1) // one connection for all calls but the last
	if err != nil {
		return err
	}
	defer func() {
		// Bound Close: it waits for every lease, and for a leaked one for ever.
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

	// 2. An error reply, which does not close the connection.
	err = one.call(ctx, "multiply", []int{2, 3}, &sum)
	fmt.Fprintf(w, "error: %v; connections dialled: %d\n", err, one.pool.Stats().Made)

	// 3. A caller leaves before its reply arrives. The connection is closed, so that no
	// other call gets the late reply.
	var done string
	leave, left := context.WithCancel(ctx)
	go func() { <-s.waiting; left() }()
	err = one.call(leave, "wait", []int{}, &done)
	left()
	fmt.Fprintf(w, "cancelled: %t", errors.Is(err, context.Canceled))
	if err := one.call(ctx, "add", []int{7, 8}, &sum); err != nil {
		return err
	}
	fmt.Fprintf(w, "; the next caller: 7 + 8 = %d; connections dialled: %d\n", sum, one.pool.Stats().Made)

	// 4. The server is restarted during an idempotent call.
	restarted := make(chan error, 1)
	go func() { <-s.waiting; restarted <- s.restart() }()
	if err := one.callAgain(ctx, "wait", []int{}, &done); err != nil {
		return err
	}
	if err := <-restarted; err != nil {
		return err
	}
	fmt.Fprintf(w, "restarted meanwhile: %s; connections dialled: %d\n", done, one.pool.Stats().Made)

	// 5. Many concurrent callers.
	return crowd(ctx, w, "ws://"+s.addr)
}

// crowd runs 50 callers with 20 calls each on 4 connections.
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
