package fleet

import (
	"cmp"
	"slices"
	"strings"
)

// Share is what one holder wants of a quota: the part of its [Claim] that [Targets] needs.
type Share struct {
	Holder         string
	Want           int
	Min            int
	Priority       int
	Target         int // set by Targets
	base, from, to int // Targets: the minimum that was given, and the range above it
}

// Targets divides limit among the holders and sets the Target of each, in whole units. Every
// [Ledger] follows this rule:
//
//  1. No target is more than Want. If the sum of all wants is at most limit, each target is
//     the Want.
//  2. First each holder gets min(Min, Want). If limit does not suffice for all of these,
//     they are divided by rule 3 and 4, as if they were the wants.
//  3. What is left goes to the holders with the largest Priority, up to their wants, then to
//     the next, and so on.
//  4. Holders of one Priority get max-min fair shares: there is a level so that each has
//     max(its minimum, min(Want, level)). If the units do not divide evenly, the holders
//     with a Want above the level and a minimum not above it get one more each, in the order
//     of their names, compared byte by byte, until no unit is left.
//
// The targets sum to min(limit, sum of wants), and do not depend on the order of shares. No two
// shares may have the same Holder. Targets sorts shares in place, by falling Priority and then
// by Holder.
func Targets(limit int, shares []Share) {
	slices.SortFunc(shares, func(a, b Share) int {
		return compareShares(a.Priority, b.Priority, a.Holder, b.Holder)
	})
	minimums := int64(0) // the sums may exceed an int of 32 bits
	for i := range shares {
		s := &shares[i]
		s.Target, s.base = 0, max(0, min(s.Min, s.Want))
		minimums += int64(s.base)
	}
	if minimums >= int64(limit) {
		for i := range shares {
			shares[i].from, shares[i].to = 0, shares[i].base
		}
		divideShares(int64(limit), shares)
		return
	}
	for i := range shares {
		shares[i].from, shares[i].to = shares[i].base, max(0, shares[i].Want)
	}
	divideShares(int64(limit)-minimums, shares)
}

// compareShares is the order of Targets: falling priority, then by name.
func compareShares(priority1, priority2 int, holder1, holder2 string) int {
	if priority1 != priority2 {
		return cmp.Compare(priority2, priority1)
	}
	return strings.Compare(holder1, holder2)
}

// divideShares gives each share its from, and rest more units in total, one Priority after the
// other, but no share more than its to.
func divideShares(rest int64, shares []Share) {
	for len(shares) > 0 {
		n := 1
		for n < len(shares) && shares[n].Priority == shares[0].Priority {
			n++
		}
		rest -= fill(max(0, rest), shares[:n])
		shares = shares[n:]
	}
}

// fill divides up to rest units above from among shares of one Priority and returns how many
// it gave.
func fill(rest int64, shares []Share) (given int64) {
	need := int64(0)
	for i := range shares {
		need += int64(shares[i].to - shares[i].from)
	}
	if need <= rest {
		for i := range shares {
			shares[i].Target = shares[i].to
		}
		return need
	}
	// The largest level that rest suffices for. The sum grows with the level, so a binary
	// search finds it, in at most 31 rounds.
	above := func(level int) (sum int64) {
		for i := range shares {
			sum += int64(raised(&shares[i], level) - shares[i].from)
		}
		return sum
	}
	low, high := 0, 0
	for i := range shares {
		high = max(high, shares[i].to)
	}
	for low < high {
		if mid := high - (high-low)/2; above(mid) <= rest {
			low = mid
		} else {
			high = mid - 1
		}
	}
	odd := rest - above(low)
	for i := range shares {
		s := &shares[i]
		s.Target = raised(s, low)
		if odd > 0 && s.to > low && s.from <= low {
			s.Target++
			odd--
		}
	}
	return rest
}

// raised returns how many units a share has at that level.
func raised(s *Share, level int) int { return max(s.from, min(s.to, level)) }
