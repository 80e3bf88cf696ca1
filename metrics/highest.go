package metrics

import "sync/atomic"

// highest is a number that never falls. Of acquires that found a resource idle
// only a bound from below is known while the pool is at work: whoever waits may
// be among Acquired already and not among the waits yet. What counted as a hit
// must not become a wait later, or a histogram's bucket would fall, and who
// collects it would take that for a restart.
type highest struct{ n atomic.Int64 }

// atLeast says that it is at least n, and returns it.
func (h *highest) atLeast(n int64) int64 {
	for {
		known := h.n.Load()
		if n <= known {
			return known
		}
		if h.n.CompareAndSwap(known, n) {
			return n
		}
	}
}
