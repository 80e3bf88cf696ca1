package policy_test

import (
	"math"
	"testing"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// clampJitter makes a fuzzer's number what the pool draws: in [0,1).
func clampJitter(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	if x = math.Abs(x) - math.Floor(math.Abs(x)); x >= 1 {
		return 0
	}
	return x
}

// Jitter only takes off, and never more than its part; what is evicted at one
// age is evicted at every later one; what is new is kept.
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

// An eviction looks only at the facts it is about, and answers the same when
// asked again; the combinators say what their members' answers come to.
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
