package claim_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/internal/claim"
)

func TestStressOwners(t *testing.T) {
	seed, lasts := seed(t), 200*time.Millisecond
	if s, set := os.LookupEnv("RESPOOL_STRESS"); set {
		var err error
		if lasts, err = time.ParseDuration(s); err != nil {
			t.Fatalf("RESPOOL_STRESS: %v", err)
		}
	}
	f := &fight{make: func() word { return new(claim.Word) }}
	start := time.Now()
	f.run(seed, func(rounds int) bool {
		return rounds >= 20_000 && time.Since(start) >= lasts || f.first.Load() != nil
	})
	if why := f.first.Load(); why != nil {
		t.Fatalf("%d double holds, %d other faults; first: %s", f.doubles.Load(), f.faults.Load(), *why)
	}
	for what := range f.counts {
		if f.counts[what].Load() == 0 {
			t.Errorf("operation %d never happened: %v", what, &f.counts)
		}
	}
}

// Mutants: each lets two have one thing.
type (
	returnsStale struct{ claim.Word }
	endsStale    struct{ claim.Word }
	claimsTaken  struct{ claim.Word }
	takesTaken   struct{ claim.Word }
)

func (w *returnsStale) Return(_ uint64, tick int64) bool {
	return w.Word.Return(uint64(w.Load().Leases), tick)
}

func (w *endsStale) End(uint64) bool { return w.Word.End(uint64(w.Load().Leases)) }

func (w *claimsTaken) Claim() bool { return w.Word.Claim() || w.Load().Leased }

func (w *takesTaken) Take(clock *atomic.Int64) (uint64, int64, bool) {
	if s := w.Load(); s.Leased {
		return uint64(s.Leases), 0, true
	}
	return w.Word.Take(clock)
}

// TestSwapSeesMutants shows that the owner swap would see a double hold.
func TestSwapSeesMutants(t *testing.T) {
	for name, make := range map[string]func() word{
		"a stale lease returns": func() word { return new(returnsStale) },
		"a stale lease ends":    func() word { return new(endsStale) },
		"leased, and claimed":   func() word { return new(claimsTaken) },
		"leased, and taken":     func() word { return new(takesTaken) },
	} {
		t.Run(name, func(t *testing.T) {
			f := &fight{make: make, mutant: true}
			const most = 1 << 20
			f.run(seed(t), func(rounds int) bool { return f.doubles.Load() > 0 || rounds >= most })
			if f.doubles.Load() == 0 {
				t.Errorf("no double hold seen in %d rounds", most)
			}
		})
	}
}

// seed is RESPOOL_SEED, or a new one. It replays the choices, not the scheduler's.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := rand.Uint64()
	if s, set := os.LookupEnv("RESPOOL_SEED"); set {
		var err error
		if n, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("RESPOOL_SEED: %v", err)
		}
	}
	t.Logf("seed %d", n)
	return n
}
