package fleet_test

import (
	"slices"
	"testing"

	"github.com/respool/respool/policy/fleet"
)

// slowDivide is the rule of Divide, one resource at a time.
func slowDivide(units int, weights, wants []int) []int {
	shares := make([]int, len(weights))
	for {
		best := -1
		for i, weight := range weights {
			switch {
			case shares[i] >= wants[i] || weight > units:
			case best < 0, slices.Compare([]int{shares[i], weight}, []int{shares[best], weights[best]}) < 0:
				best = i
			}
		}
		if best < 0 {
			return shares
		}
		shares[best] += weights[best]
		units -= weights[best]
	}
}

func TestDivide(t *testing.T) {
	for _, c := range []struct {
		name         string
		units        int
		weights      []int
		wants, share []int
	}{
		{"each gets one resource", 8, []int{5, 1}, []int{10, 20}, []int{5, 3}},
		{"what a heavy one cannot use", 8, []int{3, 1}, []int{30, 20}, []int{3, 5}},
		{"one wants little", 20, []int{5, 1, 1}, []int{20, 2, 30}, []int{10, 2, 8}},
		{"all fit", 20, []int{5, 1}, []int{15, 5}, []int{15, 5}},
		{"too few for the heavy one", 4, []int{5, 1}, []int{10, 20}, []int{0, 4}},
		{"too few for two", 8, []int{5, 5}, []int{10, 10}, []int{5, 0}},
		{"remainder in order of creation", 20, []int{1, 1, 1}, []int{20, 20, 20}, []int{7, 7, 6}},
		{"large", fleet.MaxUnits, []int{fleet.MaxUnits - 1, 1}, []int{fleet.MaxUnits - 1, fleet.MaxUnits}, []int{fleet.MaxUnits - 1, 1}},
		{"nothing", 0, []int{2, 1}, []int{2, 1}, []int{0, 0}},
	} {
		if shares := fleet.Divide(c.units, c.weights, c.wants); !slices.Equal(shares, c.share) {
			t.Errorf("%s: the shares are %v, want %v", c.name, shares, c.share)
		}
	}
}

// The rule agrees with one that gives one resource at a time; so no member has more than it wants, the
// shares are whole resources within the units, and what is left suffices for no member. With weights of
// 1 it is the rule of Targets.
func TestDivide_Random(t *testing.T) {
	r := seed(t)
	for range 20000 {
		var weights, wants []int
		var targets []fleet.Share
		heaviest := 1 + r.IntN(9)
		for i := range r.IntN(9) {
			weights = append(weights, 1+r.IntN(heaviest))
			wants = append(wants, weights[i]*r.IntN(12))
			targets = append(targets, fleet.Share{Holder: string(rune('a' + i)), Want: wants[i]})
		}
		units := r.IntN(90)
		shares := fleet.Divide(units, weights, wants)
		if slow := slowDivide(units, weights, wants); !slices.Equal(shares, slow) {
			t.Fatalf("%d units, weights %v, wants %v: the shares are %v, want %v", units, weights, wants, shares, slow)
		}
		left := units
		for _, share := range shares {
			left -= share
		}
		for i, share := range shares {
			if left < 0 || share > wants[i] || share%weights[i] != 0 || share < wants[i] && weights[i] <= left {
				t.Fatalf("%d units, weights %v, wants %v: the shares are %v", units, weights, wants, shares)
			}
		}
		if heaviest > 1 {
			continue
		}
		fleet.Targets(units, targets)
		for _, s := range targets {
			if share := shares[s.Holder[0]-'a']; share != s.Target {
				t.Fatalf("%d units, wants %v: the share of %s is %d, its target %d", units, wants, s.Holder, share, s.Target)
			}
		}
	}
}
