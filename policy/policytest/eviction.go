package policytest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// maxCauses is how many different texts the causes of one Eviction may have.
const maxCauses = 16

// Eviction checks a [resource.Eviction]. new makes the one to check, a new one
// at each call, as it would be given to a pool.
//
//   - It decides by the Info, and by nothing else that changes while its user
//     changes no setting of it: the same Info gets the same answer, whatever was
//     asked before, from many goroutines at once, and later. In a bubble of
//     testing/synctest later is up to four days, so that a clock that it reads
//     shows; outside it is a quarter of a second, since the check has to wait.
//   - It keeps a resource that has just been made: age, idle time and leases
//     zero, whatever its Jitter. Else nothing could ever be lent.
//   - It answers at once, and does not panic, whatever the Info says: zeros,
//     the largest and the smallest of every number.
//   - Its causes have a text, and few different ones: causes become the labels
//     of metrics, so that an ID or a duration in them is a mistake.
//   - In a pool whose callers come and go it never panics, every caller is
//     served or told why not, and the pool closes.
//   - It leaves no goroutine behind.
func Eviction(t testing.TB, new func() resource.Eviction) {
	t.Helper()
	with := func(f func(k *kit, e resource.Eviction)) func(*kit) {
		return func(k *kit) {
			e := new()
			if e == nil {
				k.fatalf("new returned nil")
			}
			k.closes(e)
			f(k, e)
		}
	}
	run(t, "Eviction",
		check{"at the edges", with(standsEdges)},
		check{"by the facts alone", with(isPure)},
		check{"of what is new", with(keepsNew)},
		check{"by its causes", with(hasFewCauses)},
		check{"in a pool", with(evictsInPool)},
	)
}

// evict asks e and looks at the answer.
func (k *kit) evict(e resource.Eviction, i resource.Info) (cause error) {
	k.Helper()
	what := fmt.Sprintf("Evict(%+v)", i)
	k.must(prompt, what, func() { cause = e.Evict(i) })
	if cause != nil {
		k.wantGoodError(what, cause)
		k.stopIfBad()
	}
	return cause
}

func keepsNew(k *kit, e resource.Eviction) {
	for _, spread := range []float64{0, 1e-300, 0.25, 0.5, 0.75, 0.9, 0.99, math.Nextafter(1, 0)} {
		for _, idlers := range []int{0, 1} {
			i := resource.Info{ID: 1, Jitter: spread, Idlers: idlers}
			if cause := k.evict(e, i); cause != nil {
				k.fatalf("a resource that was just made is evicted: Evict(%+v) = %q, want nil", i, cause)
			}
		}
	}
}

// edgeInfos are Infos with one or all facts at an edge.
func edgeInfos() []resource.Info {
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

func standsEdges(k *kit, e resource.Eviction) {
	for _, i := range edgeInfos() {
		k.evict(e, i)
	}
}

// infos are n Infos such as a pool gives, of all ages.
func infos(r *rand.Rand, n int) []resource.Info {
	all := make([]resource.Info, n)
	for j := range all {
		age := someDuration(r)
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

// someDuration is one between a microsecond and a month, of any magnitude.
func someDuration(r *rand.Rand) time.Duration {
	return time.Duration(math.Exp(r.Float64()*math.Log(2.6e12)) * 1e3)
}

// answer is what e says of i, in words.
func answer(e resource.Eviction, i resource.Info) string {
	if cause := e.Evict(i); cause != nil {
		return fmt.Sprintf("evicted: %v", cause)
	}
	return "kept"
}

// answers is what e says of each.
func (k *kit) answers(e resource.Eviction, all []resource.Info) []string {
	k.Helper()
	said := make([]string, len(all))
	k.must(patience, "Evict", func() {
		for j, i := range all {
			said[j] = answer(e, i)
		}
	})
	return said
}

func isPure(k *kit, e resource.Eviction) {
	all := append(infos(k.rand, 400), edgeInfos()...)
	first := k.answers(e, all)
	same := func(i resource.Info, got, want, when string) {
		if got != want {
			k.errorf("Evict(%+v) says first %q, then, %s, %q: it must depend on the Info alone "+
				"(Age and Idle are there instead of a clock, Jitter for jitter)", i, want, when, got)
		}
	}
	for j, got := range k.answers(e, all) {
		same(all[j], got, first[j], "asked again")
		k.stopIfBad()
	}
	for _, wait := range laterBy() {
		time.Sleep(wait)
		for j, got := range k.answers(e, all) {
			same(all[j], got, first[j], fmt.Sprintf("%v later", wait))
			k.stopIfBad()
		}
	}
	k.crowd(8, patience, "Evict from many goroutines", func(_ int, r *rand.Rand) {
		for _, j := range r.Perm(len(all)) {
			got := answer(e, all[j])
			if got != first[j] && !k.bad.Load() {
				same(all[j], got, first[j], "from many goroutines at once")
			}
		}
	})
}

// laterBy is how long isPure waits before it asks again, and again.
func laterBy() []time.Duration {
	if !virtualTime() {
		return []time.Duration{250 * moment}
	}
	return []time.Duration{20 * moment, time.Second, time.Minute, time.Hour, 25 * time.Hour, 70 * time.Hour}
}

func hasFewCauses(k *kit, e resource.Eviction) {
	texts := make(map[string]bool)
	for j, got := range k.answers(e, infos(k.rand, 4000)) {
		if texts[got] = true; len(texts) > maxCauses+1 { // "kept" is one of them
			k.fatalf("%d Infos were evicted for more than %d different causes, %q among them: "+
				"the cause becomes a metric's label; say what rule it was, not of which resource or how old", j+1, maxCauses, got)
		}
	}
}
