package redisledger_test

import (
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/policy/fleet/redisledger"
	"github.com/respool/respool/resource"
)

// Two processes, each with a pool, share 4 units of a quota. Here they are in one program.
func Example() {
	server, err := miniredis.Run() // in place of a Redis server
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	ledger, err := redisledger.Open(&redis.UniversalOptions{Addrs: []string{server.Addr()}}, redisledger.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ledger.Close()

	process := func() (*resource.Pool[string], func()) {
		quota, err := fleet.New(fleet.Config{Ledger: ledger, Quota: "provider", Limit: 4, Lease: 300 * time.Millisecond, OnLost: fleet.FailClosed})
		if err != nil {
			panic(err)
		}
		pool, err := resource.New(resource.Config[string]{
			Make:     func(context.Context) (string, error) { return "session", nil },
			MaxSize:  100,
			Quota:    quota,
			Eviction: quota.Surplus(),
			Outage:   resource.KeepWaiting,
		})
		if err != nil {
			panic(err)
		}
		return pool, func() {
			_ = pool.Close(context.Background())
			_ = quota.Close(context.Background())
		}
	}
	a, closeA := process()
	defer closeA()
	b, closeB := process()
	defer closeB()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, pool := range []*resource.Pool[string]{a, b, a, b} {
		// The first waits for one lease: the server does not know the quota, and may have lost it.
		lease, err := pool.Acquire(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer lease.Release()
	}
	_, ok := a.TryAcquire()
	fmt.Println("a fifth session:", ok)
	// Output:
	// a fifth session: false
}
