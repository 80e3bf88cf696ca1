package resource_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain ends the binary early where an example has started it as its
// worker; else no test may leave a goroutine behind.
func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) != "" {
		work(os.Stdin, os.Stdout)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
