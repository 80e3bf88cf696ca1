package endpoint

import (
	"math"
	"sync/atomic"
)

// Rendezvous returns a balancer that always picks the same candidate for the same key, by
// weighted rendezvous hashing: when an endpoint joins or leaves only the keys that it gains or
// had move. Keys are divided by Weight; load, failures and slow start change nothing, but an
// ejected endpoint is no candidate. With an empty key it picks as [P2C] does. Among many
// candidates it remembers the picks of recent keys, and looks at all candidates for other keys.
func Rendezvous() Balancer { return &rendezvous{} }

type rendezvous struct {
	p2c
	memo atomic.Pointer[memo]
}

func (b *rendezvous) fork() Balancer { return Rendezvous() }

func (b *rendezvous) Pick(c []Candidate, key string) int {
	if key == "" {
		return b.p2c.Pick(c, key)
	}
	k := hashString(key)
	if len(c) < memoFrom || len(c) > maxMemo {
		return winner(c, k)
	}
	m := b.memo.Load()
	if m == nil || m.first != &c[0] || m.n != len(c) {
		m = &memo{first: &c[0], n: len(c)}
		b.memo.Store(m)
	}
	i, known := m.get(k)
	if !known {
		i = winner(c, k)
		m.put(k, i)
	}
	return i
}

// winner returns the candidate to which the hash of a key belongs.
func winner(c []Candidate, k uint64) int {
	// With equal weights the largest number wins.
	won, largest, w := 0, uint64(0), c[0].Weight
	for i := range c {
		if c[i].Weight != w {
			return weightedWinner(c, k)
		}
		if h := mix(c[i].Hash ^ k); h > largest {
			won, largest = i, h
		}
	}
	return won
}

func weightedWinner(c []Candidate, k uint64) int {
	// The smallest -log(u)/w wins. -log(u) is at least 1-u, and nearly equal if u is near 1, as
	// that of a winner is. So the one of the first with the smallest (1-u)/w is a good start,
	// and after it few candidates need a logarithm.
	won, v, w := 0, 1-unit(mix(c[0].Hash^k)), c[0].weight()
	for i := 1; i < min(len(c), 32); i++ {
		if vi, wi := 1-unit(mix(c[i].Hash^k)), c[i].weight(); vi*w < v*wi {
			won, v, w = i, vi, wi
		}
	}
	best := -math.Log(unit(mix(c[won].Hash^k))) / w
	for i := range c {
		u := unit(mix(c[i].Hash ^ k))
		w := c[i].weight()
		if 1-u >= w*best || i == won {
			continue
		}
		if d := -math.Log(u) / w; d < best {
			won, best = i, d
		}
	}
	return won
}

const (
	memoSize = 1 << 12
	memoFrom = 8         // candidates from which on a look-up is faster
	maxMemo  = 1<<16 - 1 // an entry has 16 bits for the winner
)

// memo remembers the winners of recent keys among the candidates of one slice, which the
// pointer to its first element identifies: it keeps the array from being reused, and candidates
// are never modified.
type memo struct {
	first *Candidate
	n     int
	// An entry has the upper 48 bits of the hash of its key, and the winner plus one. The place
	// of the entry is the lower 12 bits, so two keys are confused if 60 bits of their hashes
	// are equal.
	entries [memoSize]atomic.Uint64
}

func (m *memo) get(k uint64) (i int, known bool) {
	e := m.entries[k%memoSize].Load()
	i = int(e & (1<<16 - 1))
	return i - 1, i != 0 && e>>16 == k>>16
}

func (m *memo) put(k uint64, i int) { m.entries[k%memoSize].Store(k>>16<<16 | uint64(i+1)) }

// unit maps a hash to a number between 0 and 1, exclusively.
func unit(h uint64) float64 { return (float64(h>>12) + 0.5) / (1 << 52) }

// Rank implements [Ranker]: a key is retried at the candidates that would win if those before
// were absent.
func (b *rendezvous) Rank(dst []string, c []Candidate, key string, n int) []string {
	if key == "" {
		first := b.p2c.Pick(c, key)
		return appendRest(append(dst, c[first].Addr), c, first, n-1)
	}
	k := hashString(key)
	n = min(n, len(c), maxChoices)
	var best [maxChoices]float64
	start := len(dst)
	for i := range c {
		u := unit(mix(c[i].Hash ^ k))
		w := c[i].weight()
		have := len(dst) - start
		if have == n && 1-u >= w*best[n-1] {
			continue
		}
		d := -math.Log(u) / w
		at := have
		for at > 0 && d < best[at-1] {
			at--
		}
		if at == n {
			continue
		}
		if have < n {
			dst = append(dst, "")
			have++
		}
		for m := have - 1; m > at; m-- {
			best[m] = best[m-1]
			dst[start+m] = dst[start+m-1]
		}
		best[at] = d
		dst[start+at] = c[i].Addr
	}
	return dst
}
