package sim_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// Three times as many callers come as can be served, each with a deadline of
// 100 ms for its wait and its work of 10 ms or so. In the order of coming everybody
// who is served has waited until there is no time left for the work. What
// counts is how many are answered in time, of the capacity, and how long those
// who got a place had waited.

const target = 5 * time.Millisecond // of CoDel

var shop = service{places: 16, takes: 10 * time.Millisecond, lasts: 8 * time.Second, start: 2 * time.Second}

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
	// This one bounds the wait, and here no time is left for the work after it:
	// give it a context that ends earlier than the work must.
	run("WithinDeadline", func(cfg *resource.Config[int]) { cfg.Admission = policy.WithinDeadline(shop.places) })
	bound, _ := run("BoundedQueue of 64", func(cfg *resource.Config[int]) { cfg.Admission = policy.BoundedQueue(shop.places, 64) })
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
		t.Errorf("first come: goodput is %.3f of the capacity; the overload is weaker than it should be", fifo)
	}
}
