package servers

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	switch name := os.Getenv(asServer); name {
	case "":
	case viaProxy:
		os.Exit(goThroughProxy())
	default:
		os.Exit(serve(name))
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		if npm.dir != "" {
			if err := os.RemoveAll(npm.dir); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
		os.Exit(status)
	}))
}

func number(t testing.TB, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
