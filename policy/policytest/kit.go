package policytest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// How long things may take, on the clock of the bubble if there is one.
const (
	prompt   = time.Second      // what must not block, and what must end with its context
	patience = 2 * time.Minute  // what may take its time: a rate, a breaker's delay
	moment   = time.Millisecond // how long those that wait are given to begin
)

// virtualTime reports whether the clock is that of a bubble of testing/synctest:
// it stands still while a goroutine runs, and begins in the year 2000. Each sign
// alone could be a machine's with a coarse clock, or with a wrong one.
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

// kit is one check of one policy.
type kit struct {
	testing.TB
	name   string // of the check: each message begins with it
	seed   uint64
	rand   *rand.Rand // for the check's own goroutine only
	bad    atomic.Bool
	errors atomic.Int32
	close  []func()
}

// check is one thing that is checked.
type check struct {
	name string
	run  func(k *kit)
}

// run runs the checks one after the other until one fails.
func run(t testing.TB, kind string, checks ...check) {
	t.Helper()
	for _, c := range checks {
		k := &kit{TB: t, name: kind + ", " + c.name, seed: seed(t)}
		k.rand = k.source(0)
		id, done := label(func() {
			defer k.closeAll()
			k.call(c.run)
		})
		<-done
		if !k.bad.Load() {
			k.wantNoneLeft(id)
		}
		if k.bad.Load() {
			return
		}
	}
}

// call calls f with k. What f panics with is an error of the check: it calls
// code that is not ours.
func (k *kit) call(f func(k *kit)) {
	defer func() {
		if v := recover(); v != nil {
			k.errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	f(k)
}

// seed is RESPOOL_SEED, or a new one.
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

// source returns the i-th source of chance.
func (k *kit) source(i int) *rand.Rand { return rand.New(rand.NewPCG(k.seed, uint64(i))) }

// maxErrors is how often one check complains: what goes wrong goes wrong for
// all the goroutines of a crowd.
const maxErrors = 8

// errorf reports a broken promise. Any goroutine may call it.
func (k *kit) errorf(format string, args ...any) {
	k.Helper()
	k.bad.Store(true)
	if k.errors.Add(1) > maxErrors {
		return
	}
	k.Errorf("%s (RESPOOL_SEED=%d): %s", k.name, k.seed, fmt.Sprintf(format, args...))
}

// fatalf reports a broken promise and ends the check, whose goroutine calls it.
func (k *kit) fatalf(format string, args ...any) {
	k.Helper()
	k.errorf(format, args...)
	runtime.Goexit()
}

// stopIfBad ends the check if a promise was broken.
func (k *kit) stopIfBad() {
	if k.bad.Load() {
		runtime.Goexit()
	}
}

// closes calls the Close of a policy when the check has ended, if it has one.
func (k *kit) closes(policy any) {
	c, ok := policy.(io.Closer)
	if !ok {
		return
	}
	k.close = append(k.close, func() {
		k.within(patience, "Close", func() {
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

// within calls f and reports whether it returned in time. What else it does is
// reported, with what says which call that is.
func (k *kit) within(limit time.Duration, what string, f func()) bool {
	k.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case how := <-start(f):
		if how != "" {
			k.errorf("%s %s", what, how)
		}
		return how == ""
	case <-timer.C:
		k.errorf("%s has not returned after %v", what, limit)
		return false
	}
}

// start calls f on a goroutine of its own. What it returns tells how that ended,
// unless f returned: then it is empty.
func start(f func()) <-chan string {
	how := make(chan string, 1)
	go func() {
		end := "ended its goroutine instead of returning"
		defer func() { how <- end }()
		defer func() {
			if v := recover(); v != nil {
				end = fmt.Sprintf("panicked: %v\n%s", v, debug.Stack())
			}
		}()
		f()
		end = ""
	}()
	return how
}

// watch calls f on a goroutine of its own and waits for it.
func watch(f func()) (how string) { return <-start(f) }

// must is within, and ends the check if f did not return in time.
func (k *kit) must(limit time.Duration, what string, f func()) {
	k.Helper()
	if !k.within(limit, what, f) {
		runtime.Goexit()
	}
}

// wantGoodError looks at an error that a policy returned: that its text can be
// had, and that what it says of waiting makes sense.
func (k *kit) wantGoodError(what string, err error) {
	k.Helper()
	if how := watch(func() {
		if err.Error() == "" {
			k.errorf("%s returned an error without text, of type %T: whoever sees it must learn why", what, err)
		}
		var r *resource.Rejection
		if errors.As(err, &r) && r.RetryAfter < 0 {
			k.errorf("%s returned a Rejection with RetryAfter %v: it must not be negative; 0 means not known", what, r.RetryAfter)
		}
	}); how != "" {
		k.errorf("%s returned an error of type %T whose methods can not be called: Error, As or Unwrap %s", what, err, how)
	}
}

// crowd runs f on n goroutines at once, each with its own source of chance,
// and reports whether all returned in time.
func (k *kit) crowd(n int, limit time.Duration, what string, f func(i int, r *rand.Rand)) bool {
	k.Helper()
	return k.within(limit, what, func() {
		all := make([]<-chan string, n)
		for i := range all {
			all[i] = start(func() { f(i, k.source(i+1)) })
		}
		for _, ended := range all {
			if how := <-ended; how != "" {
				k.errorf("%s %s", what, how)
			}
		}
	})
}
