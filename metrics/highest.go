package metrics

import "sync/atomic"

// highest is a number that never falls. While the pool is in use, only a lower bound
// of the acquires that found an idle resource is known: an acquire that waits may be
// in Acquired already and not in the waits yet. A hit must not become a wait later,
// or the bucket of a histogram would fall, which collectors take for a restart.
type highest struct{ n atomic.Int64 }

// atLeast raises the number to n if it is lower, and returns it.
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
