package policytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// Time limits, on the clock of the bubble if there is one.
const (
	promptly  = time.Second      // for calls that must not block or whose context has ended
	patiently = 2 * time.Minute  // for calls that may wait, for example for a rate limit or a breaker
	tick      = time.Millisecond // the time given to goroutines to block
)

// virtualTime reports whether the clock is that of a testing/synctest bubble, which
// stands still while a goroutine runs and begins in the year 2000. It looks for both: a
// machine may have a coarse clock or a wrong one.
func virtualTime() bool {
	const reads = 100_000
	began := time.Now()
	if began.Year() > 2010 {
		return false
	}
	for range reads {
		if !time.Now().Equal(began) {
			return false
		}
	}
	return true
}

// subtest is one aspect of a contract.
type subtest struct {
	name string
	run  func(k *kit)
}

// kit is one run of one subtest.
type kit struct {
	testing.TB
	name   string // prefix of each message
	seed   uint64
	rand   *rand.Rand // for the goroutine of the subtest only
	bad    atomic.Bool
	errors atomic.Int32
	close  []func()
}

// run runs the subtests in order until one fails.
func run(t testing.TB, kind string, subtests ...subtest) {
	t.Helper()
	for _, s := range subtests {
		k := &kit{TB: t, name: kind + ", " + s.name, seed: seed(t)}
		k.rand = k.source(0)
		id, done := labelled(func() {
			defer k.closeAll()
			k.call(s.run)
		})
		<-done
		if !k.bad.Load() {
			k.wantNoGoroutines(id)
		}
		if k.bad.Load() {
			return
		}
	}
}

// call calls f. A panic in f is reported as a failure, since f calls the policy.
func (k *kit) call(f func(k *kit)) {
	defer func() {
		if v := recover(); v != nil {
			k.errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	f(k)
}

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

// source returns the i-th random source.
func (k *kit) source(i int) *rand.Rand { return rand.New(rand.NewPCG(k.seed, uint64(i))) }

// maxErrors bounds the messages of one subtest: a violation usually appears in all
// goroutines.
const maxErrors = 8

// errorf reports a violation. It may be called by any goroutine.
func (k *kit) errorf(format string, args ...any) {
	k.Helper()
	k.bad.Store(true)
	if k.errors.Add(1) > maxErrors {
		return
	}
	k.Errorf("%s (RESPOOL_SEED=%d): %s", k.name, k.seed, fmt.Sprintf(format, args...))
}

// fatalf reports a violation and ends the subtest. It must be called by the goroutine
// of the subtest.
func (k *kit) fatalf(format string, args ...any) {
	k.Helper()
	k.errorf(format, args...)
	runtime.Goexit()
}

// stopIfBad ends the subtest if a violation was reported.
func (k *kit) stopIfBad() {
	if k.bad.Load() {
		runtime.Goexit()
	}
}

// closeAtEnd calls the Close method of the policy, if it has one, at the end of the
// subtest.
func (k *kit) closeAtEnd(policy any) {
	c, ok := policy.(io.Closer)
	if !ok {
		return
	}
	k.close = append(k.close, func() {
		k.within(patiently, "Close", func() {
			if err := c.Close(); err != nil {
				k.errorf("Close: %v", err)
			}
		})
	})
}

func (k *kit) closeAll() {
	for _, f := range k.close {
		f()
	}
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

// must is within, and ends the subtest if f did not return in time.
func (k *kit) must(limit time.Duration, what string, f func()) {
	k.Helper()
	if !k.within(limit, what, f) {
		runtime.Goexit()
	}
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

// runSync calls f on a new goroutine and waits for it.
func runSync(f func()) (failure string) { return <-runAsync(f) }

// concurrently calls f on n goroutines, each with its own random source, and reports
// whether all returned within the limit.
func (k *kit) concurrently(n int, limit time.Duration, what string, f func(i int, r *rand.Rand)) bool {
	k.Helper()
	return k.within(limit, what, func() {
		all := make([]<-chan string, n)
		for i := range all {
			all[i] = runAsync(func() { f(i, k.source(i+1)) })
		}
		for _, ended := range all {
			if failure := <-ended; failure != "" {
				k.errorf("%s %s", what, failure)
			}
		}
	})
}

// wantGoodError checks an error that a policy returned: its methods must not panic, it
// must have a text, and its RetryAfter must not be negative.
func (k *kit) wantGoodError(what string, err error) {
	k.Helper()
	if failure := runSync(func() {
		if err.Error() == "" {
			k.errorf("%s returned an error without text, of type %T: the text must give the reason", what, err)
		}
		var r *resource.Rejection
		if errors.As(err, &r) && r.RetryAfter < 0 {
			k.errorf("%s returned a Rejection with RetryAfter %v: it must not be negative; 0 means unknown", what, r.RetryAfter)
		}
	}); failure != "" {
		k.errorf("%s returned an error of type %T whose methods cannot be called: Error, As or Unwrap %s", what, err, failure)
	}
}

// Goroutines inherit the profiler labels of the goroutine that starts them. A label
// therefore distinguishes the goroutines of a policy from all others.

const labelKey = "policytest"

var labels atomic.Int64

// labelled runs f on a new goroutine with the profiler label id. done is closed when f
// has ended, even by a panic or runtime.Goexit.
func labelled(f func()) (id string, done <-chan struct{}) {
	id = fmt.Sprint(labels.Add(1))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels(labelKey, id)))
		f()
	}()
	return id, ended
}

// wantNoGoroutines waits until the goroutines labelled id have ended, and reports those
// that do not.
func (k *kit) wantNoGoroutines(id string) {
	k.Helper()
	var left string
	for pause := tick; pause < promptly; pause *= 2 {
		if left = goroutines(id); left == "" {
			return
		}
		time.Sleep(pause)
	}
	k.errorf("goroutines are left behind (a policy that needs them for its whole life must have a method Close() error):\n%s", left)
}

// goroutines returns the stacks of the goroutines labelled id.
func goroutines(id string) string {
	var all bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&all, 1); err != nil {
		return err.Error()
	}
	label := fmt.Sprintf("%q:%q", labelKey, id)
	var left []string
	for stack := range strings.SplitSeq(all.String(), "\n\n") {
		if strings.Contains(stack, label) {
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n")
}
