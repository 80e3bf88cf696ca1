package policytest_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy/policytest"
	"github.com/respool/respool/resource"
)

type evictFunc func(i resource.Info) error

func (f evictFunc) Evict(i resource.Info) error { return f(i) }

var errOld = errors.New("old")

// maxAge is a sound Eviction with jitter.
func maxAge(i resource.Info) error {
	if float64(i.Age) > float64(time.Hour)*(1-0.5*i.Jitter) {
		return errOld
	}
	return nil
}

func TestEviction_Sound(t *testing.T) {
	for name, f := range map[string]evictFunc{
		"never": func(resource.Info) error { return nil },
		"age":   maxAge,
		"used":  func(i resource.Info) error { return errorIf(i.Leases >= 1) },
		"idle":  func(i resource.Info) error { return errorIf(i.Idle > moment) },
	} {
		synctest.Test(t, func(t *testing.T) {
			policytest.Eviction(t, func() resource.Eviction { return f })
		})
		t.Run(name+" in real time", func(t *testing.T) {
			policytest.Eviction(t, func() resource.Eviction { return f })
		})
	}
}

const moment = time.Millisecond

func errorIf(yes bool) error {
	if yes {
		return errOld
	}
	return nil
}

// keepsClock is an Eviction that begins to evict when it is d old.
func keepsClock(d time.Duration) func(<-chan struct{}) evictFunc {
	return func(<-chan struct{}) evictFunc {
		began := time.Now()
		return func(i resource.Info) error { return errorIf(i.Age > 0 && time.Since(began) > d) }
	}
}

// In real time a clock is found as far as the check can wait.
func TestEviction_KeepsClockInRealTime(t *testing.T) {
	r := &recorder{TB: t}
	policytest.Eviction(r, func() resource.Eviction { return keepsClock(200 * moment)(nil) })
	if said := r.all(); !strings.Contains(said, "then, 250ms later,") {
		t.Errorf("the kit said %q", said)
	}
}

// A setting that only its user changes is no clock: see examples/custompolicy.
func TestEviction_Setting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policytest.Eviction(t, func() resource.Eviction {
			var upTo atomic.Uint64
			upTo.Store(1) // the Info of a new resource has the ID 1
			return evictFunc(func(i resource.Info) error { return errorIf(i.ID < upTo.Load()) })
		})
	})
}

func TestEviction_Broken(t *testing.T) {
	of := func(make func(free <-chan struct{}) evictFunc) func(testing.TB, <-chan struct{}) {
		return func(t testing.TB, free <-chan struct{}) {
			policytest.Eviction(t, func() resource.Eviction { return make(free) })
		}
	}
	plain := func(f evictFunc) func(testing.TB, <-chan struct{}) {
		return of(func(<-chan struct{}) evictFunc { return f })
	}
	wantComplaints(t, []broken{
		{"nil", []string{"new returned nil"}, func(t testing.TB, _ <-chan struct{}) {
			policytest.Eviction(t, func() resource.Eviction { return nil })
		}},
		{"evicts all", []string{"just made is evicted", "old"}, plain(func(resource.Info) error { return errOld })},
		{"jitter to zero", []string{"just made is evicted", "Jitter:0.9"}, plain(func(i resource.Info) error {
			return errorIf(i.Age >= time.Duration(10*(1-i.Jitter)))
		})},
		{"no text", []string{"without text"}, plain(func(i resource.Info) error {
			if i.Age > 0 {
				return errors.New("")
			}
			return nil
		})},
		{"error that panics", []string{"methods can not be called", "panicked"}, plain(func(i resource.Info) error {
			if i.Age > 0 {
				return (*resource.Rejection)(nil)
			}
			return nil
		})},
		{"panics at an edge", []string{"Evict({ID:", "panicked: runtime error: integer divide by zero"}, plain(func(i resource.Info) error {
			return errorIf(int64(i.Age)/(i.Leases+1) > int64(time.Hour))
		})},
		{"exits", []string{"ended its goroutine"}, plain(func(i resource.Info) error { exitIf(i.Age < 0); return nil })},
		{"blocks", []string{"has not returned after 1s"}, of(func(free <-chan struct{}) evictFunc {
			return func(i resource.Info) error {
				if i.Leases > 100 {
					<-free
				}
				return nil
			}
		})},
		{"draws", []string{"asked again", "Jitter for jitter"}, plain(func(i resource.Info) error {
			return errorIf(i.Age > 0 && rand.IntN(2) == 0)
		})},
		{"keeps a clock of 5ms", []string{"then, 20ms later,", "instead of a clock"}, of(keepsClock(5 * moment))},
		{"keeps a clock of 30ms", []string{"then, 1s later,"}, of(keepsClock(30 * moment))},
		{"keeps a clock of 30s", []string{"then, 1m0s later,"}, of(keepsClock(30 * time.Second))},
		{"keeps a clock of 30min", []string{"then, 1h0m0s later,"}, of(keepsClock(30 * time.Minute))},
		{"keeps a clock of a day", []string{"then, 25h0m0s later,"}, of(keepsClock(24 * time.Hour))},
		{"evicts on Wednesdays", []string{"then, 70h0m0s later,"}, plain(func(i resource.Info) error {
			return errorIf(i.Age > 0 && time.Now().Weekday() == time.Wednesday) // a bubble begins on a Saturday
		})},
		{"counts who asks at once", []string{"from many goroutines at once"}, of(func(<-chan struct{}) evictFunc {
			var in atomic.Int32
			return func(i resource.Info) error {
				defer in.Add(-1)
				n := in.Add(1)
				time.Sleep(time.Microsecond)
				return errorIf(n > 1 && i.Age > 0)
			}
		})},
		{"talks", []string{"more than 16 different causes", "metric's label"}, plain(func(i resource.Info) error {
			if i.Age > time.Hour {
				return fmt.Errorf("%v old", i.Age)
			}
			return nil
		})},
		{"leaves a goroutine", []string{"goroutines are left behind", "eviction_test.go"}, of(func(free <-chan struct{}) evictFunc {
			go func() { <-free }()
			return func(resource.Info) error { return nil }
		})},
	})
}
