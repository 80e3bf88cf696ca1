// Models is a pool of model contexts on a device whose memory holds only some of them. Run it from the
// root of the repository with
//
//	go run ./examples/models
//
// The device is a process of its own, which the program starts: it takes long to load a model, answers
// with the model that a connection has loaded, and refuses to load one that its memory has no room
// for. It also says how much memory was ever in use, so it is the judge of the pool.
//
// context.go is a context and the Keyed that lends contexts by model. memory.go divides the memory: a
// policy, as an Admission for Config.Quota and an Eviction, that has idle contexts of other models
// give way. device.go is the device.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/respool/respool/resource"
)

func main() {
	if os.Getenv(asDevice) != "" {
		os.Exit(serveDevice(os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(program(os.Args[1:], os.Stdout, os.Stderr))
}

// program returns the exit status: 0 if everything went well, 1 if it did not, 2 if there are arguments,
// of which it takes none.
func program(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		fmt.Fprintf(stderr, "models: takes no arguments, got %q\n", args)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, stdout); err != nil {
		fmt.Fprintln(stderr, "models:", err)
		return 1
	}
	return 0
}

// closeTimeout bounds Close, which waits for every lease.
const closeTimeout = 10 * time.Second

// run starts the device, plays the scenes and closes everything.
func run(ctx context.Context, w io.Writer) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	d, err := startDevice(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	pool, err := newPool(d.addr)
	if err != nil {
		return err
	}
	err = scenes(ctx, w, pool, d)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	err = errors.Join(err, pool.Close(closing))
	s := pool.Stats()
	fmt.Fprintf(w, "closed: every context that was loaded has ended: %t\n", err == nil && s.Made == s.Destroyed)
	return err
}

// scenes shows what becomes of contexts.
func scenes(ctx context.Context, w io.Writer, pool *resource.Keyed[string, *modelContext], d *device) error {
	ask := func(model, text string) (answer string, err error) {
		err = pool.Do(ctx, model, func(ctx context.Context, c *modelContext) error {
			answer, err = c.run(ctx, text)
			return err
		})
		return answer, err
	}
	say := func(scene, answer string, err error) {
		switch {
		case errors.Is(err, errNoMemory):
			answer = errNoMemory.Error()
		case err != nil:
			answer = err.Error()
		}
		fmt.Fprintf(w, "%s: %s\n", scene, answer)
	}
	loads := func() int64 { return pool.Stats().Made }

	// 1. A model that is loaded before the first caller comes keeps none waiting.
	p, err := pool.Pool("small")
	if err != nil {
		return err
	}
	if err := p.Warm(ctx, 1); err != nil {
		return err
	}
	before := loads()
	answer, err := ask("small", "hello")
	say("a warm model", answer, err)
	fmt.Fprintf(w, "it was loaded before: %t\n", loads() == before)

	// 2. A context serves one caller after another.
	answer, err = ask("large", "hello")
	say("another model", answer, err)
	before = loads()
	answer, err = ask("large", "hello again")
	say("the next caller", answer, err)
	fmt.Fprintf(w, "it was loaded before: %t\n", loads() == before)

	// 3. There is no room for a third model: an idle context gives way.
	before = pool.Stats().Evicted
	answer, err = ask("medium", "hello")
	say("a third model", answer, err)
	fmt.Fprintf(w, "an idle context gave way: %t\n", pool.Stats().Evicted > before)

	// 4. Nothing is loaded, and another program takes half of the memory. The device refuses to load
	// what has no room; other models are served.
	pool.Reset(nil)
	if _, err := d.command(ctx, fmt.Sprint("take ", deviceMemory/2)); err != nil {
		return err
	}
	answer, err = ask("large", "hello")
	say("a model for which the device has no room now", answer, err)
	answer, err = ask("small", "hello")
	say("a smaller one", answer, err)
	if _, err := d.command(ctx, fmt.Sprint("give ", deviceMemory/2)); err != nil {
		return err
	}
	for { // the pool tries again after a delay that its error knows
		answer, err = ask("large", "hello")
		var failed *resource.AcquireError
		if !errors.As(err, &failed) || failed.Wait(ctx) != nil {
			break
		}
	}
	say("the first one again, when there is room", answer, err)

	// 5. Callers of all models at once: each is served, and the memory suffices.
	var callers sync.WaitGroup
	var served atomic.Int64
	for n := range 30 {
		callers.Go(func() {
			model := []string{"small", "medium", "large"}[n%3]
			text := fmt.Sprint("question ", n)
			if answer, err := ask(model, text); err == nil && answer == model+" answers "+text {
				served.Add(1)
			} else {
				fmt.Fprintf(w, "%s: %q, %v\n", model, answer, err)
			}
		})
	}
	callers.Wait()
	peak, err := d.command(ctx, "peak")
	fmt.Fprintf(w, "30 callers at once: %d served\n", served.Load())
	fmt.Fprintf(w, "memory in use, as the device saw it, at most %d GiB: %s\n", deviceMemory, peak)
	return err
}
