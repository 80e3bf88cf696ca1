// Jsonrpc calls methods of a JSON-RPC 2.0 server: many callers share a few WebSocket
// connections, some of which are cut meanwhile. Run it from the root of the repository with
//
//	go run ./examples/jsonrpc
//
// The use of the library is in client.go. The server, in server.go, uses sourcegraph/jsonrpc2.
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

	"github.com/respool/respool/wspool/mux"
)

func main() {
	if len(os.Args) > 1 {
		fmt.Fprintf(os.Stderr, "jsonrpc: takes no arguments, got %q\n", os.Args[1:])
		os.Exit(2)
	}
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
	defer func() { err = errors.Join(err, one.close(ctx)) }()

	// 1. A call.
	var sum int
	if err := one.call(ctx, "add", []int{2, 3}, &sum); err != nil {
		return err
	}
	fmt.Fprintf(w, "call: 2 + 3 = %d\n", sum)

	// 2. An error reply, which does not harm the connection.
	err = one.call(ctx, "multiply", []int{2, 3}, &sum)
	fmt.Fprintf(w, "%v; connections dialled: %d\n", err, one.pool.Stats().Made)

	// 3. A caller leaves before its reply arrives. The connection stays in use: the reply
	// will be recognized by its id and dropped.
	leave, left := context.WithCancel(ctx)
	go func() { <-s.waiting; left() }()
	err = one.call(leave, "wait", nil, nil)
	left()
	fmt.Fprintf(w, "cancelled: %t", errors.Is(err, context.Canceled))
	if err := one.call(ctx, "add", []int{7, 8}, &sum); err != nil {
		return err
	}
	fmt.Fprintf(w, "; the next call: 7 + 8 = %d; connections dialled: %d\n", sum, one.pool.Stats().Made)

	// 4. The server is restarted during two calls. One is idempotent, and is sent again.
	var done string
	var again, once error
	var both sync.WaitGroup
	both.Go(func() { again = one.callAgain(ctx, "wait", nil, &done) })
	both.Go(func() { once = one.call(ctx, "wait", nil, nil) })
	for range 2 {
		select {
		case <-s.waiting:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := s.restart(); err != nil {
		return err
	}
	both.Wait()
	if again != nil {
		return again
	}
	fmt.Fprintf(w, "restarted meanwhile: idempotent call: %s; other call may have run: %t; connections dialled: %d\n",
		done, errors.Is(once, mux.ErrMayHaveRun), one.pool.Stats().Made)

	// 5. Many callers, and connections that end during their calls.
	return crowd(ctx, w, s)
}

// crowd runs four rounds of 100 callers with 3 calls each on 4 connections. In each round the
// server cuts the connection on which the 150th call arrives.
func crowd(ctx context.Context, w io.Writer, s *server) error {
	four, err := newClient("ws://"+s.addr, 4)
	if err != nil {
		return err
	}
	var idempotents, others, mayHaveRun, lost atomic.Int64
	for range 4 {
		s.cutAt(150)
		var all sync.WaitGroup
		for a := range 100 {
			call, idempotent := four.call, a%2 == 0
			if idempotent {
				call = four.callAgain
			}
			all.Go(func() {
				for b := range 3 {
					var sum int
					switch err := call(ctx, "add", []int{a, b}, &sum); {
					case err == nil && sum == a+b && idempotent:
						idempotents.Add(1)
					case err == nil && sum == a+b:
						others.Add(1)
					case errors.Is(err, mux.ErrMayHaveRun) && !idempotent:
						mayHaveRun.Add(1) // the caller must find out what became of it
					default:
						lost.Add(1)
					}
				}
			})
		}
		all.Wait()
	}
	stats := four.mux.Stats()
	fmt.Fprintf(w, "100 callers on 4 connections, 4 of which were cut: %d idempotent calls answered, %d of them after a replay;\n"+
		"    %d other calls answered, %d reported as perhaps run; lost or wrong: %d; connections dialled: %d\n",
		idempotents.Load(), stats.Replayed, others.Load(), mayHaveRun.Load(), lost.Load(), four.pool.Stats().Made)
	if lost.Load() > 0 {
		err = errors.New("calls were lost")
	}
	return errors.Join(err, four.close(ctx))
}
