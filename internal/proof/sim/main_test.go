package sim_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/respool/respool/internal/proof/testkit"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source returns a random source with the seed RESPOOL_SEED, or a random seed, and logs it.
func source(t *testing.T) *rand.Rand {
	t.Helper()
	return rand.New(rand.NewPCG(testkit.Seed(t), 0))
}

// table is the result of a test, one row per alternative.
type table struct{ rows [][]any }

func (b *table) add(cells ...any) { b.rows = append(b.rows, cells) }

// log logs the table with rounded durations.
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

// quantile returns the q-quantile of all; 0 if all is empty.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// instant returns the i-th of many instants within a millisecond: the order of goroutines
// that wake at the same virtual instant is undefined.
func instant(i int) time.Duration { return time.Duration(i) * time.Microsecond }
