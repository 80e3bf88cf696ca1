package compose_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// The default of 100 histories is low for their cost. The command line and
	// RAPID_CHECKS take precedence.
	if _, set := os.LookupEnv("RAPID_CHECKS"); !set {
		if err := flag.Set("rapid.checks", "5000"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	goleak.VerifyTestMain(m)
}

// seed returns RESPOOL_SEED, or a random seed, and logs it.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := rand.Uint64()
	if s, set := os.LookupEnv("RESPOOL_SEED"); set {
		v, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("RESPOOL_SEED: %v", err)
		}
		n = v
	}
	t.Logf("RESPOOL_SEED=%d", n)
	return n
}
