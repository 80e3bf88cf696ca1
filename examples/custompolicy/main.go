// Custompolicy pools connections to a line server with an admission, an
// eviction and a health check of its own, and prints what each of them did. Run
// it from the root of the repository with
//
//	go run ./examples/custompolicy
//
// The three policies are in policies.go, each a few lines; policies_test.go runs
// them through the conformance kit with one call each.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run plays four scenes and says to w how they ended.
func run(w io.Writer) (err error) {
	server, err := listen()
	if err != nil {
		return err
	}
	defer server.Close()

	tenants := newTenants(2)
	release := &rollout{}
	ended := make(chan error, 16)
	pool, err := resource.New(resource.Config[*conn]{
		Make:    func(ctx context.Context) (*conn, error) { return dial(ctx, server.Addr()) },
		Destroy: func(c *conn, cause error) { c.Close(); ended <- cause },
		MaxSize: 4,

		Admission: policy.Named("tenants", tenants),
		Eviction:  policy.AnyOf(release, policy.MaxAge(time.Hour, 0.1)), // one's own beside a ready-made one
		Health:    ping{after: 300 * time.Millisecond},
	})
	if err != nil {
		return err
	}
	defer func() {
		// Bounded: Close would wait for ever behind a lease that has leaked.
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, pool.Close(ctx))
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	// 1. Tenant a asks for three, and may have two. Tenant b is not affected.
	a1, err := pool.AcquireWith(ctx, resource.Request{Class: "a"})
	if err != nil {
		return err
	}
	a2, err := pool.AcquireWith(ctx, resource.Request{Class: "a"})
	if err != nil {
		return err
	}
	_, refusal := pool.AcquireWith(ctx, resource.Request{Class: "a"})
	b1, err := pool.AcquireWith(ctx, resource.Request{Class: "b"})
	if err != nil {
		return err
	}
	var rejection *resource.Rejection
	fmt.Fprintf(w, "admission: the third lease of tenant a: refused by a policy: %t", errors.As(refusal, &rejection))
	if rejection != nil {
		fmt.Fprintf(w, " (%s: %v)", rejection.Policy, rejection.Err)
	}
	fmt.Fprintln(w)

	// 2. A release goes out while a1 is at work and the others are idle: no
	// connection made before it is lent again, and no work is cut off.
	newest := b1.Info().ID
	a2.Release()
	b1.Release()
	release.deployed(newest)
	reply, err := a1.Value().ask(ctx, "still here?")
	if err != nil {
		return err
	}
	a1.Release() // it is asked about now
	fmt.Fprintf(w, "eviction: the lease under way got %q; then its connection went: %v\n", reply, <-ended)
	l, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "eviction: the next lease has a connection made after the release: %t\n", release.current(l.Info()))
	if _, err := l.Value().ask(ctx, "hello"); err != nil { // so the server has accepted it
		return err
	}
	l.Release()

	// 3. The server drops an idle connection without a word to the pool. The
	// check finds it before it is lent.
	server.DropAll()
	time.Sleep(500 * time.Millisecond) // idle for long enough to be checked; idle times are to 100 ms
	err = pool.Do(ctx, func(ctx context.Context, c *conn) error {
		reply, err := c.ask(ctx, "and you?")
		fmt.Fprintf(w, "health: the next lease after the server dropped all: %q, %v\n", reply, err)
		return err
	})
	if err != nil {
		return err
	}

	// 4. What the pool counted.
	s := pool.Stats()
	fmt.Fprintf(w, "counted: %d refused, at least one evicted: %t, at least one unhealthy: %t\n",
		s.Rejected, s.Evicted > 0, s.Unhealthy > 0)
	return nil
}
