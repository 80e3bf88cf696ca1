package mux

import "sync/atomic"

// replays decides how many calls of unknown fate may be sent again: so many as a part of all
// calls, so that a server that fails is not also asked twice as often.
type replays struct {
	ratio float64 // constant
	calls atomic.Int64
	used  atomic.Int64
}

// freeReplays are allowed in any case.
const freeReplays = 10

// take takes one replay from the budget.
func (r *replays) take() bool {
	if r.ratio < 0 {
		return false
	}
	for {
		used := r.used.Load()
		if float64(used) >= freeReplays+r.ratio*float64(r.calls.Load()) {
			return false
		}
		if r.used.CompareAndSwap(used, used+1) {
			return true
		}
	}
}
