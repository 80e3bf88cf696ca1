// Custompolicy pools connections to a line server with a custom admission, eviction and
// health check, and prints what each of them did. Run it from the root of the repository
// with
//
//	go run ./examples/custompolicy
//
// The three policies are in policies.go, a few lines each. policies_test.go tests each of
// them with one call of package policytest.
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
	if len(os.Args) > 1 {
		fmt.Fprintf(os.Stderr, "custompolicy: takes no arguments, got %q\n", os.Args[1:])
		os.Exit(2)
	}
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run runs four scenarios and prints the results to w.
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
		Eviction:  policy.AnyOf(release, policy.MaxAge(time.Hour, 0.1)), // a custom policy combined with a ready-made one
		Health:    ping{after: 300 * time.Millisecond},
	})
	if err != nil {
		return err
	}
	defer func() {
		// Bound Close: it waits for every lease, and for a leaked one for ever.
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, pool.Close(ctx))
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	// 1. Tenant a requests three leases and may have two. Tenant b is not affected.
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

	// 2. A new release is deployed while a1 is in use and the others are idle: no older
	// connection is lent again, and no work is interrupted.
	newest := b1.Info().ID
	a2.Release()
	b1.Release()
	release.deployed(newest)
	reply, err := a1.Value().ask(ctx, "still here?")
	if err != nil {
		return err
	}
	a1.Release() // the Eviction is asked now
	fmt.Fprintf(w, "eviction: the running lease got %q; then its connection was destroyed: %v\n", reply, <-ended)
	l, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "eviction: the next lease has a connection made after the release: %t\n", release.current(l.Info()))
	if _, err := l.Value().ask(ctx, "hello"); err != nil { // so that the server has accepted it
		return err
	}
	l.Release()

	// 3. The server drops an idle connection, unnoticed by the pool. The check detects
	// that before the connection is lent.
	server.DropAll()
	time.Sleep(500 * time.Millisecond) // idle long enough to be checked; idle times have a resolution of 100 ms
	err = pool.Do(ctx, func(ctx context.Context, c *conn) error {
		reply, err := c.ask(ctx, "and you?")
		fmt.Fprintf(w, "health: the next lease after the server dropped all: %q, %v\n", reply, err)
		return err
	})
	if err != nil {
		return err
	}

	// 4. The counters of the pool.
	s := pool.Stats()
	fmt.Fprintf(w, "counted: %d refused, at least one evicted: %t, at least one unhealthy: %t\n",
		s.Rejected, s.Evicted > 0, s.Unhealthy > 0)
	return nil
}
