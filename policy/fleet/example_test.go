package fleet_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/resource"
)

// Two pools, each as if in a process of its own, share an account that allows three
// sessions. In production Ledger is one of package redisledger or etcdledger.
func Example() {
	ctx := context.Background()
	ledger := fleet.NewMemory()
	ledger.Begin("account") // nothing has been granted before

	process := func() (*fleet.Quota, *resource.Pool[string]) {
		quota, err := fleet.New(fleet.Config{Ledger: ledger, Quota: "account", Limit: 3, Slack: -1})
		if err != nil {
			log.Fatal(err)
		}
		pool, err := resource.New(resource.Config[string]{
			Make:     func(context.Context) (string, error) { return "session", nil },
			MaxSize:  10,
			Quota:    quota,
			Eviction: policy.AnyOf(quota.Surplus(), policy.MaxIdle(time.Minute)),
		})
		if err != nil {
			log.Fatal(err)
		}
		return quota, pool
	}

	quota1, pool1 := process()
	for range 3 {
		if _, err := pool1.Acquire(ctx); err != nil {
			log.Fatal(err)
		}
	}
	quota2, pool2 := process()
	_, err := pool2.AcquireWith(ctx, resource.Request{MaxWait: 50 * time.Millisecond})
	fmt.Println(err)

	s := quota1.Snapshot()
	fmt.Println("first:", s.Held, "of", s.Limit)
	fmt.Println("second:", quota2.Snapshot().Held)

	ended, cancel := context.WithCancel(ctx)
	cancel() // the three leases are not released: do not wait for them
	pool1.Close(ended)
	fmt.Println(quota1.Close(ended))
	pool2.Close(ctx)
	fmt.Println(quota2.Close(ctx))
	// Output:
	// resource: acquire: resource: no resource within MaxWait
	// first: 3 of 3
	// second: 0
	// fleet: closed with 3 units in use: context canceled
	// <nil>
}

// All processes together begin at most 100 creations a second.
func ExampleNewDialRate() {
	rate, err := fleet.NewDialRate(fleet.RateConfig{Ledger: fleet.NewMemory(), Rate: "dials", Tokens: 100, Per: time.Second})
	if err != nil {
		log.Fatal(err)
	}
	defer rate.Close()
	pool, err := resource.New(resource.Config[string]{
		Make:     func(context.Context) (string, error) { return "session", nil },
		MaxSize:  10,
		MakeGate: rate,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close(context.Background())
	err = pool.Do(context.Background(), func(_ context.Context, session string) error {
		fmt.Println(session)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: session
}

// The fair shares of 10 units: a wants little, b has a minimum, c and d want all.
func ExampleTargets() {
	shares := []fleet.Share{{Holder: "a", Want: 1}, {Holder: "b", Want: 10, Min: 4}, {Holder: "c", Want: 10}, {Holder: "d", Want: 10}}
	fleet.Targets(10, shares)
	for _, s := range shares {
		fmt.Println(s.Holder, s.Target)
	}
	// Output:
	// a 1
	// b 4
	// c 3
	// d 2
}
