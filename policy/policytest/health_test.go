package policytest_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy/policytest"
	"github.com/respool/respool/resource"
)

// inPool reports whether a function of package resource is on the call stack.
func inPool() bool {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for more := true; more; {
		var f runtime.Frame
		if f, more = frames.Next(); strings.HasPrefix(f.Function, "github.com/respool/respool/resource.") {
			return true
		}
	}
	return false
}

// probe is a correct Health that takes some time. Its fields introduce faults.
type probe struct {
	check func(ctx context.Context, v int) error
	due   func(i resource.Info) bool
}

var errDead = errors.New("dead")

func (p *probe) Check(ctx context.Context, v int, i resource.Info) error {
	if p.check != nil {
		return p.check(ctx, v)
	}
	return ping(ctx, v)
}

// ping takes a millisecond.
func ping(ctx context.Context, v int) error {
	timer := time.NewTimer(moment)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if v == 0 {
		return errDead
	}
	return nil
}

func (p *probe) Due(i resource.Info) bool { return p.due == nil || p.due(i) }

// values returns a function that counts from 1.
func values() func() int {
	var n atomic.Int64
	return func() int { return int(n.Add(1)) }
}

func TestHealth_Sound(t *testing.T) {
	check := func(t *testing.T) {
		policytest.Health(t, func() resource.Health[int] { return &probe{} }, values())
		policytest.Health(t, func() resource.Health[int] {
			return &probe{due: func(i resource.Info) bool { return i.Idle > 4*moment }}
		}, values())
	}
	synctest.Test(t, check)
	t.Run("in real time", check)
}

func TestHealth_Broken(t *testing.T) {
	of := func(make func(free <-chan struct{}) *probe) func(testing.TB, <-chan struct{}) {
		return func(t testing.TB, free <-chan struct{}) {
			policytest.Health(t, func() resource.Health[int] { return make(free) }, values())
		}
	}
	check := func(f func(ctx context.Context, v int) error) func(testing.TB, <-chan struct{}) {
		return of(func(<-chan struct{}) *probe { return &probe{check: f} })
	}
	var busy atomic.Int32
	wantFailures(t, []broken{
		{"nil", []string{"new returned nil"}, func(t testing.TB, _ <-chan struct{}) {
			policytest.Health(t, func() resource.Health[int] { return nil }, values())
		}},
		{"fails good ones", []string{"Check of a good value", "failed: dead"}, check(func(context.Context, int) error { return errDead })},
		{"passes each once", []string{"Check of a good value", "failed: dead"}, of(func(<-chan struct{}) *probe {
			seen := make(map[int]bool)
			return &probe{check: func(_ context.Context, v int) error {
				defer func() { seen[v] = true }()
				if seen[v] {
					return errDead
				}
				return nil
			}}
		})},
		{"panics", []string{"Check of a good value", "panicked: oops"}, check(func(context.Context, int) error { panic("oops") })},
		{"ignores its context", []string{"whose context ends during the check has not returned after 1.0"}, of(func(free <-chan struct{}) *probe {
			return &probe{check: func(ctx context.Context, _ int) error {
				if _, ends := ctx.Deadline(); ends && ctx.Err() == nil {
					<-free
				}
				return nil
			}}
		})},
		{"ignores an ended context", []string{"a context that has ended has not returned after 1s"}, of(func(free <-chan struct{}) *probe {
			return &probe{check: func(ctx context.Context, _ int) error {
				if ctx.Err() != nil {
					<-free
				}
				return nil
			}}
		})},
		{"error that panics", []string{"methods cannot be called"}, check(func(ctx context.Context, _ int) error {
			if ctx.Err() != nil {
				return (*resource.Rejection)(nil)
			}
			return nil
		})},
		{"Due blocks", []string{"Due({ID:", "has not returned after 1s"}, of(func(free <-chan struct{}) *probe {
			return &probe{due: func(resource.Info) bool { <-free; return true }}
		})},
		{"Due panics", []string{"Due({ID:", "divide by zero"}, of(func(free <-chan struct{}) *probe {
			return &probe{due: func(i resource.Info) bool { return 1/(i.Failures+1) > 0 }}
		})},
		{"one at a time", []string{"during concurrent checks"}, check(func(ctx context.Context, v int) error {
			defer busy.Add(-1)
			if busy.Add(1) > 1 {
				return errDead
			}
			return ping(ctx, v)
		})},
		{"fails in a pool", []string{"a pool destroyed a good value: dead"}, check(func(ctx context.Context, v int) error {
			if inPool() {
				return errDead
			}
			return nil
		})},
		{"leaves a goroutine", []string{"goroutines are left behind", "health_test.go"}, of(func(free <-chan struct{}) *probe {
			go func() { <-free }()
			return &probe{}
		})},
	})
}
