package prometheus

import (
	"testing"
)

// While callers come and go no bucket of the waits falls from one scrape to the
// next: Prometheus would take it for a restart, and count all of it again.
func TestGrows(t *testing.T) {
	m, _, stop := program(t)
	c := Of(m)
	was := make(map[float64]uint64)
	var count uint64
	for last := false; !last; {
		if last = count > 500; last {
			stop()
		}
		h := gather(t, c)["wait_seconds"].Metric[0].Histogram
		if n := h.GetSampleCount(); n < count {
			t.Fatalf("count fell from %d to %d", count, n)
		} else {
			count = n
		}
		for _, b := range h.Bucket {
			if n := b.GetCumulativeCount(); n < was[b.GetUpperBound()] {
				t.Errorf("up to %v s: %d after %d", b.GetUpperBound(), n, was[b.GetUpperBound()])
			}
			was[b.GetUpperBound()] = b.GetCumulativeCount()
		}
	}
}
