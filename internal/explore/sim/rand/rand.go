// Package rand stands for math/rand and math/rand/v2 in a program under the scheduler: its numbers
// are the same in every execution.
package rand

import (
	"math/rand/v2"

	"github.com/respool/respool/internal/explore/sched"
)

// Rand is that of math/rand/v2: its numbers follow from its seed.
type Rand = rand.Rand

// Functions of math/rand/v2 that make a Rand.
var (
	New    = rand.New
	NewPCG = rand.NewPCG
)

// Uint64 is that of math/rand/v2.
func Uint64() uint64 { return sched.Draw() }

// Uint32 is that of math/rand/v2.
func Uint32() uint32 { return uint32(sched.Draw() >> 32) }

// Int64 is that of math/rand/v2.
func Int64() int64 { return int64(sched.Draw() >> 1) }

// Float64 is that of math/rand/v2.
func Float64() float64 { return float64(sched.Draw()>>11) / (1 << 53) }

// IntN is that of math/rand/v2.
func IntN(n int) int { return int(sched.Draw() % uint64(n)) }

// Int64N is that of math/rand/v2.
func Int64N(n int64) int64 { return int64(sched.Draw() % uint64(n)) }

// Uint64N is that of math/rand/v2.
func Uint64N(n uint64) uint64 { return sched.Draw() % n }

// Intn is that of math/rand.
func Intn(n int) int { return IntN(n) }

// Int63n is that of math/rand.
func Int63n(n int64) int64 { return Int64N(n) }

// N is that of math/rand/v2.
func N[T ~int | ~int32 | ~int64 | ~uint | ~uint32 | ~uint64](n T) T {
	return T(sched.Draw() % uint64(n))
}

// Shuffle is that of math/rand/v2.
func Shuffle(n int, swap func(i, j int)) {
	for i := n - 1; i > 0; i-- {
		swap(i, IntN(i+1))
	}
}
