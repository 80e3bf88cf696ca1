// Subprocess lends long-lived worker processes to callers, and shows what becomes
// of workers that hang, crash, or exit while they are idle. Run it from the root
// of the repository with
//
//	go run ./examples/subprocess
//
// With -serve callers ask on until the program gets SIGTERM or an interrupt;
// then it lets them finish, closes the pool and exits.
//
// Everything about the pool is in worker.go: how a worker is made, watched, asked
// and stopped. The other side of the pipes is in child.go: the program starts
// itself.
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
	forever := flag.Bool("serve", false, "ask on until SIGTERM or an interrupt")
	flag.Parse()
	play := scenes
	if *forever {
		play = serveCallers
	}
	if err := run(os.Stdout, play); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// closeTimeout bounds Close, which else waits for every lease: also for one that
// has leaked.
const closeTimeout = 10 * time.Second

// run makes a pool, has play use it, and closes it.
func run(w io.Writer, play func(w io.Writer, pool *resource.Pool[*worker]) error) (err error) {
	pool, err := resource.New(config(2))
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		err = errors.Join(err, pool.Close(ctx))
		s := pool.Stats()
		fmt.Fprintf(w, "closed: every worker that was started has exited: %t\n", err == nil && s.Made == s.Destroyed)
	}()
	return play(w, pool)
}

// ask asks one worker one question.
func ask(ctx context.Context, pool *resource.Pool[*worker], question string) (answer string, err error) {
	err = pool.Do(ctx, func(ctx context.Context, w *worker) error {
		answer, err = w.Ask(ctx, question)
		return err
	})
	return answer, err
}

// scenes asks questions that are answered, refused, and worse.
func scenes(w io.Writer, pool *resource.Pool[*worker]) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	say := func(scene string, answer string, err error) {
		if err != nil {
			answer = err.Error()
		}
		fmt.Fprintf(w, "%s: %s; workers started so far: %d\n", scene, answer, pool.Stats().Made)
	}

	// 1. A worker is started once and asked many times. A question that it refuses
	// does not cost it.
	answer, err := ask(ctx, pool, "1 2 3")
	say("1 + 2 + 3", answer, err)
	answer, err = ask(ctx, pool, "20 x")
	say("a bad question", answer, err)
	answer, err = ask(ctx, pool, "20 22")
	say("a good one", answer, err)

	// 2. A worker that hangs costs its caller no more than its deadline, and the
	// next caller gets another worker.
	began := time.Now()
	err = pool.Do(ctx, func(ctx context.Context, w *worker) error {
		ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond) // or the deadline of the context of Do
		defer cancel()
		answer, err = w.Ask(ctx, "hang")
		return err
	})
	say("a worker hangs", answer, err)
	fmt.Fprintf(w, "its caller was told within five seconds: %t\n", time.Since(began) < 5*time.Second)
	answer, err = ask(ctx, pool, "1 1")
	say("the next caller", answer, err)

	// 3. A worker that crashes costs the one question.
	answer, err = ask(ctx, pool, "crash")
	say("a worker crashes", answer, err)
	answer, err = ask(ctx, pool, "2 2")
	say("the next caller", answer, err)

	// 4. A worker that exits while it is idle costs nothing: Watch tells the pool.
	answer, err = ask(ctx, pool, "retire")
	say("a worker retires", answer, err)
	for pool.Stats().Invalidated == 0 { // only to have the same output each time
		time.Sleep(time.Millisecond)
	}
	answer, err = ask(ctx, pool, "3 3")
	say("the next caller", answer, err)
	return err
}

// serveCallers has callers ask until a signal comes. It returns when they have
// ended; the Close that follows then has nothing to wait for.
func serveCallers(w io.Writer, pool *resource.Pool[*worker]) error {
	signaled, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var callers sync.WaitGroup
	for n := range 4 {
		callers.Go(func() { serveCaller(signaled, w, pool, n) })
	}
	fmt.Fprintln(w, "serving")
	<-signaled.Done()
	stop() // a second signal ends the program at once
	callers.Wait()
	fmt.Fprintln(w, "stopped")
	return nil
}

// serveCaller asks until signaled ends. A question that was begun is not cut off:
// its context has a deadline of its own and does not end with signaled.
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
