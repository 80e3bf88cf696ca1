package policies_test

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// A provider permits 50 new connections a second and 200 calls a second. A lease makes one call.
func Example_providerRate() {
	server := &sessions{}
	cfg := resource.Config[*Session]{Make: server.dial, MaxSize: 8}
	cfg.MakeGate = policy.Pace(rate.NewLimiter(50, 2))    // dials wait for their turn
	cfg.Admission = policy.Rate(rate.NewLimiter(200, 10)) // calls over the rate are refused, and told when to come again
	pool, err := resource.New(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close too, in case of a leaked lease
	defer cancel()
	defer pool.Close(ctx)
	tell(pool.Acquire(ctx)).Release()
	fmt.Println(pool.Inspect(0).Policies[0].Moment, pool.Inspect(0).Policies[1].Moment)
	// Output:
	// session 1
	// Admission MakeGate
}
