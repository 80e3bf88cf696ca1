package sim_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source is chance with the seed RESPOOL_SEED, or a new one, which is logged.
func source(t *testing.T) *rand.Rand {
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
	return rand.New(rand.NewPCG(n, 0))
}

// table is what a test saw, one row for each way to do it.
type table struct{ rows [][]any }

func (b *table) add(cells ...any) { b.rows = append(b.rows, cells) }

// log logs the table. Durations are rounded.
func (b *table) log(t *testing.T) {
	t.Helper()
	var s strings.Builder
	w := tabwriter.NewWriter(&s, 0, 0, 2, ' ', 0)
	for _, row := range b.rows {
		for i, c := range row {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			if d, ok := c.(time.Duration); ok {
				c = d.Round(10 * time.Microsecond)
			}
			fmt.Fprint(w, c)
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	t.Log("\n" + s.String())
}

// quantile returns the q-th quantile of all, 0 if there are none.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// instant is the i-th of many instants within a millisecond: goroutines that
// wake at the same virtual instant run in no order.
func instant(i int) time.Duration { return time.Duration(i) * time.Microsecond }
