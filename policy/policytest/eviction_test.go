package policytest_test

import (
	"errors"
	"fmt"
	"math"
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

// maxAge is a correct Eviction with jitter.
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

// ahead is an Eviction that is Predictable.
type ahead struct {
	evictFunc
	horizon func(i resource.Info) resource.Horizon
}

func (a ahead) Horizon(i resource.Info) resource.Horizon { return a.horizon(i) }

// unlimited is a Horizon but for the age.
func unlimited(age time.Duration) resource.Horizon {
	return resource.Horizon{Age: age, Idle: math.MaxInt64, Leases: math.MaxInt64}
}

func TestEviction_SoundHorizon(t *testing.T) {
	for _, h := range []func(resource.Info) resource.Horizon{
		func(i resource.Info) resource.Horizon { return unlimited(time.Hour / 2) },
		func(i resource.Info) resource.Horizon { return unlimited(-5) },
		func(i resource.Info) resource.Horizon { return resource.Horizon{} },
	} {
		synctest.Test(t, func(t *testing.T) {
			policytest.Eviction(t, func() resource.Eviction { return ahead{maxAge, h} })
		})
	}
}

func TestEviction_BadHorizon(t *testing.T) {
	calls := time.Duration(0)
	for name, c := range map[string]struct {
		evict   evictFunc
		horizon func(resource.Info) resource.Horizon
		want    string
	}{
		"too far":        {maxAge, func(resource.Info) resource.Horizon { return unlimited(time.Hour) }, "must keep what is below all limits"},
		"other facts":    {func(i resource.Info) error { return errorIf(i.Failures > 2) }, func(resource.Info) resource.Horizon { return unlimited(math.MaxInt64) }, "must keep what is below all limits"},
		"not of the ID":  {maxAge, func(resource.Info) resource.Horizon { calls++; return unlimited(calls) }, "returned first"},
		"panics":         {maxAge, func(resource.Info) resource.Horizon { panic("broken") }, "Horizon"},
		"of the minimum": {func(i resource.Info) error { return errorIf(i.Age > 0 && i.Leases > 3) }, func(resource.Info) resource.Horizon { return unlimited(math.MaxInt64) }, "below all limits"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{TB: t}
			policytest.Eviction(r, func() resource.Eviction { return ahead{c.evict, c.horizon} })
			if said := r.all(); !strings.Contains(said, c.want) {
				t.Errorf("reported %q, want %q", said, c.want)
			}
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

// readsClock is an Eviction that begins to evict d after its creation.
func readsClock(d time.Duration) func(<-chan struct{}) evictFunc {
	return func(<-chan struct{}) evictFunc {
		began := time.Now()
		return func(i resource.Info) error { return errorIf(i.Age > 0 && time.Since(began) > d) }
	}
}

// In real time the use of a clock is detected within the time that the test waits.
func TestEviction_ClockInRealTime(t *testing.T) {
	r := &recorder{TB: t}
	policytest.Eviction(r, func() resource.Eviction { return readsClock(200 * moment)(nil) })
	if said := r.all(); !strings.Contains(said, "then, 250ms later,") {
		t.Errorf("reported %q", said)
	}
}

// A setting that only the user changes is not a clock: see examples/custompolicy.
func TestEviction_Setting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policytest.Eviction(t, func() resource.Eviction {
			var upTo atomic.Uint64
			upTo.Store(1) // IDs in the pool of the test begin at 1
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
	wantFailures(t, []broken{
		{"nil", []string{"new returned nil"}, func(t testing.TB, _ <-chan struct{}) {
			policytest.Eviction(t, func() resource.Eviction { return nil })
		}},
		{"evicts all", []string{"a new resource is evicted", "old"}, plain(func(resource.Info) error { return errOld })},
		{"jitter to zero", []string{"a new resource is evicted", "Jitter:0.9"}, plain(func(i resource.Info) error {
			return errorIf(i.Age >= time.Duration(10*(1-i.Jitter)))
		})},
		{"no text", []string{"without text"}, plain(func(i resource.Info) error {
			if i.Age > 0 {
				return errors.New("")
			}
			return nil
		})},
		{"error that panics", []string{"methods cannot be called", "panicked"}, plain(func(i resource.Info) error {
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
		{"random", []string{"called again", "Jitter instead of a random number"}, plain(func(i resource.Info) error {
			return errorIf(i.Age > 0 && rand.IntN(2) == 0)
		})},
		{"reads a clock after 5ms", []string{"then, 20ms later,", "instead of a clock"}, of(readsClock(5 * moment))},
		{"reads a clock after 30ms", []string{"then, 1s later,"}, of(readsClock(30 * moment))},
		{"reads a clock after 30s", []string{"then, 1m0s later,"}, of(readsClock(30 * time.Second))},
		{"reads a clock after 30min", []string{"then, 1h0m0s later,"}, of(readsClock(30 * time.Minute))},
		{"reads a clock after a day", []string{"then, 25h0m0s later,"}, of(readsClock(24 * time.Hour))},
		{"evicts on Wednesdays", []string{"then, 70h0m0s later,"}, plain(func(i resource.Info) error {
			return errorIf(i.Age > 0 && time.Now().Weekday() == time.Wednesday) // a bubble begins on a Saturday
		})},
		{"counts concurrent calls", []string{"from many goroutines at once"}, of(func(<-chan struct{}) evictFunc {
			var in atomic.Int32
			return func(i resource.Info) error {
				defer in.Add(-1)
				n := in.Add(1)
				time.Sleep(time.Microsecond)
				return errorIf(n > 1 && i.Age > 0)
			}
		})},
		{"too many causes", []string{"more than 16 different causes", "label of a metric"}, plain(func(i resource.Info) error {
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
