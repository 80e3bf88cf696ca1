package wspool_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// asChild is set in the environment of a process that the tests have started from
// their own binary: it says what that is to do.
const asChild = "RESPOOL_CHILD"

// children are what there is to do.
var children = map[string]func() error{}

// TestMain fails if any test leaves a goroutine behind.
func TestMain(m *testing.M) {
	if name := os.Getenv(asChild); name != "" {
		if err := children[name](); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
