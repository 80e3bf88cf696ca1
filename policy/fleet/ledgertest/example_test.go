package ledgertest_test

import (
	"fmt"
	"time"

	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/policy/fleet/ledgertest"
)

// A program of its own, such as a simulation, can ask the model what a ledger must answer.
func ExampleModel() {
	var m ledgertest.Model
	claim := func(now time.Duration, holder string, seq uint64, has, want int) {
		g, err := m.Claim(now, fleet.Claim{Quota: "q", Holder: holder, Seq: seq, Has: has, Want: want, Limit: 10, Lease: 10 * time.Second})
		if err != nil {
			fmt.Println(holder, err)
			return
		}
		fmt.Printf("%v: %s has %d of %d, learning %v\n", now, holder, g.Granted, g.Limit, g.Learning)
	}
	claim(0, "a", 1, 2, 8)
	claim(9*time.Second, "a", 2, 2, 8)
	claim(10*time.Second, "a", 3, 2, 8)
	claim(11*time.Second, "b", 1, 0, 8)
	claim(11*time.Second, "a", 3, 8, 8)
	claim(20*time.Second, "b", 2, 2, 8)
	// Output:
	// 0s: a has 2 of 10, learning true
	// 9s: a has 2 of 10, learning true
	// 10s: a has 8 of 10, learning false
	// 11s: b has 2 of 10, learning false
	// a fleet: claim is older than one that the ledger has seen
	// 20s: b has 8 of 10, learning false
}
