package sim_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// Two classes of callers exceed the capacity. The urgent ones alone do not: the others
// should not affect them, except that a resource is free slightly later, and get the rest.
// If even the urgent ones exceed the capacity, the others wait long, but not for ever: one
// level of priority is worth a second of waiting.

const level = time.Second

func urgent(load float64) stream {
	return stream{name: "urgent", rate: load * shop.capacity(), patient: 200 * time.Millisecond,
		request: resource.Request{Priority: 1}}
}

func byPriority(cfg *resource.Config[int]) { cfg.Queue = policy.Priority(level) }

func TestPriority(t *testing.T) {
	seed := source(t).Uint64()
	// Excess callers are refused, so that the queue of the others is bounded.
	low := stream{name: "others", rate: 2 * shop.capacity(), patient: 400 * time.Millisecond}
	var b table
	b.add("", "", "came", "answered in time", "served", "p50 wait", "p99 wait")
	run := func(name string, edit func(cfg *resource.Config[int]), streams ...stream) []*seen {
		all := shop.run(t, seed, edit, streams...)
		for i, s := range all {
			b.add(name, streams[i].name, s.came, fmt.Sprintf("%.2f %%", 100*s.share()), len(s.waits), quantile(s.waits, 0.5), s.p99())
		}
		return all
	}
	alone := run("alone", byPriority, urgent(0.6))[0]
	mixed := run("with others", byPriority, urgent(0.6), low)
	fifo := run("first come", func(*resource.Config[int]) {}, urgent(0.6), low)
	b.log(t)

	high, rest := mixed[0], mixed[1]
	if high.share() < alone.share()-0.001 {
		t.Errorf("urgent: %.2f %% answered, alone %.2f %%", 100*high.share(), 100*alone.share())
	}
	if limit := alone.p99() + shop.takes/2; high.p99() > limit {
		t.Errorf("urgent: the 99th percentile of the waits is %v, alone %v; want %v at most", high.p99(), alone.p99(), limit)
	}
	if got, left := float64(len(rest.waits)), 0.4*shop.capacity()*(shop.lasts-shop.start).Seconds(); got < 0.9*left {
		t.Errorf("others: %.0f were served, want at least 90 %% of the remaining capacity %.0f", got, left)
	}
	if fifo[0].share() > 0.5*alone.share() {
		t.Errorf("first come: %.2f %% of the urgent were answered; the load is lower than intended", 100*fifo[0].share())
	}
}

// The urgent ones alone exceed the capacity, for longer than a level is worth.
func TestPriority_Ageing(t *testing.T) {
	seed := source(t).Uint64()
	low := stream{name: "others", rate: 0.02 * shop.capacity(), patient: time.Minute}
	strict := func(cfg *resource.Config[int]) { cfg.Queue = policy.Priority(1000 * time.Hour) }
	var b table
	b.add("", "came", "served", "p50 wait", "longest wait")
	run := func(name string, edit func(cfg *resource.Config[int])) *seen {
		s := shop.run(t, seed, edit, urgent(1.5), low)[1]
		b.add(name, s.came, len(s.waits), quantile(s.waits, 0.5), quantile(s.waits, 1))
		return s
	}
	aged, starved := run("a level is worth 1s", byPriority), run("a level is worth all", strict)
	b.log(t)
	// Urgent callers leave after 200 ms, so none has waited longer.
	limit := level + 200*time.Millisecond + 2*shop.takes
	if longest := quantile(aged.waits, 1); len(aged.waits) != aged.came || longest > limit {
		t.Errorf("others: %d of %d were served, the last after %v; want all, after %v at most",
			len(aged.waits), aged.came, longest, limit)
	}
	if longest := quantile(starved.waits, 1); longest < 5*time.Second {
		t.Errorf("strict: the others waited %v at most; the load is lower than intended", longest)
	}
}
