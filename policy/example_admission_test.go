package policy_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// ask calls Admit and prints the result. The permit is kept.
func ask(p resource.Admission, r resource.Request) resource.Done {
	done, err := p.Admit(context.Background(), r)
	if err != nil {
		fmt.Println(err)
		return nil
	}
	fmt.Println("admitted")
	return done
}

// A pool calls Admit when a caller arrives, and Done when its lease has ended.
func ExampleLimit() {
	limit := policy.Limit(2)
	first := ask(limit, resource.Request{})
	ask(limit, resource.Request{})
	ask(limit, resource.Request{})

	first(resource.Outcome{Verdict: resource.OK})
	fmt.Println(limit.InFlight(), "of", limit.Limit())

	limit.Resize(1) // interrupts no holder
	ask(limit, resource.Request{})
	ask(limit, resource.Request{Cost: 2})
	// Output:
	// admitted
	// admitted
	// rejected by limit: policy: limit reached
	// 1 of 2
	// rejected by limit: policy: limit reached
	// rejected by limit: policy: invalid cost: 2 is over the limit 1
}

// Of four units, two are guaranteed to gold whatever others request; the rest is common.
func ExampleShares() {
	shares := policy.Shares(4, map[string]int{"gold": 2})
	for _, class := range []string{"bronze", "bronze", "bronze", "gold", "gold", "gold"} {
		fmt.Print(class, ": ")
		ask(shares, resource.Request{Class: class})
	}
	// Output:
	// bronze: admitted
	// bronze: admitted
	// bronze: rejected by shares: policy: limit reached
	// gold: admitted
	// gold: admitted
	// gold: rejected by shares: policy: limit reached
}

// Three at once, of which one is reserved for priority 1 and above.
func ExampleReserve() {
	reserve := policy.Reserve(1, 1, policy.Limit(3))
	for _, priority := range []int{0, 0, 0, 1, 1} {
		fmt.Print(priority, ": ")
		ask(reserve, resource.Request{Priority: priority})
	}
	// Output:
	// 0: admitted
	// 0: admitted
	// 0: rejected by reserve: policy: limit reached
	// 1: admitted
	// 1: rejected by limit: policy: limit reached
}

// The first members refuse at once and can be undone: the unit of the queue that the third
// caller took is returned when the limit of its tenant refuses it.
func ExampleAll() {
	queue := policy.BoundedQueue(2, 8)
	tenant := policy.Named("tenant", policy.Limit(2))
	p := policy.All(queue, tenant)
	for range 3 {
		ask(p, resource.Request{})
	}
	fmt.Println(queue.InFlight(), "in the queue")
	// Output:
	// admitted
	// admitted
	// rejected by tenant: policy: limit reached
	// 2 in the queue
}

// Before a fail-over the gate is paused: callers wait, or with NoWait are refused with the
// cause. Current leases continue.
func ExampleGate() {
	gate := policy.NewGate()
	ask(gate, resource.Request{})
	gate.Pause(errors.New("moving to the second site"))
	ask(gate, resource.Request{NoWait: true})

	time.AfterFunc(time.Millisecond, gate.Resume) // the fail-over is complete
	ask(gate, resource.Request{})                 // waits until then
	// Output:
	// admitted
	// rejected by gate: policy: paused: moving to the second site
	// admitted
}

// One caller is served at a time, and one has taken two milliseconds. A caller with less
// time left is refused immediately, with the estimated wait.
func ExampleWithinDeadline() {
	p := policy.WithinDeadline(1)
	served := ask(p, resource.Request{})
	ask(p, resource.Request{}) // waits: no interval has been measured
	time.Sleep(2 * time.Millisecond)
	served(resource.Outcome{Verdict: resource.OK})

	for _, left := range []time.Duration{time.Millisecond, time.Hour} {
		ctx, cancel := context.WithTimeout(context.Background(), left)
		defer cancel()
		_, err := p.Admit(ctx, resource.Request{})
		var refusal *resource.Rejection
		fmt.Println(errors.Is(err, policy.ErrTooLate), errors.As(err, &refusal) && refusal.RetryAfter > time.Millisecond)
	}
	// Output:
	// admitted
	// admitted
	// true true
	// false false
}
