package servers

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

// parallel is the number of concurrent tests per processor.
const parallel = 3

func TestMain(m *testing.M) {
	switch name := os.Getenv(asServer); name {
	case "":
	case viaProxy:
		os.Exit(goThroughProxy())
	default:
		os.Exit(serve(name))
	}
	// Most tests wait for a server that starts, stops, or is silent.
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "test.parallel" })
	if !asked {
		flag.Set("test.parallel", strconv.Itoa(parallel*runtime.GOMAXPROCS(0)))
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
