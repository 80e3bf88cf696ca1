package resource_test

import (
	"context"
	"fmt"
	"time"

	"github.com/respool/respool/resource"
)

// What a pool is made of, and what becomes of its leases.
func ExamplePool_Inspect() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	pool, err := resource.New(resource.Config[string]{
		MaxSize:  2,
		Make:     func(context.Context) (string, error) { return "a session", nil },
		Describe: func(v string) string { return v },
		Trace: &resource.Trace{
			Leased: func(_ context.Context, e resource.LeaseEvent) {
				fmt.Printf("lease %d of resource %d, for %s\n", e.Lease, e.ID, e.Request.Class)
			},
			Ended: func(e resource.EndEvent) { fmt.Printf("it has ended, and stands for %d\n", e.Sampled) },
		},
		SampleLeases: 1, // each; by default one in 128
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close(ctx)

	lease, err := pool.AcquireWith(ctx, resource.Request{Class: "reports"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range pool.Inspect(100).Resources {
		fmt.Printf("resource %d is %v: %s\n", r.ID, r.State, r.Detail)
	}
	lease.Release()
	// Output:
	// lease 1 of resource 1, for reports
	// resource 1 is leased: a session
	// it has ended, and stands for 1
}
