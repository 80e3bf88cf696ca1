package budget

import (
	"container/heap"
	"math/rand/v2"
	"testing"
	"time"
)

// nextExcept finds the first of the others, wherever in the heap a claimant is.
func TestNextExcept(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		var h claimHeap
		for range r.IntN(7) {
			heap.Push(&h, &Share{held: r.IntN(3), patient: r.IntN(4) == 0, since: time.Duration(r.IntN(3))})
		}
		absent := new(Share)
		for _, s := range append(h[:len(h):len(h)], absent) {
			var want *Share
			for _, o := range h {
				if o != s && (want == nil || h.Less(o.claimIndex, want.claimIndex)) {
					want = o
				}
			}
			got := h.nextExcept(s)
			if (got == nil) != (want == nil) || got == s || got != nil && h.Less(want.claimIndex, got.claimIndex) {
				t.Fatalf("%d claimants: got %+v, want %+v", len(h), got, want)
			}
		}
	}
}
