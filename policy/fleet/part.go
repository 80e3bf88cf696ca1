package fleet

import (
	"cmp"
	"slices"
)

// part is what one [Member] gets of the share of its process.
type part struct {
	member int // its index in Quota.members
	number int // that of the member
	weight int
	want   int // units that it uses and waits for, a multiple of weight
	share  int // set by divide, a multiple of weight
}

// divide divides units among the parts and sets their shares. It gives one resource after the other:
// the next one to the part that has the fewest units so far; among equals to the one of the smallest
// weight; among these to the one whose member was created first. A part that has all that it
// wants, or whose weight exceeds what is left, gets no more. So the shares are max-min fair as far
// as whole resources allow, and what is left suffices for no part. divide sorts parts in place.
func divide(units int, parts []part) {
	slices.SortFunc(parts, func(a, b part) int {
		return cmp.Or(cmp.Compare(a.weight, b.weight), cmp.Compare(a.number, b.number))
	})
	rest := int64(units) // of them, less the shares of the parts that get no more
	for low := 0; len(parts) > 0; {
		level := highest(rest, low, parts)
		left := rest
		for i := range parts {
			parts[i].share = parts[i].at(level)
			left -= int64(parts[i].share)
		}
		end := len(parts)
		for i := range parts {
			p := &parts[i]
			if p.share == p.want || p.at(level+1) == p.share {
				continue
			}
			if int64(p.weight) > left {
				end = i // nor do the parts behind it get more: their weights are not smaller
				break
			}
			p.share += p.weight
			left -= int64(p.weight)
		}
		if end == len(parts) {
			return // each has what it wants
		}
		for i := range parts[end:] {
			rest -= int64(parts[end+i].share)
		}
		parts, low = parts[:end], level+1
	}
}

// highest returns the highest level, from low on, for which rest suffices. It suffices for low. The
// sum grows with the level, so a binary search finds it in at most 31 rounds.
func highest(rest int64, low int, parts []part) int {
	high := low
	for i := range parts {
		high = max(high, parts[i].want)
	}
	for low < high {
		level, sum := high-(high-low)/2, int64(0)
		for i := range parts {
			sum += int64(parts[i].at(level))
		}
		if sum <= rest {
			low = level
		} else {
			high = level - 1
		}
	}
	return low
}

// at returns how many units p has once it has been given one resource after the other for as long as
// it had fewer than level.
func (p *part) at(level int) int {
	switch {
	case level <= 0:
		return 0
	case level >= p.want:
		return p.want
	}
	return (level-1)/p.weight*p.weight + p.weight
}
