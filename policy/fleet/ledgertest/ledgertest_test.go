package ledgertest_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/policy/fleet/ledgertest"
)

// harness is one around the plain engine. own gives the engine a clock of its own.
func harness(e *engine, own bool) ledgertest.Harness {
	h := ledgertest.Harness{
		Open: func() fleet.Ledger { return rated{&client{e: e}} },
		Lose: e.lose,
		Stall: func() (resume func()) {
			c := make(chan struct{})
			e.mu.Lock()
			e.stall = c
			e.mu.Unlock()
			return func() {
				e.mu.Lock()
				e.stall = nil
				e.mu.Unlock()
				close(c)
			}
		},
		Broken:  map[string]fleet.Ledger{"a wrong password": &client{e: e, fail: errPassword}},
		Secrets: []string{"hunter2"},
		Claims:  500,
	}
	switch e.fault {
	case "shows the password":
		h.Broken["a wrong password"] = &client{e: e, fail: fmt.Errorf("dial redis://user:hunter2@host: %w", errPassword)}
	case "accepts any password":
		h.Broken["a wrong password"] = &client{e: e}
	}
	if own {
		e.fixed = true
		h.Advance = e.advance
	}
	return h
}

var errPassword = fmt.Errorf("wrong password")

func TestRun(t *testing.T) {
	for _, own := range []bool{false, true} {
		t.Run(fmt.Sprintf("own clock %v", own), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEngine("")
				ledgertest.Run(t, func(testing.TB) ledgertest.Harness { return harness(e, own) })
			})
		})
	}
}

func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := fleet.NewMemory()
		ledgertest.Run(t, func(testing.TB) ledgertest.Harness {
			return ledgertest.Harness{Open: func() fleet.Ledger { return m }, Lose: m.Forget}
		})
	})
}

// Without optional parts of the harness, and in real time.
func TestRunRealTime(t *testing.T) {
	e := newEngine("a counter")
	ledgertest.Run(t, func(testing.TB) ledgertest.Harness {
		return ledgertest.Harness{Open: e.open, Lease: 100 * time.Millisecond, Late: 30 * time.Millisecond, Claims: 200}
	})
}

// A check whose leases end while it runs says nothing about the ledger: it is repeated.
func TestSlowMachine(t *testing.T) {
	for _, c := range []struct {
		slow int
		says string
	}{
		{80, ""},
		{1 << 30, "ledger, learning (RESPOOL_SEED="},
	} {
		synctest.Test(t, func(t *testing.T) {
			e := newEngine("")
			e.slow = c.slow
			r := &recorder{TB: t}
			ledgertest.Run(r, func(testing.TB) ledgertest.Harness {
				return ledgertest.Harness{Open: e.open, Claims: 100}
			})
			if said := r.all(); !strings.HasPrefix(said, c.says) || (said == "") != (c.says == "") {
				t.Errorf("%d slow claims: %q, want %q", c.slow, said, c.says)
			}
			if said := r.all(); c.says != "" && !strings.Contains(said, "not checked: in each of 5 attempts the machine was too slow for leases of 1s") {
				t.Errorf("the failure is %s", said)
			}
		})
	}
}

// recorder is a testing.TB that records errors.
type recorder struct {
	testing.TB
	mu   sync.Mutex
	msgs []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.msgs = append(r.msgs, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatal(args ...any) {
	r.Errorf("%s", fmt.Sprint(args...))
	runtime.Goexit()
}

func (r *recorder) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.msgs, "\n")
}

// Each ledger breaks one rule, and the kit names it.
func TestWrongLedgers(t *testing.T) {
	for _, c := range []struct{ fault, rule, says string }{
		{"never learns", "learning", "was granted 5, want 3: the ledger had no record of the quota"},
		{"learns with each claim", "learning", "the lease of the first claim has ended"},
		{"forgets what is held", "expiry by the engine's clock", "Total 1"},
		{"grows beyond its target", "growth stops at the target", "growth stops at the target of 5"},
		{"accepts anything", "invalid claims are refused", "want fleet.ErrClaim"},
		{"Next is late", "random claims, as the model", "Next is"},
		{"never leaves", "join, grow, shrink and leave", "Holders"},
		{"forgets a quota that all left", "a claim is absolute", "want 2: nothing else is granted"},
		{"one too many", "join, grow, shrink and leave", "the limit leaves 4"},
		{"the holders' units, not grants", "a claim is absolute", "Total 5"},
		{"cuts what is held", "what a holder has is recorded", "was granted 10, want 15"},
		{"incremental", "a claim is absolute", "its repetition with the next Seq changes nothing"},
		{"no Seq", "stale claims are refused", "want fleet.ErrStale"},
		{"repeats a Seq", "stale claims are refused", "want fleet.ErrStale"},
		{"an unnamed error", "stale claims are refused", `"too old", want fleet.ErrStale`},
		{"each its own limit", "the smallest limit", "Limit 20 and Highest 20, want 10 and 20"},
		{"one quota for all", "quotas are separate", "older than one"},
		{"fence repeats", "the fence grows", "it must be larger in each grant"},
		{"client clock", "expiry by the engine's clock", "ended by the engine's clock"},
		{"never forgets", "expiry by the engine's clock", "ended by the engine's clock"},
		{"forgets early", "expiry by the engine's clock", "no lease has ended"},
		{"keeps the first lease", "expiry by the engine's clock", "a renewal"},
		{"stale claims renew", "expiry by the engine's clock", "are live, want 2"},
		{"counter drift", "expiry by the engine's clock", "want"},
		{"equal parts", "fair targets", "equal parts"},
		{"no minimums", "fair targets", "a minimum is given before parts"},
		{"no priorities", "fair targets", "a larger priority is satisfied first"},
		{"deaf to its context", "the context ends a claim", "has not returned after"},
		{"shows the password", "errors", "shows a secret: dial redis://user:(the secret)@host"},
		{"accepts any password", "errors", "a claim with a wrong password was granted"},
		{"a bucket without a bottom", "rates", "want 4"},
		{"rounds tokens up", "rates", "want at most"},
		{"early retries", "rates", "no token was there after RetryAfter"},
	} {
		t.Run(c.fault, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEngine(c.fault)
				r := &recorder{TB: t}
				ledgertest.Run(r, func(testing.TB) ledgertest.Harness { return harness(e, true) })
				said := r.all()
				if said == "" {
					t.Fatal("the kit found nothing wrong")
				}
				if want := "ledger, " + c.rule + " (RESPOOL_SEED="; !strings.HasPrefix(said, want) || !strings.Contains(said, c.says) {
					t.Errorf("want a failure of the rule %q that says %q, got\n%s", c.rule, c.says, said)
				}
				if testing.Verbose() {
					t.Log(said)
				}
			})
		})
	}
}
