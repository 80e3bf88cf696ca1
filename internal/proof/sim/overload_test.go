package sim_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// Callers arrive at three times the capacity, each with a deadline of 100 ms for its wait and
// its work of about 10 ms. In order of arrival every served caller has waited until no time
// is left for its work. The figures are the goodput relative to the capacity, and the
// waits of the served callers.

const target = 5 * time.Millisecond // of CoDel

var shop = service{slots: 16, takes: 10 * time.Millisecond, lasts: 8 * time.Second, start: 2 * time.Second}

func TestOverload(t *testing.T) {
	seed := source(t).Uint64()
	crowd := stream{rate: 3 * shop.capacity(), patient: 100 * time.Millisecond}
	full := shop.capacity() * (shop.lasts - shop.start).Seconds()
	var b table
	b.add("", "goodput", "answered late", "refused", "expired", "p50 wait", "p99 wait")
	run := func(name string, edit func(cfg *resource.Config[int])) (goodput float64, s *seen) {
		s = shop.run(t, seed, edit, crowd)[0]
		goodput = float64(s.good) / full
		b.add(name, fmt.Sprintf("%.1f %%", 100*goodput), s.late, s.refused, s.expired, quantile(s.waits, 0.5), s.p99())
		return goodput, s
	}
	fifo, _ := run("first come", func(*resource.Config[int]) {})
	good, s := run("CoDel", func(cfg *resource.Config[int]) { cfg.Queue = policy.CoDel(target, 100*time.Millisecond) })
	// It bounds the wait, and here no time is left for the work: in practice pass a
	// context that ends before the deadline of the work.
	run("WithinDeadline", func(cfg *resource.Config[int]) { cfg.Admission = policy.WithinDeadline(shop.slots) })
	bound, _ := run("BoundedQueue of 64", func(cfg *resource.Config[int]) { cfg.Admission = policy.BoundedQueue(shop.slots, 64) })
	b.log(t)
	if good < 0.95 {
		t.Errorf("CoDel: goodput is %.3f of the capacity, want 0.95 at least", good)
	}
	if p99 := s.p99(); p99 > target {
		t.Errorf("CoDel: the 99th percentile of the waits is %v, want %v at most", p99, target)
	}
	if bound < 0.95 {
		t.Errorf("BoundedQueue: goodput is %.3f of the capacity, want 0.95 at least", bound)
	}
	if fifo > 0.5 {
		t.Errorf("first come: goodput is %.3f of the capacity; the load is lower than intended", fifo)
	}
}
