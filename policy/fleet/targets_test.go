package fleet_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/respool/respool/policy/fleet"
)

// slowTargets is the rule of Targets, one unit at a time.
func slowTargets(limit int, shares []fleet.Share) map[string]int {
	order := slices.Clone(shares)
	slices.SortFunc(order, func(a, b fleet.Share) int {
		if a.Priority != b.Priority {
			return b.Priority - a.Priority
		}
		return strings.Compare(a.Holder, b.Holder)
	})
	targets := make(map[string]int)
	// give gives units to those that have less than upTo, those that have least first.
	give := func(upTo func(s fleet.Share) int) {
		for len(order) > 0 && limit > 0 {
			best := -1
			for i, s := range order {
				if targets[s.Holder] >= upTo(s) {
					continue
				}
				if best < 0 || s.Priority == order[best].Priority && targets[s.Holder] < targets[order[best].Holder] {
					best = i
				}
			}
			if best < 0 {
				return
			}
			targets[order[best].Holder]++
			limit--
		}
	}
	give(func(s fleet.Share) int { return min(s.Min, s.Want) })
	give(func(s fleet.Share) int { return s.Want })
	return targets
}

func TestTargets(t *testing.T) {
	for _, c := range []struct {
		limit int
		want  string // of each holder: name, want, min, priority = target
		of    []fleet.Share
		to    []int
	}{
		{100, "all fit", []fleet.Share{{Holder: "a", Want: 40}, {Holder: "b", Want: 60}}, []int{40, 60}},
		{100, "one wants little", []fleet.Share{{Holder: "a", Want: 10}, {Holder: "b", Want: 90}, {Holder: "c", Want: 90}}, []int{10, 45, 45}},
		{20, "remainder by name", []fleet.Share{{Holder: "c", Want: 20}, {Holder: "a", Want: 20}, {Holder: "b", Want: 20}}, []int{6, 7, 7}},
		{10, "minimum", []fleet.Share{{Holder: "a", Want: 10, Min: 7}, {Holder: "b", Want: 10}, {Holder: "c", Want: 10}}, []int{7, 2, 1}},
		{10, "minimum is not more than the want", []fleet.Share{{Holder: "a", Want: 2, Min: 7}, {Holder: "b", Want: 10}}, []int{2, 8}},
		{10, "minimums exceed the limit", []fleet.Share{{Holder: "a", Want: 10, Min: 8}, {Holder: "b", Want: 10, Min: 3}, {Holder: "c", Want: 5}}, []int{7, 3, 0}},
		{10, "priority", []fleet.Share{{Holder: "a", Want: 10, Min: 2}, {Holder: "b", Want: 7, Priority: 1}, {Holder: "c", Want: 10}}, []int{2, 7, 1}},
		{10, "negative priority", []fleet.Share{{Holder: "a", Want: 10, Priority: -1}, {Holder: "b", Want: 4}}, []int{6, 4}},
		{1, "more holders than units", []fleet.Share{{Holder: "b", Want: 5}, {Holder: "a", Want: 5}}, []int{0, 1}},
		{fleet.MaxUnits, "large", []fleet.Share{{Holder: "a", Want: fleet.MaxUnits, Min: fleet.MaxUnits}, {Holder: "b", Want: fleet.MaxUnits}, {Holder: "c", Want: fleet.MaxUnits, Min: 5}}, []int{fleet.MaxUnits - 5, 0, 5}},
		{5, "no holder", nil, nil},
	} {
		targets := make(map[string]int)
		shares := slices.Clone(c.of)
		fleet.Targets(c.limit, shares)
		for _, s := range shares {
			targets[s.Holder] = s.Target
		}
		for i, s := range c.of {
			if targets[s.Holder] != c.to[i] {
				t.Errorf("%s: the target of %s is %d, want %d", c.want, s.Holder, targets[s.Holder], c.to[i])
			}
		}
	}
}

func randomShares(r *rand.Rand) (limit int, shares []fleet.Share) {
	for i := range r.IntN(9) {
		shares = append(shares, fleet.Share{Holder: string(rune('a' + i)), Want: r.IntN(20), Min: r.IntN(2) * r.IntN(10), Priority: r.IntN(3) * r.IntN(2)})
	}
	r.Shuffle(len(shares), func(i, k int) { shares[i], shares[k] = shares[k], shares[i] })
	return r.IntN(60), shares
}

// The rule agrees with one that gives one unit at a time, and does not depend on the order.
func TestTargets_Random(t *testing.T) {
	r := seed(t)
	for range 5000 {
		limit, shares := randomShares(r)
		want := slowTargets(limit, shares)
		given := slices.Clone(shares)
		fleet.Targets(limit, shares)
		sum, wants := 0, 0
		for _, s := range shares {
			sum, wants = sum+s.Target, wants+s.Want
			if s.Target != want[s.Holder] {
				t.Fatalf("limit %d, %+v: the target of %s is %d, want %d", limit, given, s.Holder, s.Target, want[s.Holder])
			}
		}
		if sum != min(limit, wants) {
			t.Fatalf("limit %d, %+v: the targets sum to %d", limit, given, sum)
		}
	}
}
