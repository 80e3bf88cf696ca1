package sched_test

import (
	"fmt"

	"github.com/respool/respool/internal/explore/sched"
	"github.com/respool/respool/internal/explore/sim/atomic"
)

// Two goroutines count with a load and a store. One preemption between these loses an update.
func ExampleExplore() {
	counter := sched.Scene{Name: "counter", Run: func(x *sched.X) {
		var n atomic.Int32
		for range 2 {
			x.Actor("add", func() { n.Store(n.Load() + 1) })
		}
		x.Explore()
		x.Require(n.Load() == 2, "counted %d", n.Load())
	}}
	r := sched.Explore(counter, sched.Options{Bound: 3})
	fmt.Printf("%s with %d preemption\n", r.Failure, r.Bound)
	_, steps, err := sched.Replay(counter, r.Schedule, 0)
	for _, s := range steps {
		if s.Name == "add" {
			fmt.Println(s.Goroutine, s.Op)
		}
	}
	fmt.Println(err)
	// Output:
	// counted 1 with 1 preemption
	// 1 Load
	// 2 Load
	// 2 Store
	// 1 Store
	// <nil>
}
