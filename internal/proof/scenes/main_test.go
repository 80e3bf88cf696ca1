package scenes_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds events that must happen. No successful test waits for it to pass.
const patience = 20 * time.Second

// size is the number of connections of a scene.
func size() int {
	if testing.Short() {
		return 20
	}
	return 200
}

// until polls ok.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for by := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(by) {
			t.Fatalf("not true after %v: %s", patience, what)
		}
	}
}

// spread formats the distribution of durations.
func spread(took []time.Duration) string {
	slices.Sort(took)
	at := func(percent int) time.Duration {
		return took[(len(took)-1)*percent/100].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("p50 %v, p99 %v, max %v", at(50), at(99), at(100))
}
