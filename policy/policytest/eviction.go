package policytest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// maxCauses is the number of different texts that the causes of one Eviction may have.
const maxCauses = 16

// Eviction tests a [resource.Eviction]. new returns the one to test, configured as in a
// pool, a new one for each call.
//
//   - It decides by the Info, and by nothing else that changes by itself: equal Infos get
//     equal results, whatever calls came before, from many goroutines, and later. In a
//     testing/synctest bubble "later" is up to four days, so that reading a clock is
//     detected; outside it is a quarter of a second, since the test has to wait.
//   - It keeps a new resource: with age, idle time and leases zero, and any Jitter.
//     Otherwise no resource could ever be lent. The ID is large: an Eviction that ends all
//     resources up to an ID, as a rollout does, keeps those created later. In the pool of
//     the test IDs begin at 1, so such a setting must be below that, or off.
//   - It does not block or panic, whatever the Info contains: zero and the extreme values
//     of every number.
//   - Its causes have a text, and few different ones: causes become the labels of metrics,
//     so an ID or a duration in them is a mistake.
//   - If it is [resource.Predictable], it keeps every resource that is within its Horizon,
//     whatever the Info says otherwise, and its Horizon depends on the ID and the Jitter alone.
//   - If it is [resource.Capped], its Cap is always at the same place, and it keeps every resource
//     within HorizonWithinCap while Total is at most the cap.
//   - In a pool in use it never panics, every caller is served or refused, and the pool
//     closes.
//   - It leaves no goroutine behind.
func Eviction(t testing.TB, new func() resource.Eviction) {
	t.Helper()
	with := func(f func(k *kit, e resource.Eviction)) func(*kit) {
		return func(k *kit) {
			e := new()
			if e == nil {
				k.fatalf("new returned nil")
			}
			k.closeAtEnd(e)
			f(k, e)
		}
	}
	run(t, "Eviction",
		subtest{"extreme values", with(evictsExtremes)},
		subtest{"by the Info alone", with(isDeterministic)},
		subtest{"new resources", with(keepsNew)},
		subtest{"causes", with(hasFewCauses)},
		subtest{"horizon", with(keepsWithinHorizon)},
		subtest{"in a pool", with(evictsInPool)},
	)
}

// evict calls Evict and checks its result.
func (k *kit) evict(e resource.Eviction, i resource.Info) (cause error) {
	k.Helper()
	what := fmt.Sprintf("Evict(%+v)", i)
	k.must(promptly, what, func() { cause = e.Evict(i) })
	if cause != nil {
		k.wantGoodError(what, cause)
		k.stopIfBad()
	}
	return cause
}

// newID is the ID of a new resource in a pool that has created many.
const newID = 1 << 40

func keepsNew(k *kit, e resource.Eviction) {
	for _, jitter := range []float64{0, 1e-300, 0.25, 0.5, 0.75, 0.9, 0.99, math.Nextafter(1, 0)} {
		for _, idlers := range []int{0, 1} {
			i := resource.Info{ID: newID, Jitter: jitter, Idlers: idlers}
			if cause := k.evict(e, i); cause != nil {
				k.fatalf("a new resource is evicted: Evict(%+v) = %q, want nil", i, cause)
			}
		}
	}
}

// extremeInfos returns Infos with one or all fields at an extreme.
func extremeInfos() []resource.Info {
	all := []resource.Info{
		{},
		{ID: math.MaxUint64, Age: math.MaxInt64, Idle: math.MaxInt64, Leases: math.MaxInt64,
			Jitter: math.Nextafter(1, 0), Checked: math.MaxInt64, Failures: math.MaxInt, Idlers: math.MaxInt},
		{Age: math.MinInt64, Idle: math.MinInt64, Leases: math.MinInt64,
			Checked: math.MinInt64, Failures: math.MinInt, Idlers: math.MinInt},
	}
	for _, n := range []int64{math.MinInt64, -1, 0, 1, math.MaxInt64} {
		d := time.Duration(n)
		all = append(all, resource.Info{ID: 1, Age: d}, resource.Info{ID: 1, Idle: d}, resource.Info{ID: 1, Leases: n},
			resource.Info{ID: 1, Checked: d}, resource.Info{ID: 1, Failures: int(n)}, resource.Info{ID: 1, Idlers: int(n)},
			resource.Info{ID: 1, Age: d, Idle: d, Leases: n, Jitter: 0.5, Checked: d, Failures: int(n), Idlers: int(n)})
	}
	return all
}

func evictsExtremes(k *kit, e resource.Eviction) {
	for _, i := range extremeInfos() {
		k.evict(e, i)
	}
}

// randomInfos returns n Infos such as a pool gives, of all ages.
func randomInfos(r *rand.Rand, n int) []resource.Info {
	all := make([]resource.Info, n)
	for j := range all {
		age := randomDuration(r)
		idle := time.Duration(r.Float64() * float64(age))
		all[j] = resource.Info{
			ID:       r.Uint64(),
			Age:      age,
			Idle:     idle,
			Leases:   int64(math.Exp(r.Float64() * 15)),
			Jitter:   r.Float64(),
			Checked:  time.Duration(r.Float64() * float64(age)),
			Failures: max(0, r.IntN(8)-4),
			Idlers:   max(0, r.IntN(64)-32),
		}
	}
	return all
}

// randomDuration returns a duration between a microsecond and a month, uniform in its
// logarithm.
func randomDuration(r *rand.Rand) time.Duration {
	return time.Duration(math.Exp(r.Float64()*math.Log(2.6e12)) * 1e3)
}

// evictResult returns the result of Evict as text.
func evictResult(e resource.Eviction, i resource.Info) string {
	if cause := e.Evict(i); cause != nil {
		return fmt.Sprintf("evicted: %v", cause)
	}
	return "kept"
}

// evictResults returns the results of Evict for all Infos.
func (k *kit) evictResults(e resource.Eviction, all []resource.Info) []string {
	k.Helper()
	results := make([]string, len(all))
	k.must(patiently, "Evict", func() {
		for j, i := range all {
			results[j] = evictResult(e, i)
		}
	})
	return results
}

func isDeterministic(k *kit, e resource.Eviction) {
	all := append(randomInfos(k.rand, 400), extremeInfos()...)
	first := k.evictResults(e, all)
	wantSame := func(i resource.Info, got, want, when string) {
		if got != want {
			k.errorf("Evict(%+v) returned first %q, then, %s, %q: it must depend on the Info alone "+
				"(use Age and Idle instead of a clock, and Jitter instead of a random number)", i, want, when, got)
		}
	}
	for j, got := range k.evictResults(e, all) {
		wantSame(all[j], got, first[j], "called again")
		k.stopIfBad()
	}
	for _, delay := range delays() {
		time.Sleep(delay)
		for j, got := range k.evictResults(e, all) {
			wantSame(all[j], got, first[j], fmt.Sprintf("%v later", delay))
			k.stopIfBad()
		}
	}
	k.concurrently(8, patiently, "Evict from many goroutines", func(_ int, r *rand.Rand) {
		for _, j := range r.Perm(len(all)) {
			got := evictResult(e, all[j])
			if got != first[j] && !k.bad.Load() {
				wantSame(all[j], got, first[j], "from many goroutines at once")
			}
		}
	})
}

// delays returns the times that isDeterministic waits between calls.
func delays() []time.Duration {
	if !virtualTime() {
		return []time.Duration{250 * tick}
	}
	return []time.Duration{20 * tick, time.Second, time.Minute, time.Hour, 25 * time.Hour, 70 * time.Hour}
}

func keepsWithinHorizon(k *kit, e resource.Eviction) {
	if c, ok := e.(resource.Capped); ok {
		var most *atomic.Int64
		k.must(promptly, "Cap()", func() { most = c.Cap() })
		if most != nil {
			if again := c.Cap(); again != most {
				k.fatalf("Cap() returned first %p, then %p", most, again)
			}
			k.keepsWithin(e, "HorizonWithinCap", c.HorizonWithinCap, most)
		}
	}
	if p, ok := e.(resource.Predictable); ok {
		k.keepsWithin(e, "Horizon", p.Horizon, nil)
	}
}

// keepsWithin checks the method of e with that name. most is the cap of Total; nil: there is none.
func (k *kit) keepsWithin(e resource.Eviction, name string, method func(resource.Info) resource.Horizon, most *atomic.Int64) {
	horizon := func(i resource.Info) (h resource.Horizon) {
		k.must(promptly, fmt.Sprintf("%s(%+v)", name, i), func() { h = method(i) })
		return h
	}
	horizon(resource.Info{}) // as New does
	// below returns a number between 0 and the limit, often the largest one.
	below := func(limit int64) int64 {
		switch {
		case limit <= 1 || k.rand.IntN(4) == 0:
			return 0
		case k.rand.IntN(2) == 0:
			return limit - 1
		}
		return k.rand.Int64N(limit)
	}
	for _, i := range append(randomInfos(k.rand, 2000), extremeInfos()...) {
		of := resource.Info{ID: i.ID, Jitter: i.Jitter}
		h := horizon(of)
		if again := horizon(of); again != h {
			k.fatalf("%s(%+v) returned first %+v, then %+v", name, of, h, again)
		}
		if h.Age <= 0 || h.Idle <= 0 || h.Leases <= 0 {
			continue // nothing is within it
		}
		i.Age, i.Idle = time.Duration(below(int64(h.Age))), time.Duration(below(int64(h.Idle)))
		i.Leases, i.Idlers = below(h.Leases), 0
		if most != nil {
			// The pool has at least the resource that it asks about.
			limit := most.Load()
			if limit < 1 {
				return
			}
			i.Total = int(min(1+below(limit), math.MaxInt))
		}
		if cause := k.evict(e, i); cause != nil {
			k.fatalf("%s(%+v) = %+v, but Evict(%+v) = %q, want nil: it must keep what is below all limits", name, of, h, i, cause)
		}
	}
}

func hasFewCauses(k *kit, e resource.Eviction) {
	texts := make(map[string]bool)
	for j, got := range k.evictResults(e, randomInfos(k.rand, 4000)) {
		if texts[got] = true; len(texts) > maxCauses+1 { // one of them is "kept"
			k.fatalf("%d Infos were evicted for more than %d different causes, %q among them: "+
				"the cause becomes the label of a metric; name the rule, not the resource or its age", j+1, maxCauses, got)
		}
	}
}

func evictsInPool(k *kit, e resource.Eviction) {
	usePool(k, resource.Config[int]{Make: numbers(false), Eviction: e},
		workload{requests: []resource.Request{{}, {MinRemaining: tick}}, patient: true})
}
