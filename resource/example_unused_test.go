package resource_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/respool/respool/resource"
)

// A round of keepalives of one's own: all that is idle is taken, looked at, and
// given back as it was, or discarded.
func ExamplePool_AcquireAllIdle() {
	pool, err := resource.New(resource.Config[*Session]{Make: dialer(), MaxSize: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)
	for range 3 {
		if err := pool.MakeOne(ctx); err != nil {
			fmt.Println(err)
			return
		}
	}

	for _, lease := range pool.AcquireAllIdle() {
		if lease.Value().id == 2 {
			lease.Discard(errors.New("no answer"))
			continue
		}
		lease.ReleaseUnused()
	}
	fmt.Println(pool.Stats().Idle, "idle")

	lease, err := pool.Acquire(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("the newest is still", lease.Value().id)
	lease.Release()
	// Output:
	// 2 idle
	// the newest is still 3
}
