package isolation_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seed returns RESPOOL_SEED, or a random seed, and logs it. It repeats the random choices
// of a run, but not its interleaving.
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

// stressTime is the duration of the test in real time: RESPOOL_STRESS, or two seconds.
func stressTime(t *testing.T) time.Duration {
	t.Helper()
	s, set := os.LookupEnv("RESPOOL_STRESS")
	if !set {
		return 2 * time.Second
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("RESPOOL_STRESS: %v", err)
	}
	return d
}

// stressLeases is RESPOOL_LEASES: the number of leases to complete, whatever the time
// (see the -timeout of go test); 0: as many as the time allows.
func stressLeases(t *testing.T) int64 {
	t.Helper()
	s, set := os.LookupEnv("RESPOOL_LEASES")
	if !set {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		t.Fatalf("RESPOOL_LEASES is %q", s)
	}
	return n
}
