package fleet_test

import (
	"context"
	"fmt"
	"log"

	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/resource"
)

// One account for all processes: each opens sessions while the quota of all has room.
func ExampleQuota_Surplus() {
	ctx := context.Background()
	ledger := fleet.NewMemory() // of one process; package redisledger or etcdledger in production
	ledger.Begin("account")
	cfg := resource.Config[string]{
		Make:    func(context.Context) (string, error) { return "session", nil },
		MaxSize: 100,
	}
	quota, err := fleet.New(fleet.Config{Ledger: ledger, Quota: "account", Limit: 100})
	if err != nil {
		log.Fatal(err)
	}
	cfg.Quota = quota              // may another session exist, in any of the processes?
	cfg.Eviction = quota.Surplus() // gives back what is above the fair share
	pool, err := resource.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	err = pool.Do(ctx, func(context.Context, string) error {
		for _, q := range pool.Inspect(0).Quotas {
			fmt.Printf("%s: %d of %d held by this process\n", q.Name, q.Held, q.Limit)
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(pool.Close(ctx), quota.Close(ctx))
	// Output:
	// account: 1 of 100 held by this process
	// <nil> <nil>
}
