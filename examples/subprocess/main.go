// Subprocess is a pool of long-lived worker processes. It shows what happens when workers
// hang, crash, or exit while they are idle. Run it from the root of the repository with
//
//	go run ./examples/subprocess
//
// With -serve callers ask until the program receives SIGTERM or an interrupt; then it waits
// for running questions, closes the pool and exits.
//
// The use of the pool is in worker.go: how a worker is made, watched, asked and stopped. The
// worker is in child.go: the program starts itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/respool/respool/resource"
)

func main() {
	if os.Getenv(asWorker) != "" {
		serve(os.Stdin, os.Stdout)
		return
	}
	forever := flag.Bool("serve", false, "ask until SIGTERM or an interrupt")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "subprocess: takes flags only, got %q\n", flag.Args())
		os.Exit(2)
	}
	play := scenes
	if *forever {
		play = serveCallers
	}
	if err := run(os.Stdout, play); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// closeTimeout bounds each Close, which otherwise waits for every lease, leaked ones included.
const closeTimeout = 10 * time.Second

// closePool closes the pool. Workers that are still leased after timeout, by callers that
// leaked their leases or hang, are reclaimed, which works in a closed pool too and ends their
// processes. Then closePool waits once more.
func closePool(pool *resource.Pool[*worker], timeout time.Duration) error {
	err := closeWithin(pool, timeout)
	var late *resource.CloseError
	if !errors.As(err, &late) {
		return err
	}
	for _, r := range pool.Inspect(late.Load.Max).Resources {
		if r.State == resource.Leased {
			pool.Reclaim(r.ID, r.Lease)
		}
	}
	return closeWithin(pool, timeout)
}

// closeWithin closes the pool, or continues to wait for its end, for at most timeout.
func closeWithin(pool *resource.Pool[*worker], timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return pool.Close(ctx)
}

// run creates a pool, calls play, and closes the pool.
func run(w io.Writer, play func(w io.Writer, pool *resource.Pool[*worker]) error) (err error) {
	pool, err := resource.New(config(2))
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, closePool(pool, closeTimeout))
		s := pool.Stats()
		fmt.Fprintf(w, "closed: every worker that was started has exited: %t\n", err == nil && s.Made == s.Destroyed)
	}()
	return play(w, pool)
}

// ask sends one question to a worker.
func ask(ctx context.Context, pool *resource.Pool[*worker], question string) (answer string, err error) {
	err = pool.Do(ctx, func(ctx context.Context, w *worker) error {
		answer, err = w.Ask(ctx, question)
		return err
	})
	return answer, err
}

// scenes sends questions that are answered, refused, and make workers fail.
func scenes(w io.Writer, pool *resource.Pool[*worker]) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	say := func(scene string, answer string, err error) {
		if err != nil {
			answer = err.Error()
		}
		fmt.Fprintf(w, "%s: %s; workers started so far: %d\n", scene, answer, pool.Stats().Made)
	}

	// 1. A worker is started once and used many times. It survives a question that it
	// refuses.
	answer, err := ask(ctx, pool, "1 2 3")
	say("1 + 2 + 3", answer, err)
	answer, err = ask(ctx, pool, "20 x")
	say("a bad question", answer, err)
	answer, err = ask(ctx, pool, "20 22")
	say("a good one", answer, err)

	// 2. If a worker hangs, its caller waits until its deadline, and the next caller gets
	// another worker.
	began := time.Now()
	err = pool.Do(ctx, func(ctx context.Context, w *worker) error {
		ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond) // or set a deadline on the context of Do
		defer cancel()
		answer, err = w.Ask(ctx, "hang")
		return err
	})
	say("a worker hangs", answer, err)
	fmt.Fprintf(w, "its caller returned within five seconds: %t\n", time.Since(began) < 5*time.Second)
	answer, err = ask(ctx, pool, "1 1")
	say("the next caller", answer, err)

	// 3. If a worker crashes, one question fails.
	answer, err = ask(ctx, pool, "crash")
	say("a worker crashes", answer, err)
	answer, err = ask(ctx, pool, "2 2")
	say("the next caller", answer, err)

	// 4. If a worker exits while it is idle, no question fails: Watch informs the pool.
	answer, err = ask(ctx, pool, "retire")
	say("a worker retires", answer, err)
	for pool.Stats().Invalidated == 0 { // makes the output deterministic
		time.Sleep(time.Millisecond)
	}
	answer, err = ask(ctx, pool, "3 3")
	say("the next caller", answer, err)
	return err
}

// serveCallers runs callers until a signal arrives. It returns when they have ended, so that
// Close has no lease to wait for.
func serveCallers(w io.Writer, pool *resource.Pool[*worker]) error {
	signaled, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var callers sync.WaitGroup
	for n := range 4 {
		callers.Go(func() { serveCaller(signaled, w, pool, n) })
	}
	fmt.Fprintln(w, "serving")
	<-signaled.Done()
	stop() // a second signal ends the program immediately
	callers.Wait()
	fmt.Fprintln(w, "stopped")
	return nil
}

// serveCaller asks until signaled ends. A running question is not interrupted: its context
// has its own deadline and does not end with signaled.
func serveCaller(signaled context.Context, w io.Writer, pool *resource.Pool[*worker], n int) {
	for i := 0; signaled.Err() == nil; i++ {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		answer, err := ask(ctx, pool, fmt.Sprintf("%d %d", n, i))
		cancel()
		if err != nil || answer != strconv.Itoa(n+i) {
			fmt.Fprintf(w, "%d + %d: %q, %v\n", n, i, answer, err)
		}
	}
}
