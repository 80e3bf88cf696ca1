package resource_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/respool/respool/resource"
)

// Three replicas serve the same data. The caller prefers the first; while that is down, and
// later full, another one serves.
func ExampleKeyed_AcquireAny() {
	pools, err := resource.NewKeyed(resource.KeyedConfig[string, string]{
		MaxTotal: 10,
		Config: func(replica string) (resource.Config[string], error) {
			return resource.Config[string]{
				MaxSize: 1,
				Make: func(context.Context) (string, error) {
					if replica == "one" {
						return "", errors.New("connection refused")
					}
					return "session with " + replica, nil
				},
			}, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	defer pools.Close(ctx)

	replicas := []string{"one", "two", "three"}
	for range 2 {
		replica, session, err := pools.AcquireAny(ctx, replicas, resource.Request{})
		if err != nil {
			log.Fatal(err)
		}
		defer session.Release()
		fmt.Println(replica, "serves:", session.Value())
	}
	// Output:
	// two serves: session with two
	// three serves: session with three
}
