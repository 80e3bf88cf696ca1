package resource_test

import (
	"context"
	"fmt"
	"time"

	"github.com/respool/respool/resource"
)

// Two connections in all, for any number of endpoints: the endpoint used least
// recently gives way.
func ExampleKeyed() {
	pools, err := resource.NewKeyed(resource.KeyedConfig[string, string]{
		Config: func(endpoint string) (resource.Config[string], error) {
			cfg := resource.Config[string]{
				Make:    func(context.Context) (string, error) { return "connection to " + endpoint, nil },
				Destroy: func(c string, cause error) { fmt.Println(c, "ended:", cause) },
				MaxSize: 2,
			}
			if endpoint == "fragile" {
				cfg.MaxSize = 1 // what differs from key to key
			}
			return cfg, nil
		},
		MaxTotal: 2,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pools.Close(ctx)
	for _, endpoint := range []string{"eu", "us", "fragile"} {
		err := pools.Do(ctx, endpoint, func(_ context.Context, c string) error {
			fmt.Println("lent:", c)
			return nil
		})
		if err != nil {
			fmt.Println(err)
		}
	}
	s := pools.Stats()
	fmt.Printf("%d idle, %d made, %d preempted\n", s.Idle, s.Made, s.Preempted)
	if err := pools.Drain(ctx, "us"); err != nil {
		fmt.Println(err)
	}
	// Output:
	// lent: connection to eu
	// lent: connection to us
	// connection to eu ended: resource: preempted by another key
	// lent: connection to fragile
	// 2 idle, 3 made, 1 preempted
	// connection to us ended: resource: pool is closed
	// connection to fragile ended: resource: pool is closed
}
