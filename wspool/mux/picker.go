package mux

import "github.com/respool/respool/internal/random"

// scanned is up to how many connections are looked at for the least loaded one. Of more, the
// less loaded of two random ones is taken, which is nearly as even and does not take longer.
const scanned = 8

// pick returns the index of the one to use of n, and its load. load returns the load of one. If
// thorough is set it looks at all of them.
func pick(n int, thorough bool, load func(i int) int64) (best int, least int64) {
	if thorough || n <= scanned {
		return pickLeast(n, load)
	}
	a := random.IntN(n)
	b := (a + 1 + random.IntN(n-1)) % n
	best, least = a, load(a)
	if l := load(b); l < least {
		best, least = b, l
	}
	return best, least
}

// pickLeast is pick that looks at all of them.
func pickLeast(n int, load func(i int) int64) (best int, least int64) {
	first := 0
	if n > 1 {
		first = random.IntN(n) // so that equals take turns
	}
	for k := range n {
		i := (first + k) % n
		if l := load(i); k == 0 || l < least {
			best, least = i, l
		}
	}
	return best, least
}
