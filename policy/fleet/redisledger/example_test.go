package redisledger_test

import (
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/policy/fleet/redisledger"
)

// Two processes share 10 units of a quota; they are two holders here. A fleet.Quota makes such
// claims in the background.
func Example() {
	server, err := miniredis.Run() // in place of a Redis server
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	ledger, err := redisledger.Open(&redis.UniversalOptions{
		Addrs:       []string{server.Addr()},
		ReadTimeout: 10 * time.Second, // a busy machine may run this
	}, redisledger.Options{Timeout: 20 * time.Second})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ledger.Close()

	claim := func(holder string, seq uint64, has, want int) {
		grant, err := ledger.Claim(context.Background(), fleet.Claim{
			Quota: "provider", Holder: holder, Seq: seq, Has: has, Want: want, Limit: 10, Lease: time.Hour,
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s: granted %d of %d, target %d, learning %v\n", holder, grant.Granted, grant.Limit, grant.Target, grant.Learning)
	}
	// The server does not know the quota and may have lost it, so it grants nothing new at first.
	claim("a", 1, 4, 8)
	claim("b", 1, 3, 8)
	// Output:
	// a: granted 4 of 10, target 8, learning true
	// b: granted 3 of 10, target 5, learning true
}
