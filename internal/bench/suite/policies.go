package suite

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/respool/respool/internal/bench/peer"
	"github.com/respool/respool/metrics"
	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// policyGoal is what a stock policy may add to an acquire and release, in
// nanoseconds, and traceGoal what telling a Trace of leases may.
const (
	policyGoal = 25
	traceGoal  = 15
)

// A stock is one ready-made policy, or a usual pair of them, in a pool.
type stock struct {
	name string
	edit func(c *resource.Config[*peer.Item])
	most float64 // what it may add; 0: policyGoal
	wrap bool    // around a library, whose cost is only told
	why  string  // why it adds more, as far as that is known
}

func stocks() []stock {
	admission := func(name string, a resource.Admission) stock {
		return stock{name: name, why: whyCounts, edit: func(c *resource.Config[*peer.Item]) { c.Admission = a }}
	}
	eviction := func(name string, e resource.Eviction) stock {
		return stock{name: name, why: whyEvict, edit: func(c *resource.Config[*peer.Item]) { c.Eviction = e }}
	}
	health := func(name string, h resource.Health[*peer.Item]) stock {
		return stock{name: name, edit: func(c *resource.Config[*peer.Item]) { c.Health = h }}
	}
	works := policy.Check(func(context.Context, *peer.Item) error { return nil })
	idle := policy.IfIdle(time.Hour, works)
	library := admission("rate", policy.Rate(rate.NewLimiter(rate.Inf, 1)))
	library.wrap = true
	return []stock{
		admission("limit", policy.Limit(1000)),
		admission("shares", policy.Shares(1000, map[string]int{"a": 10})),
		admission("deadline", policy.WithinDeadline(1000)),
		admission("gate", policy.NewGate()),
		admission("named", policy.Named("mine", policy.Limit(1000))),
		admission("reserve", policy.Reserve(1, 1, policy.Limit(1000))),
		admission("all", policy.All(policy.NewGate(), policy.Limit(1000))),
		admission("all-2", policy.All(policy.Limit(1000), policy.Limit(1000))),
		library,
		eviction("max-age", policy.MaxAge(time.Hour, 0.1)),
		eviction("max-idle", policy.MaxIdle(time.Hour)),
		eviction("soft-idle", policy.SoftIdle(time.Hour, 1)),
		eviction("max-leases", policy.MaxLeases(1<<40, 0.1)),
		eviction("any-of-2", policy.AnyOf(policy.MaxAge(time.Hour, 0.1), policy.MaxIdle(time.Hour))),
		health("if-idle", idle),
		health("cohort", policy.Cohort(idle)),
		{name: "one-of-each", wrap: true, edit: func(c *resource.Config[*peer.Item]) {
			c.Admission, c.Health = policy.Limit(1000), idle
			c.Eviction = policy.MaxAge(time.Hour, 0.1)
		}},
		{name: "meter", most: traceGoal, edit: func(c *resource.Config[*peer.Item]) { c.Trace = metered() }},
		{name: "sampled-leases", most: traceGoal, edit: func(c *resource.Config[*peer.Item]) { c.Trace = counting() }},
		{name: "queue", edit: func(c *resource.Config[*peer.Item]) { c.Queue = policy.Priority(time.Second) }},
	}
}

// metered is the Trace of a meter.
func metered() *resource.Trace {
	m, err := metrics.New("bench", metrics.Config{})
	if err != nil {
		panic(err) // that name is right
	}
	return m.Trace(nil)
}

// counting is a Trace that counts leases and adds up how long they were held.
func counting() *resource.Trace {
	var begun, held atomic.Int64
	return &resource.Trace{
		Leased: func(context.Context, resource.LeaseEvent) { begun.Add(1) },
		Ended:  func(e resource.EndEvent) { held.Add(int64(e.Held) * max(1, e.Sampled)) },
	}
}

// policyRows time each stock policy beside no policy, in turns.
func policyRows() (out []row) {
	for _, x := range stocks() {
		out = append(out, row{"policy-" + x.name, []entrant{{x.name, func(ctx context.Context, s size) (session, error) {
			return openStock(ctx, x, s)
		}}}})
	}
	return out
}

// policyGoals are those of policyRows.
func policyGoals() (out []goal) {
	for _, x := range stocks() {
		g := goal{row: "policy-" + x.name, work: "one goroutine with policy " + x.name + ": added to none", metric: "added ns"}
		if !x.wrap {
			g.rule, g.bound, g.allocs, g.why = atMost, policyGoal, true, x.why
			if x.most > 0 {
				g.bound = x.most
			}
		}
		out = append(out, g)
	}
	return out
}

// openStock makes a pool with the policy and one without.
func openStock(ctx context.Context, x stock, s size) (session, error) {
	var pools [2]*resource.Pool[*peer.Item]
	closeAll := func() (err error) {
		for _, p := range pools {
			if p != nil {
				err = errors.Join(err, closePool(p))
			}
		}
		return err
	}
	for i, edit := range []func(*resource.Config[*peer.Item]){func(*resource.Config[*peer.Item]) {}, x.edit} {
		c := resource.Config[*peer.Item]{Make: peer.Instant, MaxSize: 1, SweepInterval: time.Hour}
		edit(&c)
		p, err := resource.New(c)
		if err == nil {
			pools[i], err = p, p.Warm(ctx, 1)
		}
		if err != nil {
			return session{}, errors.Join(err, closeAll())
		}
	}
	return session{close: closeAll, measure: func(ctx context.Context) (sample, error) {
		return addedBy(ctx, s.micro/turns, pools[1], pools[0])
	}}, nil
}

// turns is how often the two are timed in turns for one sample. The least of
// each counts: what disturbs, and there is more of it than a policy costs, only
// ever adds.
const turns = 10

// addedBy is what an acquire and release of p takes more than of bare.
func addedBy(ctx context.Context, slice time.Duration, p, bare *resource.Pool[*peer.Item]) (sample, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	least, n := [2]sample{}, [2]int{1, 1}
	for range turns {
		for i, pool := range []*resource.Pool[*peer.Item]{bare, p} {
			got, last, err := meterFrom(ctx, slice, n[i], func(ctx context.Context, n int) error { return peer.RespoolLoop(ctx, pool, n) })
			if err != nil {
				return nil, err
			}
			n[i] = max(1, last*9/10) // most often enough, and never much more
			if least[i] == nil || got["ns/op"] < least[i]["ns/op"] {
				least[i] = got
			}
		}
	}
	least[1]["added ns"] = least[1]["ns/op"] - least[0]["ns/op"]
	return least[1], nil
}
