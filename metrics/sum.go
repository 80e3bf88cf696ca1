package metrics

import (
	"math"
	"sync/atomic"
)

// sum is a sum of numbers that are at least 0. It is safe for concurrent use.
type sum struct{ bits atomic.Uint64 }

func (s *sum) add(x float64) {
	for {
		old := s.bits.Load()
		if s.bits.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+x)) {
			return
		}
	}
}

func (s *sum) read() float64 { return math.Float64frombits(s.bits.Load()) }
