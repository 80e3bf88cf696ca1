package policy_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// The evictions are functions of facts: tables, without time.

const almostOne = 1 - 1.0/(1<<53) // the largest Jitter there is

var errOdd, errEven = errors.New("odd"), errors.New("even")

// odd and even evict by ID.
var (
	odd = policy.EvictionFunc(func(i resource.Info) error {
		if i.ID%2 == 1 {
			return errOdd
		}
		return nil
	})
	even = policy.EvictionFunc(func(i resource.Info) error {
		if i.ID%2 == 0 {
			return errEven
		}
		return nil
	})
	anyone = policy.EvictionFunc(func(resource.Info) error { return errAnything })

	errAnything = errors.New("anything")
)

func TestEvictions(t *testing.T) {
	type info = resource.Info
	hour := policy.MaxAge(time.Hour, 0)
	jittered := policy.MaxAge(time.Hour, 0.25)
	for _, c := range []struct {
		name string
		e    resource.Eviction
		i    info
		want error
	}{
		{"young", hour, info{Age: time.Hour - 1, Jitter: almostOne}, nil},
		{"old", hour, info{Age: time.Hour, Jitter: almostOne}, policy.ErrMaxAge},
		{"very old", hour, info{Age: math.MaxInt64}, policy.ErrMaxAge},
		{"jitter takes nothing off", jittered, info{Age: time.Hour - 1}, nil},
		{"nothing outlives the age", jittered, info{Age: time.Hour}, policy.ErrMaxAge},
		{"jitter takes half of it off", jittered, info{Age: time.Hour - time.Hour/8, Jitter: 0.5}, policy.ErrMaxAge},
		{"not more than half", jittered, info{Age: time.Hour - time.Hour/8 - 1, Jitter: 0.5}, nil},
		{"jitter takes all of it off", jittered, info{Age: 45*time.Minute + 1, Jitter: almostOne}, policy.ErrMaxAge},
		{"not more than all", jittered, info{Age: 45*time.Minute - 1, Jitter: almostOne}, nil},
		{"under a second", policy.MaxAge(10*time.Millisecond, 0.5), info{Age: 6 * time.Millisecond, Jitter: 0.9}, policy.ErrMaxAge},
		{"the smallest limit keeps what is new", policy.MaxAge(1, 1), info{Jitter: almostOne}, nil},
		{"the smallest limit", policy.MaxAge(1, 1), info{Age: 1, Jitter: almostOne}, policy.ErrMaxAge},
		{"the largest limit", policy.MaxAge(math.MaxInt64, 0), info{Age: math.MaxInt64 / 2}, nil},

		{"lent seldom", policy.MaxLeases(3, 0), info{Leases: 2}, nil},
		{"lent often", policy.MaxLeases(3, 0), info{Leases: 3}, policy.ErrMaxLeases},
		{"lent once, the first", policy.MaxLeases(1, 0.9), info{Leases: 0, Jitter: almostOne}, nil},
		{"lent once, the last", policy.MaxLeases(1, 0.9), info{Leases: 1, Jitter: almostOne}, policy.ErrMaxLeases},
		{"leases with jitter, under", policy.MaxLeases(100, 0.5), info{Leases: 74, Jitter: 0.5}, nil},
		{"leases with jitter, at", policy.MaxLeases(100, 0.5), info{Leases: 75, Jitter: 0.5}, policy.ErrMaxLeases},

		{"used lately", policy.MaxIdle(time.Minute), info{Idle: time.Minute - 1, Age: time.Hour}, nil},
		{"idle", policy.MaxIdle(time.Minute), info{Idle: time.Minute}, policy.ErrMaxIdle},

		{"soft, at an acquire", policy.SoftIdle(time.Minute, 0), info{Idle: time.Hour}, nil},
		{"soft, over the floor", policy.SoftIdle(time.Minute, 2), info{Idle: time.Minute, Idlers: 3}, policy.ErrSoftIdle},
		{"soft, at the floor", policy.SoftIdle(time.Minute, 2), info{Idle: time.Hour, Idlers: 2}, nil},
		{"soft, used lately", policy.SoftIdle(time.Minute, 2), info{Idle: time.Minute - 1, Idlers: 9}, nil},
		{"soft, no floor", policy.SoftIdle(time.Minute, 0), info{Idle: time.Minute, Idlers: 1}, policy.ErrSoftIdle},

		{"protected at an acquire", policy.Protect(0, hour), info{Age: 2 * time.Hour}, nil},
		{"protected at the floor", policy.Protect(2, hour), info{Age: 2 * time.Hour, Idlers: 2}, nil},
		{"over the floor", policy.Protect(2, hour), info{Age: 2 * time.Hour, Idlers: 3}, policy.ErrMaxAge},
		{"over the floor, young", policy.Protect(2, hour), info{Age: 1, Idlers: 3}, nil},

		{"enough left", policy.MinRemaining(time.Minute, hour), info{Age: 59*time.Minute - 1}, nil},
		{"too little left", policy.MinRemaining(time.Minute, hour), info{Age: 59 * time.Minute}, policy.ErrMaxAge},
		{"no end is near enough to wrap", policy.MinRemaining(math.MaxInt64, hour), info{Age: math.MaxInt64}, policy.ErrMaxAge},
		{"only age goes on", policy.MinRemaining(time.Hour, policy.MaxIdle(time.Minute)), info{Idle: time.Second}, nil},

		{"any: none", policy.AnyOf(hour, odd), info{ID: 2}, nil},
		{"any: one", policy.AnyOf(hour, odd), info{ID: 1}, errOdd},
		{"any: the first", policy.AnyOf(anyone, odd), info{ID: 1}, errAnything},
		{"all: not all", policy.AllOf(odd, even), info{ID: 1}, nil},
		{"all: the first", policy.AllOf(even, anyone), info{ID: 2}, errEven},
		{"all: one", policy.AllOf(odd), info{ID: 1}, errOdd},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.e.Evict(c.i); got != c.want {
				t.Errorf("Evict(%+v) = %v, want %v", c.i, got, c.want)
			}
		})
	}
}

// What a caller does with his slice afterwards changes nothing.
func TestEvictions_OwnTheirList(t *testing.T) {
	for _, make := range []func(...resource.Eviction) resource.Eviction{policy.AnyOf, policy.AllOf} {
		es := []resource.Eviction{odd}
		e := make(es...)
		es[0] = even
		if got := e.Evict(resource.Info{ID: 1}); got != errOdd {
			t.Errorf("got %v, want %v", got, errOdd)
		}
	}
}

// wantPanicSaying calls f, which must panic with a text that has all of words.
func wantPanicSaying(t *testing.T, f func(), words ...string) {
	t.Helper()
	defer func() {
		t.Helper()
		text, ok := recover().(string)
		if !ok {
			t.Errorf("no panic with a text; want one saying %q", words)
		}
		for _, w := range words {
			if !strings.Contains(text, w) {
				t.Errorf("the panic says %q, not %q", text, w)
			}
		}
	}()
	f()
}

// A constructor names everything that is wrong.
func TestEvictions_Misuse(t *testing.T) {
	var none policy.EvictionFunc
	for _, c := range []struct {
		name string
		f    func()
		says []string
	}{
		{"MaxAge", func() { policy.MaxAge(0, 2) }, []string{"policy: MaxAge: ", "age must be positive, got 0s", "between 0 and 1, got 2"}},
		{"MaxAge NaN", func() { policy.MaxAge(1, math.NaN()) }, []string{"between 0 and 1, got NaN"}},
		{"MaxAge negative jitter", func() { policy.MaxAge(1, -0.1) }, []string{"between 0 and 1, got -0.1"}},
		{"MaxLeases", func() { policy.MaxLeases(0, -1) }, []string{"policy: MaxLeases: ", "leases must be at least 1, got 0", "between 0 and 1, got -1"}},
		{"MaxIdle", func() { policy.MaxIdle(-1) }, []string{"policy: MaxIdle: ", "idle time must be positive, got -1ns"}},
		{"SoftIdle", func() { policy.SoftIdle(0, -1) }, []string{"policy: SoftIdle: ", "idle time must be positive, got 0s", "floor must not be negative, got -1"}},
		{"Protect", func() { policy.Protect(-1, nil) }, []string{"policy: Protect: ", "floor must not be negative, got -1", "Eviction is nil"}},
		{"MinRemaining", func() { policy.MinRemaining(0, none) }, []string{"policy: MinRemaining: ", "time must be positive, got 0s", "Eviction is nil"}},
		{"AnyOf nothing", func() { policy.AnyOf() }, []string{"policy: AnyOf: ", "no Eviction"}},
		{"AnyOf nil", func() { policy.AnyOf(odd, nil, none) }, []string{"Eviction 2 is nil", "Eviction 3 is nil"}},
		{"AllOf nothing", func() { policy.AllOf() }, []string{"policy: AllOf: ", "no Eviction"}},
		{"AllOf nil", func() { policy.AllOf(nil) }, []string{"Eviction 1 is nil"}},
	} {
		t.Run(c.name, func(t *testing.T) { wantPanicSaying(t, c.f, c.says...) })
	}
}

// Asking costs no allocation, whatever the answer.
func TestEvictions_Allocate(t *testing.T) {
	young := resource.Info{ID: 2, Age: time.Second, Idle: time.Second, Leases: 1, Jitter: 0.5, Idlers: 1}
	old := resource.Info{ID: 1, Age: 2 * time.Hour, Idle: 2 * time.Hour, Leases: 1e9, Jitter: 0.5, Idlers: 9}
	for name, e := range stockEvictions() {
		for _, i := range []resource.Info{young, old} {
			if n := testing.AllocsPerRun(100, func() { evictSink = e.Evict(i) }); n != 0 {
				t.Errorf("%s: %v allocations", name, n)
			}
		}
		if e.Evict(young) != nil || e.Evict(old) == nil {
			t.Errorf("%s keeps or evicts both", name)
		}
	}
}

var evictSink error

// stockEvictions are one of each, which all end what has grown old.
func stockEvictions() map[string]resource.Eviction {
	age, leases, idle := policy.MaxAge(time.Hour, 0.1), policy.MaxLeases(1e6, 0.1), policy.MaxIdle(time.Minute)
	return map[string]resource.Eviction{
		"MaxAge":       age,
		"MaxLeases":    leases,
		"MaxIdle":      idle,
		"SoftIdle":     policy.SoftIdle(time.Minute, 4),
		"MinRemaining": policy.MinRemaining(time.Minute, age),
		"Protect":      policy.Protect(4, age),
		"AnyOf":        policy.AnyOf(age, leases, idle),
		"AllOf":        policy.AllOf(age, leases, idle),
	}
}
