package policy_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// A pool for connections to servers behind a load balancer: no connection lives longer than
// an hour, so that the load is balanced again; connections left over from a burst are
// closed after a minute, but ten stay idle.
func ExampleAnyOf() {
	eviction := policy.AnyOf(
		policy.MaxAge(time.Hour, 0.25),
		policy.MaxIdle(10*time.Minute),
		policy.SoftIdle(time.Minute, 10),
	)
	old := resource.Info{Age: 55 * time.Minute, Jitter: 0.4} // its limit is 54 minutes
	fmt.Println(eviction.Evict(old))
	fmt.Println(eviction.Evict(resource.Info{Age: 5 * time.Minute, Idle: 2 * time.Minute}))
	fmt.Println(eviction.Evict(resource.Info{Age: 5 * time.Minute, Idle: 2 * time.Minute, Idlers: 11})) // in the sweep
	// Output:
	// policy: too old
	// <nil>
	// policy: more idle than needed
}

// Conn stands for a connection.
type Conn struct{ open *atomic.Int32 }

func (c *Conn) Close() { c.open.Add(-1) }

// A pool keeps two connections idle, ends those left over from a burst after ten minutes, and
// every connection after 22 to 30 minutes.
func ExampleAnyOf_minIdle() {
	var open atomic.Int32
	dial := func(context.Context) (*Conn, error) {
		open.Add(1)
		return &Conn{&open}, nil
	}
	pool, err := resource.New(resource.Config[*Conn]{
		Make:    dial,
		Destroy: func(c *Conn, cause error) { c.Close() },
		MaxSize: 10,
		MinIdle: 2,
		Eviction: policy.AnyOf(
			policy.MaxAge(30*time.Minute, 0.25), // HikariCP: maxLifetime
			policy.SoftIdle(10*time.Minute, 2),  // HikariCP: idleTimeout with minimumIdle 2
		),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := pool.Warm(ctx, 2); err != nil {
		fmt.Println(err)
	}
	fmt.Println("open:", open.Load())
	fmt.Println(pool.Close(ctx), "open:", open.Load())
	// Output:
	// open: 2
	// <nil> open: 0
}

// A resource in use is not checked. One that was idle for half a minute is, within a second,
// and ends when that has failed twice in a row; then all older ones are checked before
// they are lent.
func ExampleCohort() {
	ping := func(ctx context.Context, conn string) error { return nil }
	health := policy.Cohort(
		policy.IfIdle(30*time.Second,
			policy.Consecutive(2,
				policy.CheckTimeout(time.Second, policy.Check(ping)))))
	just := resource.Info{ID: 7, Age: time.Hour, Idle: time.Second, Checked: time.Hour}
	fmt.Println(health.Due(just))
	health.Suspect(9)
	fmt.Println(health.Due(just))
	// Output:
	// false
	// true
}

// Only a resource that was idle for half a minute is checked, and it ends when two checks in
// a row have failed. The pool counts the tolerated failures; here they are given by hand.
func ExampleIfIdle() {
	ping := func(ctx context.Context, conn string) error { return errors.New("no answer") }
	health := policy.IfIdle(30*time.Second, policy.Consecutive(2, policy.Check(ping)))

	used := resource.Info{Age: time.Hour, Idle: time.Second, Checked: time.Hour}
	unused := resource.Info{Age: time.Hour, Idle: time.Minute, Checked: time.Minute}
	if s, ok := health.(resource.Scheduled); ok {
		fmt.Println("due:", s.Due(used), s.Due(unused))
	}
	for unused.Failures = range 2 {
		err := health.Check(context.Background(), "a connection", unused)
		fmt.Println(errors.Is(err, resource.ErrTolerated), err)
	}
	// Output:
	// due: false true
	// true resource: failed check tolerated: no answer
	// false no answer
}

// A server that is down gets one connection attempt at a time.
func ExampleNewMakeGate() {
	gate, err := policy.NewMakeGate(policy.MakeGateConfig{Concurrent: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	pool, err := resource.New(resource.Config[string]{
		Make:     func(context.Context) (string, error) { return "", errors.New("connection refused") },
		MaxSize:  100,
		MakeGate: gate,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := pool.Acquire(context.Background()); err != nil {
		fmt.Println(errors.Unwrap(err))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := pool.Close(ctx); err != nil {
		fmt.Println(err)
	}
	_, err = gate.Admit(context.Background(), resource.Request{})
	fmt.Println(err)
	fmt.Println(gate.InFlight(), "of", gate.Limit())
	// Output:
	// connection refused
	// rejected by makegate: policy: resource creation is failing: connection refused
	// 0 of 1
}

// Calls of people are served before those of a nightly job, but one level of priority is
// worth ten seconds of waiting and no more. The pool calls the Queue; here it is called by
// hand.
func ExamplePriority() {
	queue := policy.Priority(10 * time.Second)
	arrive := func(name string, priority int, at time.Duration) {
		queue.Push(&resource.Waiter{Request: resource.Request{Class: name, Priority: priority}, Since: at}, at)
	}
	arrive("job", 0, 0)
	arrive("Ann", 1, 9*time.Second)
	arrive("Ben", 1, 11*time.Second)
	for range 3 {
		w, _ := queue.Pop(12 * time.Second)
		fmt.Println(w.Request.Class)
	}
	// Output:
	// Ann
	// job
	// Ben
}

// Under overload the newest waiter is served, and waiters beyond the limit are refused.
func ExampleCoDel() {
	queue := policy.CoDel(5*time.Millisecond, 100*time.Millisecond)
	arrive := func(name string, at time.Duration) {
		queue.Push(&resource.Waiter{Request: resource.Request{Class: name}, Since: at}, at)
	}
	serve := func(at time.Duration) {
		w, refuse := queue.Pop(at)
		fmt.Println(w.Request.Class, refuse)
	}
	arrive("Ann", 0)
	arrive("Ben", 0)
	arrive("Cem", 0)
	serve(100 * time.Millisecond) // a single long wait is not an overload
	arrive("Dan", 200*time.Millisecond)
	arrive("Eve", 200*time.Millisecond)
	serve(200 * time.Millisecond) // a standing queue for a whole interval is
	serve(200 * time.Millisecond)
	serve(200 * time.Millisecond)
	// Output:
	// Ann <nil>
	// Ben rejected by codel: policy: overloaded
	// Cem rejected by codel: policy: overloaded
	// Eve <nil>
}
