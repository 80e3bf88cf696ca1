package ledgertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/policy/fleet"
)

// Time limits, on the clock of the bubble if there is one.
const (
	patience = 30 * time.Second // for a claim whose engine answers
	overrun  = 5 * time.Second  // how much later than the end of its context a claim may return
)

// kit is one run of one check.
type kit struct {
	testing.TB
	h      Harness
	rule   string // prefix of each message
	prefix string // of the quotas of the run: an engine may have others
	seed   uint64
	rand   *rand.Rand // for the goroutine of the check only
	bad    atomic.Bool
	errors atomic.Int32
	client []fleet.Ledger // two clients of the engine
	claims atomic.Uint64  // made so far: selects the client
	passed time.Duration  // on the engine's clock, if it is advanced

	// If the engine runs in real time, a failure after the instant valid shows nothing about the
	// ledger: the machine was too slow for the leases of the check. The check is repeated.
	valid time.Time
	slow  bool
}

// maxErrors bounds the messages of one check: a violation usually appears in all
// goroutines.
const maxErrors = 8

// errorf reports a violation. It may be called by any goroutine.
func (k *kit) errorf(format string, args ...any) {
	k.Helper()
	k.bad.Store(true)
	if k.errors.Add(1) > maxErrors {
		return
	}
	k.Errorf("ledger, %s (RESPOOL_SEED=%d): %s", k.rule, k.seed, fmt.Sprintf(format, args...))
}

// fatalf reports a violation and ends the check. It must be called by the goroutine of
// the check.
func (k *kit) fatalf(format string, args ...any) {
	k.Helper()
	if k.slow = !k.valid.IsZero() && time.Now().After(k.valid); !k.slow {
		k.errorf(format, args...)
	}
	runtime.Goexit()
}

// validFor sets valid to d from now: the following steps must be done by then. 0 removes the bound.
func (k *kit) validFor(d time.Duration) {
	switch {
	case d == 0 || k.h.Advance != nil:
		k.valid = time.Time{}
	default:
		k.valid = time.Now().Add(d)
	}
}

// source returns the i-th random source.
func (k *kit) source(i int) *rand.Rand { return rand.New(rand.NewPCG(k.seed, uint64(i))) }

// seed returns RESPOOL_SEED, or a random seed.
func seed(t testing.TB) uint64 {
	s, set := os.LookupEnv("RESPOOL_SEED")
	if !set {
		return rand.Uint64()
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Errorf("RESPOOL_SEED: %v", err)
	}
	return n
}

// runAsync calls f on a new goroutine. The channel receives a description of how f
// ended; it is empty if f returned.
func runAsync(f func()) <-chan string {
	ended := make(chan string, 1)
	go func() {
		failure := "ended its goroutine instead of returning"
		defer func() { ended <- failure }()
		defer func() {
			if v := recover(); v != nil {
				failure = fmt.Sprintf("panicked: %v\n%s", v, debug.Stack())
			}
		}()
		f()
		failure = ""
	}()
	return ended
}

// within calls f and reports whether it returned within the limit. Otherwise it reports
// a failure; what names the call.
func (k *kit) within(limit time.Duration, what string, f func()) bool {
	k.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case failure := <-runAsync(f):
		if failure != "" {
			k.errorf("%s %s", what, failure)
		}
		return failure == ""
	case <-timer.C:
		k.errorf("%s has not returned after %v", what, limit)
		return false
	}
}

// pass lets d pass on the engine's clock.
func (k *kit) pass(d time.Duration) {
	if k.h.Advance != nil {
		k.h.Advance(d)
		k.passed += d
		return
	}
	time.Sleep(d)
}

// expire lets a lease of d end, and waits until noticed returns true, which shows that the engine
// has forgotten the holder, or until Harness.Late is over.
func (k *kit) expire(d time.Duration, noticed func() bool) {
	k.pass(d + k.h.Lease/50)
	step := max(k.h.Late/50, 10*time.Millisecond)
	for late := time.Duration(0); late < k.h.Late && !noticed(); late += step {
		k.pass(step)
	}
}

// quota returns the name of a quota of this run.
func (k *kit) quota(name string) string { return k.prefix + name }

// holder makes the claims of one holder, and counts their Seq. Its methods must be called
// by one goroutine at a time.
type holder struct {
	k    *kit
	next fleet.Claim // the next claim but for Has, Want and Seq
}

// holder returns a holder of the quota with long leases.
func (k *kit) holder(quota, name string, limit int) *holder {
	return &holder{k, fleet.Claim{Quota: k.quota(quota), Holder: name, Limit: limit, Lease: k.h.long()}}
}

// claim makes the next claim of the holder. An error fails the check: the engine answers.
func (h *holder) claim(has, want int) fleet.Grant {
	h.k.Helper()
	h.next.Seq++
	h.next.Has, h.next.Want = has, want
	g, err := h.k.send(h.next)
	if err != nil {
		h.k.fatalf("%s failed: %v", show(h.next), err)
	}
	return g
}

// wants makes the next claim and checks what is granted.
func (h *holder) wants(has, want, granted int, why string) fleet.Grant {
	h.k.Helper()
	g := h.claim(has, want)
	if g.Granted != granted {
		h.k.fatalf("%s was granted %d, want %d: %s\n%s", show(h.next), g.Granted, granted, why, showGrant(g))
	}
	return g
}

// send makes one claim with one of the clients, in turns: what one client did must be
// seen by the other.
func (k *kit) send(c fleet.Claim) (g fleet.Grant, err error) {
	k.Helper()
	l := k.client[k.claims.Add(1)%uint64(len(k.client))]
	g, err, ok := k.try(context.Background(), patience, show(c), l, c)
	if !ok {
		runtime.Goexit()
	}
	return g, err
}

// try makes a copy of one claim with the client l, and reports whether it returned within the
// limit. what describes it. A claim that has not returned may return at any time later: it
// shares nothing with the caller.
func (k *kit) try(ctx context.Context, limit time.Duration, what string, l fleet.Ledger, c fleet.Claim) (fleet.Grant, error, bool) {
	k.Helper()
	type answer struct {
		g   fleet.Grant
		err error
	}
	answers := make(chan answer, 1)
	if !k.within(limit, what, func() {
		g, err := l.Claim(ctx, c)
		answers <- answer{g, err}
	}) {
		return fleet.Grant{}, nil, false
	}
	a := <-answers
	return a.g, a.err, true
}

// show describes a claim without the prefix of the run.
func show(c fleet.Claim) string {
	s := fmt.Sprintf("the claim of %s (Seq %d, Has %d, Want %d, Limit %d, Lease %v", c.Holder, c.Seq, c.Has, c.Want, c.Limit, c.Lease)
	if c.Min != 0 {
		s += fmt.Sprintf(", Min %d", c.Min)
	}
	if c.Priority != 0 {
		s += fmt.Sprintf(", Priority %d", c.Priority)
	}
	return s + ")"
}

func showGrant(g fleet.Grant) string { return fmt.Sprintf("grant: %+v", g) }
