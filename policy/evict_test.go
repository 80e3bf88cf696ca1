package policy_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// Evictions are functions of the Info, tested with tables and without a clock.

const almostOne = 1 - 1.0/(1<<53) // the largest possible Jitter

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

// A combination says in advance what all its members keep.
func TestEvictions_Horizon(t *testing.T) {
	age, idle, leases := policy.MaxAge(time.Hour, 0), policy.MaxIdle(time.Minute), policy.MaxLeases(10, 0)
	older, idler, more := policy.MaxAge(2*time.Hour, 0), policy.MaxIdle(2*time.Minute), policy.MaxLeases(20, 0)
	want := resource.Horizon{Age: time.Hour, Idle: time.Minute, Leases: 10}
	for name, e := range map[string]resource.Eviction{
		"the less first":  policy.AnyOf(age, idle, leases, older, idler, more),
		"the more first":  policy.AnyOf(more, idler, older, leases, idle, age),
		"in combinations": policy.AnyOf(policy.AnyOf(more, idle), policy.AnyOf(age, idler), policy.AnyOf(older, leases)),
	} {
		if got := e.(resource.Predictable).Horizon(resource.Info{Jitter: 0.5}); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

// What one member of AllOf keeps, all keep: it says what the one says that has the most age.
func TestAllOf_Horizon(t *testing.T) {
	age, idle, leases := policy.MaxAge(time.Hour, 0), policy.MaxIdle(time.Minute), policy.MaxLeases(10, 0)
	opaque := policy.EvictionFunc(func(resource.Info) error { return nil })
	horizon := func(e resource.Eviction) resource.Horizon { return e.(resource.Predictable).Horizon(resource.Info{}) }
	for name, c := range map[string]struct{ of, as resource.Eviction }{
		"one":         {policy.AllOf(age), age},
		"older first": {policy.AllOf(policy.MaxAge(2*time.Hour, 0), age), policy.MaxAge(2*time.Hour, 0)},
		"older last":  {policy.AllOf(age, policy.MaxAge(2*time.Hour, 0)), policy.MaxAge(2*time.Hour, 0)},
		"idle":        {policy.AllOf(age, idle), idle},
		"leases":      {policy.AllOf(leases, age), leases},
		"opaque":      {policy.AllOf(opaque, age), age},
	} {
		if got, want := horizon(c.of), horizon(c.as); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	if got := horizon(policy.AllOf(opaque)); got != (resource.Horizon{}) {
		t.Errorf("of one that says nothing in advance: %+v", got)
	}
}

// A resource is kept until the very end of its Horizon, where floats are coarser than integers too.
func TestMaxAge_HorizonIsExact(t *testing.T) {
	for _, limit := range []time.Duration{1, 3, time.Hour, 1<<53 - 1, 1 << 53, 1<<53 + 1, 1<<53 + 2, 1<<53 + 4, 1<<53 + 6, 1<<60 + 1<<8, math.MaxInt64} {
		for _, jitter := range []float64{0, 0.25, 1} {
			e := policy.MaxAge(limit, jitter)
			for _, draw := range []float64{0, 0.3, 0.5, 0.9} {
				i := resource.Info{Jitter: draw}
				age := e.(resource.Predictable).Horizon(i).Age
				for off := range time.Duration(3) {
					if i.Age = age - 1 - off; i.Age >= 0 && e.Evict(i) != nil {
						t.Errorf("MaxAge(%d, %v): with a draw of %v it is kept for %d, and evicted at %d", limit, jitter, draw, age, i.Age)
					}
				}
			}
		}
	}
}

// The argument slice may be modified afterwards.
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

// wantPanicSaying calls f, which must panic with a text that contains all words.
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

// A constructor names every invalid argument.
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

// Evict does not allocate, whatever the result.
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

// stockEvictions has one of each kind; all evict old resources.
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

// The evictions in a pool.

func evicting(max int, e resource.Eviction) resource.Config[int] {
	return resource.Config[int]{MaxSize: max, Eviction: e, SweepInterval: time.Minute}
}

// A resource past its age ends when it is released, before it is lent, or in the sweep.
func TestMaxAge_Pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lend(t, evicting(1, policy.MaxAge(time.Minute+10*time.Second, 0)))
		held := l.get()
		time.Sleep(time.Minute + 10*time.Second + 20*time.Millisecond)
		l.wantGone(nil)
		held.Release()
		l.wantGone(policy.ErrMaxAge, 1)

		l.get().Release()            // 2
		time.Sleep(75 * time.Second) // the sweep in between predicts its end and replaces it by 3
		fresh := l.get()
		if fresh.Value() != 3 {
			t.Errorf("lent %d, which is %v old", fresh.Value(), fresh.Info().Age)
		}
		l.wantGone(policy.ErrMaxAge, 1, 2)
		fresh.Release()
		time.Sleep(3 * time.Minute) // 4 was made to replace 3, which was in use; 4 was not used
		l.wantGone(policy.ErrMaxAge, 1, 2, 3, 4)
	})
}

// Resources made together end one after another, each at the age given by its Jitter.
func TestMaxAge_JitterSpreadsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		ages := map[time.Duration]int{}
		cfg := evicting(200, policy.MaxAge(time.Hour, 0.5))
		cfg.SweepInterval = 10 * time.Second
		cfg.Trace = &resource.Trace{Destroyed: func(e resource.DestroyEvent) {
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(e.Cause, policy.ErrMaxAge) {
				limit := time.Duration(float64(time.Hour) * (1 - 0.5*e.Info.Jitter))
				if late := e.Info.Age - limit; late < 0 || late > 11*time.Second {
					t.Errorf("spread %v: evicted at %v, want at %v", e.Info.Jitter, e.Info.Age, limit)
				}
				ages[e.Info.Age/(10*time.Minute)]++
			}
		}}
		l := lend(t, cfg)
		if err := l.Warm(context.Background(), 200); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour + time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		total := 0
		for part, n := range ages {
			if total += n; part >= 3 && part < 6 && n < 30 { // the mean is 67; 30 is 7 standard deviations less
				t.Errorf("only %d of 200 ended in the 10 minutes from %v", n, part*10*time.Minute)
			}
		}
		if total != 200 || ages[0]+ages[1]+ages[2] > 0 {
			t.Errorf("ended by age in tens of minutes: %v; want 200, from 30 minutes on", ages)
		}
	})
}

// Each resource is lent exactly as often as its limit.
func TestMaxLeases_Pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lend(t, evicting(1, policy.MaxLeases(2, 0)))
		for n := range 6 {
			lease := l.get()
			if want := n/2 + 1; lease.Value() != want {
				t.Errorf("lease %d is of %d, want %d", n+1, lease.Value(), want)
			}
			lease.Release()
			synctest.Wait()
		}
		l.wantGone(policy.ErrMaxLeases, 1, 2, 3)
	})
}

// The sweep evicts the resources left by a burst, those idle longest first, down to the
// floor.
func TestSoftIdle_Pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lend(t, evicting(5, policy.AnyOf(policy.SoftIdle(30*time.Second, 2), policy.MaxIdle(time.Hour))))
		l.warm(5)
		time.Sleep(10 * time.Minute)
		l.wantGone(policy.ErrSoftIdle, 1, 2, 3)
		lease := l.get() // idle longer than d, but lent
		if lease.Value() != 5 {
			t.Errorf("lent %d, want 5", lease.Value())
		}
		lease.Release()
		l.wantGone(policy.ErrSoftIdle, 1, 2, 3)
	})
}

// The hard limit has no floor.
func TestMaxIdle_Pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lend(t, evicting(3, policy.MaxIdle(time.Minute)))
		l.warm(3)
		time.Sleep(3 * time.Minute)
		l.wantGone(policy.ErrMaxIdle, 1, 2, 3)
	})
}

// With Protect a caller finds an idle resource although all are too old.
func TestProtect_Pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lend(t, evicting(3, policy.Protect(1, policy.MaxAge(time.Second, 0))))
		l.warm(3)
		time.Sleep(10 * time.Minute)
		l.wantGone(policy.ErrMaxAge, 1, 2)
		lease := l.get()
		lease.Release()
		if lease = l.get(); lease.Value() != 3 {
			t.Errorf("lent %d, want 3", lease.Value())
		}
		lease.Release()
	})
}

// No caller gets a resource that would end within the time, with or without a
// Request.MinRemaining.
func TestMinRemaining_Pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lend(t, evicting(2, policy.MinRemaining(20*time.Second, policy.MaxAge(50*time.Second, 0))))
		l.get().Release()
		time.Sleep(29 * time.Second)
		l.get().Release()
		l.wantGone(nil)
		time.Sleep(time.Second + 20*time.Millisecond)
		if lease := l.get(); lease.Value() != 2 {
			t.Errorf("lent %d with 20s to live", lease.Value())
		} else {
			lease.Release()
		}
		l.wantGone(policy.ErrMaxAge, 1)
	})
}

// clampJitter maps a fuzzed number to [0,1), the range of Info.Jitter.
func clampJitter(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	if x = math.Abs(x) - math.Floor(math.Abs(x)); x >= 1 {
		return 0
	}
	return x
}

// Jitter only shortens the limit, by at most its fraction; a resource that is evicted at one
// age is evicted at every later age; a new one is kept.
func FuzzMaxAge(f *testing.F) {
	f.Add(int64(time.Hour), 0.25, 0.5, int64(time.Hour/2), int64(1))
	f.Add(int64(1), 1.0, almostOne, int64(0), int64(1))
	f.Add(int64(math.MaxInt64), 1.0, almostOne, int64(math.MaxInt64), int64(0))
	f.Add(int64(10*time.Millisecond), 0.1, 0.999, int64(9*time.Millisecond), int64(1000))
	f.Fuzz(func(t *testing.T, limit int64, jitter, spread float64, have, more int64) {
		limit, have, more = max(1, limit), max(0, have), max(0, more)
		jitter, spread = min(1, math.Abs(jitter)), clampJitter(spread)
		if math.IsNaN(jitter) {
			return
		}
		age := policy.MaxAge(time.Duration(limit), jitter)
		leases := policy.MaxLeases(limit, jitter)
		plain := policy.MaxAge(time.Duration(limit), 0)
		at := func(have int64, spread float64) bool {
			i := resource.Info{Age: time.Duration(have), Leases: have, Jitter: spread}
			gone := age.Evict(i) != nil
			if byLeases := leases.Evict(i) != nil; byLeases != gone {
				t.Fatalf("limit %d, jitter %v, spread %v: at %d MaxAge says %v and MaxLeases %v", limit, jitter, spread, have, gone, byLeases)
			}
			return gone
		}
		gone := at(have, spread)
		if at(0, spread) {
			t.Fatalf("limit %d, jitter %v, spread %v: a new one is evicted", limit, jitter, spread)
		}
		if !gone && plain.Evict(resource.Info{Age: time.Duration(have)}) != nil {
			t.Fatalf("limit %d, jitter %v, spread %v: jitter lets it live to %d", limit, jitter, spread, have)
		}
		if gone && float64(have) < float64(limit)*(1-jitter)*(1-1e-15) {
			t.Fatalf("limit %d, jitter %v, spread %v: jitter takes it at %d", limit, jitter, spread, have)
		}
		if gone && have <= math.MaxInt64-more && !at(have+more, spread) {
			t.Fatalf("limit %d, jitter %v, spread %v: gone at %d, back at %d", limit, jitter, spread, have, have+more)
		}
		if gone && !at(have, spread+(1-spread)/2) && spread+(1-spread)/2 < 1 {
			t.Fatalf("limit %d, jitter %v: a larger spread than %v takes less off", limit, jitter, spread)
		}
	})
}

// An eviction depends only on its own fields of the Info and is deterministic; the
// combinators return the combination of their members' results.
func FuzzEvictions(f *testing.F) {
	f.Add(uint64(1), int64(time.Hour), int64(time.Minute), int64(9), 0.5, int64(3), 1, 5, 2)
	f.Add(uint64(2), int64(math.MaxInt64), int64(0), int64(0), almostOne, int64(0), 0, 0, 0)
	f.Fuzz(func(t *testing.T, id uint64, age, idle, leases int64, spread float64, checked int64, failures, idlers, floor int) {
		floor = max(0, floor)
		const d = time.Hour
		i := resource.Info{
			ID: id, Age: time.Duration(max(0, age)), Idle: time.Duration(max(0, idle)), Leases: max(0, leases), Jitter: clampJitter(spread),
			Checked: time.Duration(max(0, checked)), Failures: failures, Idlers: max(0, idlers),
		}
		maxAge, maxLeases := policy.MaxAge(d, 0.3), policy.MaxLeases(7, 0.3)
		maxIdle, soft := policy.MaxIdle(d), policy.SoftIdle(d, floor)
		only := func(keep func(from resource.Info) resource.Info, e resource.Eviction) {
			got := e.Evict(i)
			if again, alone := e.Evict(i), e.Evict(keep(i)); again != got || alone != got {
				t.Fatalf("%T of %+v: %v, again %v, and by its own facts %v", e, i, got, again, alone)
			}
		}
		only(func(i resource.Info) resource.Info { return resource.Info{Age: i.Age, Jitter: i.Jitter} }, maxAge)
		only(func(i resource.Info) resource.Info { return resource.Info{Leases: i.Leases, Jitter: i.Jitter} }, maxLeases)
		only(func(i resource.Info) resource.Info { return resource.Info{Idle: i.Idle} }, maxIdle)
		only(func(i resource.Info) resource.Info { return resource.Info{Idle: i.Idle, Idlers: i.Idlers} }, soft)

		all := []resource.Eviction{maxAge, maxLeases, maxIdle, soft}
		var anyWant, allWant error
		evicted := 0
		for _, e := range all {
			if cause := e.Evict(i); cause != nil {
				evicted++
				if anyWant == nil {
					anyWant = cause
				}
			}
		}
		if evicted == len(all) {
			allWant = anyWant
		}
		if got := policy.AnyOf(all...).Evict(i); got != anyWant {
			t.Fatalf("AnyOf says %v, want %v", got, anyWant)
		}
		if got := policy.AllOf(all...).Evict(i); got != allWant {
			t.Fatalf("AllOf says %v, want %v", got, allWant)
		}
		want := maxIdle.Evict(i)
		if i.Idlers <= floor {
			want = nil
		}
		if got := policy.Protect(floor, maxIdle).Evict(i); got != want || got != nil != (soft.Evict(i) != nil) {
			t.Fatalf("Protect says %v, want %v; SoftIdle says %v", got, want, soft.Evict(i))
		}
		if maxAge.Evict(i) != nil && policy.MinRemaining(d, maxAge).Evict(i) == nil {
			t.Fatalf("what is evicted now has %v left", d)
		}
	})
}
