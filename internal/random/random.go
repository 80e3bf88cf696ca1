// Package random is where the packages of this module get the random numbers that spread
// their work: choices of balancers, jitter of delays. They need not be secret. They come from
// math/rand/v2, unless a simulation has given a seed, so that it can be repeated.
//
// These numbers are not from here, and no seed determines them: masking keys of frames and names
// of epochs, which must differ between processes, and priorities of nodes of a treap, which
// change no result. A test of package repocheck lists the packages.
package random

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// seeded is nil, except while a simulation runs. Reading it costs a plain load, because it is
// hardly ever written.
var seeded atomic.Pointer[source]

type source struct {
	mu sync.Mutex
	r  *rand.Rand // guarded by mu
}

func (s *source) uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.Uint64()
}

func (s *source) int64N(n int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock() // Int64N panics if n is less than 1
	return s.r.Int64N(n)
}

// Seed makes all numbers follow from seed until restore is called, which restores what was
// in effect before. It is for simulations: the whole process is affected. The numbers repeat
// only if the goroutines that ask for them do so in the same order.
func Seed(seed uint64) (restore func()) {
	before := seeded.Swap(&source{r: rand.New(rand.NewPCG(seed, 0x5eed))})
	return func() { seeded.Store(before) }
}

// Uint64 returns a random number.
func Uint64() uint64 {
	if s := seeded.Load(); s != nil {
		return s.uint64()
	}
	return rand.Uint64()
}

// Float64 returns a random number from 0 to 1, 1 excluded.
func Float64() float64 {
	if s := seeded.Load(); s != nil {
		return float64(s.uint64()>>11) / (1 << 53)
	}
	return rand.Float64()
}

// Int64N returns a random number from 0 to n, n excluded. It panics if n is less than 1.
func Int64N(n int64) int64 {
	if s := seeded.Load(); s != nil {
		return s.int64N(n)
	}
	return rand.Int64N(n)
}

// IntN is Int64N for an int.
func IntN(n int) int { return int(Int64N(int64(n))) }

// N is Int64N for a type such as time.Duration.
func N[I ~int64](n I) I { return I(Int64N(int64(n))) }

// Shuffle puts n elements into a random order. swap swaps the elements with these indexes.
func Shuffle(n int, swap func(i, j int)) {
	for i := n - 1; i > 0; i-- { // Fisher-Yates
		swap(i, IntN(i+1))
	}
}
