package cluster_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// asChild has the orders of a child process, which is the test binary started again.
const asChild = "RESPOOL_CLUSTER_CHILD"

func TestMain(m *testing.M) {
	if text, ok := os.LookupEnv(asChild); ok {
		os.Exit(beChild(text))
	}
	goleak.VerifyTestMain(m)
}
