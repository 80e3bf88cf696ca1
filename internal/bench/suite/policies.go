package suite

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/respool/respool/internal/bench/peer"
	"github.com/respool/respool/metrics"
	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// What a policy, or a Trace of leases, may add to an acquire and release, in
// nanoseconds: an Eviction, an Admission, an Admission of several, another policy, and a
// Trace.
const evictionGoal, admissionGoal, allGoal, policyGoal, traceGoal = 5, 15, 30, 25, 10

// policyRows time a pool with each ready-made policy, or a usual combination of them,
// beside one without, in turns.
func policyRows(s size) (out []row) {
	type config = resource.Config[*peer.Item]
	add := func(name string, goal float64, edit func(c *config)) {
		f := figure{work: "one goroutine with policy " + name + ": added to none", metric: "added ns"}
		if goal > 0 {
			f.rule, f.bound, f.allocs = atMost, goal, true
		}
		out = append(out, row{name: "policy-" + name, figures: []figure{f}, entrants: []entrant{{name, func(x *setup) measurement {
			c := config{SweepInterval: time.Hour}
			bare := x.openIdle(1, c)
			edit(&c)
			p := x.openIdle(1, c)
			return func(ctx context.Context) sample { return addedBy(ctx, s.micro()/policyTurns, p, bare) }
		}}}})
	}
	admission := func(name string, goal float64, a resource.Admission) {
		add(name, goal, func(c *config) { c.Admission = a })
	}
	eviction := func(name string, e resource.Eviction) { add(name, evictionGoal, func(c *config) { c.Eviction = e }) }
	health := func(name string, h resource.Health[*peer.Item]) {
		add(name, policyGoal, func(c *config) { c.Health = h })
	}
	healthy := policy.Check(func(context.Context, *peer.Item) error { return nil })
	idle := policy.IfIdle(time.Hour, healthy)

	admission("limit", admissionGoal, policy.Limit(1000))
	admission("shares", admissionGoal, policy.Shares(1000, map[string]int{"a": 10}))
	admission("deadline", admissionGoal, policy.WithinDeadline(1000))
	admission("gate", admissionGoal, policy.NewGate())
	admission("named", admissionGoal, policy.Named("mine", policy.Limit(1000)))
	admission("reserve", admissionGoal, policy.Reserve(1, 1, policy.Limit(1000)))
	admission("all", allGoal, policy.All(policy.NewGate(), policy.Limit(1000)))
	admission("all-2", allGoal, policy.All(policy.Limit(1000), policy.Limit(1000)))
	admission("all-3", allGoal, policy.All(policy.Limit(1000), policy.WithinDeadline(1000), policy.NewGate()))
	admission("rate", 0, policy.Rate(rate.NewLimiter(rate.Inf, 1))) // no goal: the cost is that of x/time/rate
	eviction("max-age", policy.MaxAge(time.Hour, 0.1))
	eviction("max-idle", policy.MaxIdle(time.Hour))
	eviction("soft-idle", policy.SoftIdle(time.Hour, 1))
	eviction("max-leases", policy.MaxLeases(1<<40, 0.1))
	eviction("any-of-2", policy.AnyOf(policy.MaxAge(time.Hour, 0.1), policy.MaxIdle(time.Hour)))
	eviction("chain", policy.AnyOf(policy.MaxAge(time.Hour, 0.1), policy.MaxLeases(1<<40, 0.1), policy.MaxIdle(time.Hour),
		policy.SoftIdle(time.Minute, 1), policy.Protect(1, policy.MaxIdle(time.Minute))))
	add("evict-if", policyGoal, func(c *config) {
		c.EvictIf = func(_ *peer.Item, i resource.Info) error {
			if i.Age < 0 {
				return policy.ErrMaxAge
			}
			return nil
		}
	})
	health("if-idle", idle)
	health("cohort", policy.Cohort(idle))
	add("one-of-each", 0, func(c *config) {
		c.Admission, c.Health, c.Eviction = policy.Limit(1000), idle, policy.MaxAge(time.Hour, 0.1)
	})
	add("meter", traceGoal, func(c *config) { c.Trace = must(metrics.New("bench", metrics.Config{})).Trace(nil) })
	add("sampled-leases", traceGoal, func(c *config) { c.Trace = counting() })
	add("queue", policyGoal, func(c *config) { c.Queue = policy.Priority(time.Second) })
	return out
}

// counting is a Trace that counts leases and sums how long they were held.
func counting() *resource.Trace {
	var begun, held atomic.Int64
	return &resource.Trace{
		Leased: func(context.Context, resource.LeaseEvent) { begun.Add(1) },
		Ended:  func(e resource.EndEvent) { held.Add(int64(e.Held) * max(1, e.Sampled)) },
	}
}

// policyTurns is how often the two pools are timed in turns for one sample. The least
// of each counts: disturbances, which exceed the cost of a policy, only ever add.
const policyTurns = 10

// addedBy is what an acquire and release of p takes more than one of bare.
func addedBy(ctx context.Context, slice time.Duration, p, bare *resource.Pool[*peer.Item]) sample {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var least [2]sample
	for range policyTurns {
		for i, pool := range []*resource.Pool[*peer.Item]{bare, p} {
			got := meter(ctx, slice, func(ctx context.Context, n int) error { return peer.RespoolLoop(ctx, pool, n, false) })
			if least[i] == nil || got["ns/op"] < least[i]["ns/op"] {
				least[i] = got
			}
		}
	}
	least[1]["added ns"] = least[1]["ns/op"] - least[0]["ns/op"]
	return least[1]
}
