//go:build !race

package resource_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/respool/respool/resource"
)

// I10: an AcquireAny that finds something idle allocates nothing, whichever key has it and
// wherever it lies.
func TestI10_AnyIdle(t *testing.T) {
	for _, order := range []resource.Order{resource.NewestFirst, resource.OldestFirst} {
		for _, key := range []string{"a", "b", "c"} {
			t.Run(fmt.Sprintf("order=%v/%s", order, key), func(t *testing.T) {
				k, err := resource.NewKeyed(resource.KeyedConfig[string, int]{MaxTotal: 9, Config: func(string) (resource.Config[int], error) {
					return resource.Config[int]{MaxSize: 3, Order: order, Make: func(context.Context) (int, error) { return 1, nil }}, nil
				}})
				if err != nil {
					t.Fatal(err)
				}
				defer k.Close(context.Background())
				for _, other := range []string{"a", "b"} { // in use, with nothing idle
					if other < key {
						if _, err := k.Pool(other); err != nil {
							t.Fatal(err)
						}
					}
				}
				l, err := k.Acquire(context.Background(), key)
				if err != nil {
					t.Fatal(err)
				}
				l.Release()
				keys := []string{"a", "b", "c"}
				wantNoAllocs(t, func() {
					got, l, err := k.AcquireAny(context.Background(), keys, resource.Request{})
					if err != nil || got != key {
						t.Fatalf("%q, %v", got, err)
					}
					l.Release()
				})
			})
		}
	}
}
