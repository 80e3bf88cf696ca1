package policy_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// The recipes of docs/policies.md on pools of sessions. Each example prints what the live
// page and the metrics show of its policy.

// session stands for what the pools lend.
type session struct{}

// config returns the Config that a recipe begins with.
func config(max int) resource.Config[*session] {
	return resource.Config[*session]{
		Make:    func(context.Context) (*session, error) { return new(session), nil },
		MaxSize: max,
	}
}

// recipe is a pool with its meter.
type recipe struct {
	*resource.Pool[*session]
	meter *metrics.Meter
}

// open returns the pool of a recipe. It panics instead of returning an error.
func open(cfg resource.Config[*session]) *recipe {
	meter, err := metrics.New("recipe", metrics.Config{})
	if err != nil {
		panic(err)
	}
	cfg.Trace = meter.Trace(nil)
	pool, err := resource.New(cfg)
	if err != nil {
		panic(err)
	}
	if err := meter.Watch(pool); err != nil {
		panic(err)
	}
	return &recipe{pool, meter}
}

// finish closes the pool. The deadline bounds it if a lease leaked.
func (p *recipe) finish() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		fmt.Println(err)
	}
	p.meter.Close()
}

// get acquires a lease, prints why if it cannot, and returns it.
func (p *recipe) get(r resource.Request) resource.Lease[*session] {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	lease, err := p.AcquireWith(ctx, r)
	if err != nil {
		fmt.Println(err)
	}
	return lease
}

// result is how an acquire ended.
type result struct {
	lease resource.Lease[*session]
	err   error
}

// wait begins an acquire that has to wait, and returns when it waits.
func (p *recipe) wait(left time.Duration, r resource.Request) <-chan result {
	before := p.Stats().Waiting
	ended := make(chan result, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), left)
		defer cancel()
		lease, err := p.AcquireWith(ctx, r)
		ended <- result{lease, err}
	}()
	for p.Stats().Waiting == before || !p.queued(before+1) {
		time.Sleep(time.Millisecond) // polls: the beginning of a wait has no event
	}
	return ended
}

// queued reports whether the Queue, if there is one, has so many waiters: it gets them a little
// after the pool counts them.
func (p *recipe) queued(n int) bool {
	for _, policy := range p.meter.Snapshot(0).Policies {
		if policy.Moment == "Queue" {
			return strings.HasPrefix(policy.State, fmt.Sprintf("%d waiting", n))
		}
	}
	return true
}

// show prints the states of the policies, as the live page shows them, and the counters
// that are not zero, by the names of metrics/prometheus without their prefix.
func (p *recipe) show() {
	s := p.meter.Snapshot(0)
	for _, policy := range s.Policies {
		fmt.Printf("%s: %s\n", policy.Moment, cmp.Or(policy.State, "shows no state"))
	}
	for _, c := range []struct {
		name, label string
		by          map[string]int64
	}{
		{"rejections_total", "policy", s.Refused},
		{"acquires_total", "result", failures(s.Failures)},
		{"destroyed_total", "reason", s.Destroyed},
	} {
		for _, value := range slices.Sorted(maps.Keys(c.by)) {
			fmt.Printf("%s{%s=%q} %d\n", c.name, c.label, value, c.by[value])
		}
	}
}

// failures are the acquires that failed, by reason.
func failures(f resource.AcquireFailures) map[string]int64 {
	by := make(map[string]int64)
	for reason, n := range f.All() {
		if n > 0 {
			by[reason.String()] = n
		}
	}
	return by
}

// More callers than the pool can serve: a bounded number of them waits, by deadline.
func ExampleBoundedQueue() {
	cfg := config(1)
	cfg.Admission = policy.BoundedQueue(cfg.MaxSize, 2) // at most 2 callers wait; the next one is refused at once
	cfg.Queue = policy.EarliestDeadline(time.Second)    // the caller with the earliest deadline is served first
	pool := open(cfg)
	defer pool.finish()

	first := pool.get(resource.Request{})
	later := pool.wait(time.Hour, resource.Request{})
	sooner := pool.wait(time.Minute, resource.Request{})
	pool.get(resource.Request{})
	pool.show()

	first.Release()
	served := <-sooner
	fmt.Println("the earlier deadline is served:", served.err == nil, "- waiting:", pool.Stats().Waiting)
	served.lease.Release()
	(<-later).lease.Release()
	// Output:
	// resource: acquire: rejected by queue: policy: limit reached
	// Admission: 3 of 3 in use
	// Queue: 2 waiting
	// rejections_total{policy="queue"} 1
	// acquires_total{result="admission"} 1
	// the earlier deadline is served: true - waiting: 1
}

// A caller that would still wait when its deadline comes is refused when it arrives.
func ExampleWithinDeadline_pool() {
	cfg := config(1)
	cfg.Admission = policy.WithinDeadline(cfg.MaxSize)
	pool := open(cfg)
	defer pool.finish()

	first := pool.get(resource.Request{})
	next := pool.wait(time.Minute, resource.Request{})
	time.Sleep(300 * time.Millisecond) // the work of the first: from now on the policy knows how long a lease takes
	first.Release()
	second := <-next

	ctx, cancel := context.WithTimeout(context.Background(), 250*time.Millisecond)
	defer cancel()
	_, err := pool.Acquire(ctx)
	var failed *resource.AcquireError
	fmt.Println(errors.Is(err, policy.ErrTooLate), errors.As(err, &failed) && failed.RetryAfter > 250*time.Millisecond)
	second.lease.Release()
	// Output:
	// true true
}

// A deadline that covers the work too: MaxWait leaves the time of the work.
func ExampleWithinDeadline_work() {
	cfg := config(1)
	cfg.Admission = policy.WithinDeadline(cfg.MaxSize)
	pool := open(cfg)
	defer pool.finish()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	const work = 50 * time.Millisecond

	deadline, _ := ctx.Deadline()
	r := resource.Request{MaxWait: max(1, time.Until(deadline)-work)} // refused if the wait would be longer
	err := pool.DoWith(ctx, r, func(ctx context.Context, s *session) error {
		return nil // the work
	})
	fmt.Println(err)
	// Output:
	// <nil>
}

// Half of the pool is kept for the tenants that have paid for it.
func ExampleShares_pool() {
	cfg := config(4)
	cfg.Admission = policy.Shares(cfg.MaxSize, map[string]int{"gold": 2}) // the other 2 are open to every class
	pool := open(cfg)
	defer pool.finish()

	for _, class := range []string{"bronze", "bronze", "bronze", "gold"} {
		lease := pool.get(resource.Request{Class: class})
		defer lease.Release()
	}
	pool.show()
	// Output:
	// resource: acquire: rejected by shares: policy: limit reached
	// Admission: 3 of 4 in use; common 2 of 2; gold 1 of 2 guaranteed
	// rejections_total{policy="shares"} 1
	// acquires_total{result="admission"} 1
}

// Jobs in the background use what interactive callers leave, and never all of the pool.
func ExampleByPriority() {
	cfg := config(4)
	jobs := policy.Named("jobs", policy.Limit(3)) // 1 of the 4 is always left
	cfg.Admission = policy.ByPriority(func(priority int) resource.Admission {
		if priority < 0 {
			return jobs
		}
		return nil // interactive callers are not limited
	})
	cfg.Queue = policy.Priority(10 * time.Second) // and are served first
	pool := open(cfg)
	defer pool.finish()

	job := resource.Request{Priority: -1}
	for range 4 {
		lease := pool.get(job)
		defer lease.Release()
	}
	pool.get(resource.Request{}).Release() // an interactive caller
	pool.show()
	// Output:
	// resource: acquire: rejected by jobs: policy: limit reached
	// Admission: shows no state
	// Queue: 0 waiting
	// rejections_total{policy="jobs"} 1
	// acquires_total{result="admission"} 1
}

// After an outage the pool grows slowly: one creation, then two, then four.
func ExampleNewMakeGate_slowStart() {
	var down atomic.Bool
	down.Store(true)
	cfg := config(16)
	cfg.Make = func(context.Context) (*session, error) {
		if down.Load() {
			return nil, errors.New("connection refused")
		}
		return new(session), nil
	}
	gate, err := policy.NewMakeGate(policy.MakeGateConfig{Concurrent: 16, InitialBackoff: 10 * time.Millisecond})
	if err != nil {
		log.Fatal(err)
	}
	cfg.MakeGate = gate
	pool := open(cfg)
	defer pool.finish()

	pool.get(resource.Request{})
	fmt.Println("creations at once while the server is down:", gate.Limit())
	down.Store(false)
	lease := pool.get(resource.Request{}) // waits for the probe
	fmt.Println("more than one after it:", gate.Limit() > 1)
	lease.Release()
	// Output:
	// resource: acquire: connection refused
	// creations at once while the server is down: 1
	// more than one after it: true
}

// Two pools of one server share a bound of their creations.
func ExampleNewMakeGate_shared() {
	var running, most atomic.Int64
	cfg := config(8)
	cfg.Make = func(context.Context) (*session, error) {
		n := running.Add(1)
		defer running.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(time.Millisecond) // what creating a session takes
		return new(session), nil
	}
	gate, err := policy.NewMakeGate(policy.MakeGateConfig{Concurrent: 2})
	if err != nil {
		log.Fatal(err)
	}
	cfg.MakeGate = gate // of both pools: together they create 2 at once
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	warm := make(chan error)
	for range 2 {
		pool, err := resource.New(cfg)
		if err != nil {
			log.Fatal(err)
		}
		defer pool.Close(ctx)
		go func() { warm <- pool.Warm(ctx, 8) }()
	}
	fmt.Println(<-warm, <-warm)
	fmt.Println("at most 2 at once:", most.Load() <= 2)
	fmt.Println(gate.State())
	// Output:
	// <nil> <nil>
	// at most 2 at once: true
	// open; 0 of 2 creations running, 0 waiting
}

// The server ends connections after 10 minutes, and its proxy those that are idle for one.
func ExampleMaxAge() {
	cfg := config(4)
	cfg.Eviction = policy.AnyOf(
		policy.MaxAge(9*time.Minute, 0.1), // each a little earlier than the server, not all at once
		policy.MaxIdle(50*time.Second),
	)
	pool := open(cfg)
	defer pool.finish()
	pool.get(resource.Request{MinRemaining: time.Minute}).Release() // a lease of a minute is not cut off
	pool.show()

	old := resource.Info{Age: 9 * time.Minute, Jitter: 0.5}
	fmt.Println(cfg.Eviction.Evict(old), "-", cfg.Eviction.Evict(resource.Info{Idle: time.Minute}))
	// Output:
	// Eviction: age 9m0s, up to 10% less, or idle 50s
	// policy: too old - policy: idle too long
}

// Resources that a burst has left over end, and as many as MinIdle stay.
func ExampleSoftIdle() {
	cfg := config(20)
	cfg.MinIdle = 2
	cfg.Eviction = policy.SoftIdle(time.Minute, cfg.MinIdle)
	pool := open(cfg)
	defer pool.finish()
	pool.show()
	unused := resource.Info{Idle: 2 * time.Minute, Idlers: 3} // in the sweep, with three idle
	fmt.Println(cfg.Eviction.Evict(unused))
	unused.Idlers = 2
	fmt.Println(cfg.Eviction.Evict(unused))
	// Output:
	// Eviction: idle 1m0s while more than 2 idle
	// policy: more idle than needed
	// <nil>
}

// Leases take different amounts of memory, of which there are 512 MiB.
func ExampleLimit_weight() {
	cfg := config(8)
	cfg.Admission = policy.Named("memory", policy.Limit(512)) // MiB, of all leases together
	pool := open(cfg)
	defer pool.finish()

	large := pool.get(resource.Request{Cost: 400})
	defer large.Release()
	pool.get(resource.Request{Cost: 200})
	pool.get(resource.Request{Cost: 100}).Release()
	pool.show()
	// Output:
	// resource: acquire: rejected by memory: policy: limit reached
	// Admission: memory: 400 of 512 in use
	// rejections_total{policy="memory"} 1
	// acquires_total{result="admission"} 1
}

// A resource in use is not checked, one that was idle for half a minute is.
func ExampleIfIdle_pool() {
	pings := 0
	ping := func(ctx context.Context, s *session) error { pings++; return nil }
	cfg := config(1)
	cfg.Health = policy.Cohort(policy.IfIdle(30*time.Second, policy.CheckTimeout(time.Second, policy.Check(ping))))
	pool := open(cfg)
	defer pool.finish()
	for range 100 {
		pool.get(resource.Request{}).Release()
	}
	fmt.Println("pings:", pings)
	pool.show()
	// Output:
	// pings: 0
	// Health: no suspects
}

// During a fail-over callers wait, and then get connections to the new server.
func ExampleGate_pool() {
	cfg := config(4)
	gate := policy.NewGate()
	cfg.Admission = gate
	pool := open(cfg)
	defer pool.finish()

	gate.Pause(errors.New("moving to the second site")) // from now on callers wait; leases go on
	pool.Reset(errors.New("fail-over"))                 // no connection of before is lent any more
	pool.get(resource.Request{NoWait: true})
	gate.Resume()

	pool.get(resource.Request{}).Release()
	pool.show()
	// Output:
	// resource: acquire: rejected by gate: policy: paused: moving to the second site
	// Admission: open
	// rejections_total{policy="gate"} 1
	// acquires_total{result="admission"} 1
}

// Under overload the newest caller is served, which can still be in time.
func ExampleCoDel_pool() {
	cfg := config(1)
	cfg.Queue = policy.CoDel(5*time.Millisecond, 100*time.Millisecond)
	pool := open(cfg)
	defer pool.finish()

	hold := func(l resource.Lease[*session]) { // for longer than the interval
		time.Sleep(110 * time.Millisecond) // the work of the holder
		l.Release()
	}
	first := pool.get(resource.Request{})
	var waiting []<-chan result
	for range 3 {
		waiting = append(waiting, pool.wait(time.Minute, resource.Request{}))
	}
	hold(first)
	second := <-waiting[0] // one long wait is no overload
	for range 2 {
		waiting = append(waiting, pool.wait(time.Minute, resource.Request{}))
	}
	hold(second.lease) // a queue that stands for an interval is
	newest := <-waiting[4]
	fmt.Println("the newest:", newest.err)
	for _, w := range waiting[1:4] {
		fmt.Println("an older one:", (<-w).err)
	}
	pool.show()
	newest.lease.Release()
	// Output:
	// the newest: <nil>
	// an older one: resource: acquire: rejected by codel: policy: overloaded
	// an older one: resource: acquire: rejected by codel: policy: overloaded
	// an older one: resource: acquire: rejected by codel: policy: overloaded
	// Queue: 0 waiting, overloaded, newest first
	// rejections_total{policy="codel"} 3
	// acquires_total{result="queue"} 3
}

// loud is an Admission that prints when it is asked, and when its permit comes back.
func loud(name string, p resource.Admission) resource.Admission {
	return policy.AdmissionFunc(func(ctx context.Context, r resource.Request) (resource.Done, error) {
		done, err := p.Admit(ctx, r)
		fmt.Println("asked:", name, "- admits:", err == nil)
		return func(o resource.Outcome) {
			fmt.Println("given back:", name, "- ignored:", o.Verdict == resource.Ignored)
			if done != nil {
				done(o)
			}
		}, err
	})
}

// Members are asked in order, and permits given back in the reverse order: at a refusal
// those before it, at the end of the lease all.
func ExampleAll_order() {
	cfg := config(4)
	queue, tenant := loud("queue", policy.BoundedQueue(cfg.MaxSize, 16)), loud("tenant", policy.Named("tenant", policy.Limit(1)))
	cfg.Admission = policy.All(queue, tenant) // the cheap refusal that can be undone is first
	pool := open(cfg)
	defer pool.finish()

	lease := pool.get(resource.Request{})
	pool.get(resource.Request{})
	lease.Release()
	// Output:
	// asked: queue - admits: true
	// asked: tenant - admits: true
	// asked: queue - admits: true
	// asked: tenant - admits: false
	// given back: queue - ignored: true
	// resource: acquire: rejected by tenant: policy: limit reached
	// given back: tenant - ignored: false
	// given back: queue - ignored: false
}

// A second limit for bursts, of which the refusals and the state can be told from the first.
func ExampleAny() {
	cfg := config(4)
	cfg.Admission = policy.Any( // in order: the second is asked only if the first refuses
		policy.Named("own", policy.Limit(1)),
		policy.Named("burst", policy.Limit(1)),
	)
	pool := open(cfg)
	defer pool.finish()

	for range 2 {
		lease := pool.get(resource.Request{})
		defer lease.Release()
	}
	_, err := pool.AcquireWith(context.Background(), resource.Request{})
	var refusal *resource.Rejection
	fmt.Println(errors.Is(err, policy.ErrFull), errors.As(err, &refusal) && refusal.Policy == "any")
	pool.show()
	// Output:
	// true true
	// Admission: own: 1 of 1 in use, or burst: 1 of 1 in use
	// rejections_total{policy="any"} 1
	// acquires_total{result="admission"} 1
}
