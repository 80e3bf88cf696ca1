package endpoint

import (
	"math"

	"github.com/respool/respool/internal/random"
)

// Balancer picks an endpoint. It must be safe for use by many goroutines at once, must not
// block, and should allocate nothing. A panic in it, or a result out of range, counts as a pick
// of the first candidate.
//
//	balancer      picks by                     looks at     among 16     among 1,000
//	P2C           load / share                 2            20 ns        25 ns
//	PeakEWMA      load × latency / share       2            20 ns        25 ns
//	LeastLoaded   load / share                 all          45 to 70 ns  2 to 3 µs
//	RoundRobin    share alone                  all          25 ns        2 µs
//	Rendezvous    key and Weight alone         all, or the  10 ns if the key is remembered,
//	                                           memory       else 50 to 175 ns, 1.7 to 2.4 µs
//	Zone          as the next one, and load    as the next  + 20 ns      + 30 ns
//
// The times are minima of BenchmarkPick on one machine; a pick of these allocates nothing.
type Balancer interface {
	// Pick returns the index of a candidate. key is what [Set.Rank] was called with. The result
	// depends on nothing but the arguments, random numbers and the Balancer's own counters. c
	// has at least one element. It is never modified, also after Pick has returned, so that a
	// Balancer may keep what it has computed for it.
	Pick(c []Candidate, key string) int
}

// Ranker is an optional interface of a [Balancer] that also decides where to try next.
type Ranker interface {
	// Rank appends to dst the addresses of up to n different candidates, best first, of which
	// the first is what Pick would return. n is at least 1.
	Rank(dst []string, c []Candidate, key string, n int) []string
}

// LatencyFollower is an optional interface of a [Balancer] that uses [Candidate.Latency].
type LatencyFollower interface {
	// FollowsLatency returns how the latency is computed, and false if it is not used.
	FollowsLatency() (PeakEWMAConfig, bool)
}

// P2C returns the default balancer, two random choices: of two candidates chosen at random it
// picks the one with the smaller load relative to its share; if the loads are equal, at random
// in proportion to the shares. A pick takes the same time among any number of candidates.
func P2C() Balancer { return p2c{} }

type p2c struct{}

func (p2c) Pick(c []Candidate, _ string) int {
	if len(c) == 1 {
		return 0
	}
	i, j := twoOf(len(c))
	a, b := &c[i], &c[j]
	return either(i, j, a.Load(), b.Load(), a.Share(), b.Share())
}

// either returns the one of i and j with the smaller load relative to its share. One more than
// the load is compared: an endpoint that fails fast has no load, and would otherwise win
// whatever its share is.
func either(i, j, li, lj int, si, sj float64) int {
	if li == lj {
		// The larger share would always win between idle endpoints.
		if si != sj && random.Float64()*(si+sj) >= si {
			return j
		}
		return i
	}
	if float64(lj+1)*si < float64(li+1)*sj {
		return j
	}
	return i
}

// twoOf returns two different random indices below n, which is at least 2.
func twoOf(n int) (i, j int) {
	r := random.Uint64()
	i = int(r >> 32 * uint64(n) >> 32)
	j = int(r & (1<<32 - 1) * uint64(n-1) >> 32)
	if j >= i {
		j++
	}
	return i, j
}

// LeastLoaded returns a balancer that picks the candidate with the smallest load relative to
// its share. Candidates with the same load are picked at random in proportion to their shares.
// It looks at all candidates.
func LeastLoaded() Balancer { return leastLoaded{} }

type leastLoaded struct{}

func (leastLoaded) Pick(c []Candidate, _ string) int {
	// Those with the least load compete at random, by reservoir sampling: of those seen so far
	// each is the winner with a probability in proportion to its share.
	bits := random.Uint64()
	won, least, total := 0, math.MaxInt, 0.0
	largest, mixed := c[0].Share(), false
	for i := range c {
		l, s := c[i].Load(), c[i].Share()
		if s != largest {
			mixed, largest = true, max(largest, s)
		}
		if l > least {
			continue
		}
		if l < least {
			least, total = l, 0
		}
		total += s
		bits = bits*6364136223846793005 + 1442695040888963407
		if total == s || unit(bits)*total < s {
			won = i
		}
	}
	if !mixed {
		return won
	}
	// The winner competes with those that have more load but a larger share.
	best, cost := won, float64(least+1)/c[won].Share()
	if float64(least+2)/largest >= cost {
		return won
	}
	for i := range c {
		l := c[i].Load()
		if l <= least {
			continue
		}
		if x := float64(l+1) / c[i].Share(); x < cost {
			best, cost = i, x
		}
	}
	return best
}

// maxChoices is the largest n of a Rank.
const maxChoices = 32

// appendRest appends the addresses of up to n candidates other than c[first], in order of load
// relative to share. Of more than maxChoices candidates it considers some that follow each
// other, from a random one on.
func appendRest(dst []string, c []Candidate, first, n int) []string {
	considered := min(len(c), max(16, n+1), maxChoices)
	at := 0
	if len(c) > 1 {
		at = random.IntN(len(c))
	}
	n = min(n, maxChoices)
	var best [maxChoices]struct {
		cost float64
		at   int
	}
	have := 0
	for range considered {
		if at != first {
			cost := float64(c[at].Load()+1) / c[at].Share()
			k := have
			for k > 0 && cost < best[k-1].cost {
				if k < n {
					best[k] = best[k-1]
				}
				k--
			}
			if k < n {
				best[k].cost, best[k].at = cost, at
				have = min(have+1, n)
			}
		}
		if at++; at == len(c) {
			at = 0
		}
	}
	for i := range have {
		dst = append(dst, c[best[i].at].Addr)
	}
	return dst
}
