package isolation_test

import (
	"os"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
