package suite

import (
	"context"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/bench/peer"
	"github.com/respool/respool/resource"
)

const (
	fewIdle  = 10
	manyIdle = 100_000
	manyKeys = 10_000
)

// idleRows are what many idle resources, or many keys, cost.
func idleRows(s size) []row {
	stats := func(_ context.Context, p *resource.Pool[*peer.Item], n int) error {
		idle := 0
		for range n {
			idle += p.Stats().Idle
		}
		return attempt(func() { failIf(idle == 0, "no idle resource in Stats") })
	}
	return []row{
		{name: "idle-acquire", entrants: idleEntrants(s, func(ctx context.Context, p *resource.Pool[*peer.Item], n int) error {
			return peer.RespoolLoop(ctx, p, n, false)
		}), figures: []figure{
			{work: "acquire with 100,000 idle, beside 10 idle", metric: "ns/op", rule: ratioAtMost, bound: 1.2, than: "10 idle", allocs: true}}},
		{name: "idle-sweep", entrants: []entrant{{"many idle", func(x *setup) measurement { return sweepCost(x, s) }}}, figures: []figure{
			{work: "  CPU of a sweep of 100,000 idle", metric: "cpu ms", rule: atMost, bound: 10}}},
		{name: "idle-stats", entrants: idleEntrants(s, stats), figures: []figure{
			{work: "  Stats with 100,000 idle, beside 10 idle", metric: "ns/op", rule: ratioAtMost, bound: 1.5, than: "10 idle"}}},
		{name: "keyed", figures: []figure{
			{work: "acquire and release by key, 10,000 keys, beside one pool", metric: "ns/op", rule: ratioAtMost, bound: 2, than: "one pool", allocs: true}},
			entrants: []entrant{
				{"10,000 keys", func(x *setup) measurement { return metered(s, keyedLoop(x, min(manyKeys, s.count(manyIdle)))) }},
				{"one pool", func(x *setup) measurement { return metered(s, x.loops(peer.Respool, 1).Plain) }},
			}},
	}
}

// openIdle returns a pool of n idle resources, which closes when the row or round ends.
func (x *setup) openIdle(n int, c resource.Config[*peer.Item]) *resource.Pool[*peer.Item] {
	c.Make, c.MaxSize = peer.Instant, n
	p := must(resource.New(c))
	x.cleanup(func() error { return peer.Close(p) })
	check(p.Warm(x.ctx, n))
	got := p.Stats().Idle
	failIf(got != n, "%d idle, want %d", got, n)
	return p
}

// idleEntrants are a pool of very many idle resources and one of few.
func idleEntrants(s size, body func(ctx context.Context, p *resource.Pool[*peer.Item], n int) error) []entrant {
	one := func(name string, n int) entrant {
		return entrant{name, func(x *setup) measurement {
			p := x.openIdle(n, resource.Config[*peer.Item]{SweepInterval: time.Hour})
			return metered(s, func(ctx context.Context, n int) error { return body(ctx, p, n) })
		}}
	}
	return []entrant{one("many idle", s.count(manyIdle)), one("10 idle", fewIdle)}
}

// A sweepCounter is an Eviction that evicts nothing and counts sweeps by the first
// resource: each sweep asks about it once, as it is not in use.
type sweepCounter struct{ sweeps atomic.Int64 }

func (c *sweepCounter) Evict(i resource.Info) error {
	if i.ID == 1 {
		c.sweeps.Add(1)
	}
	return nil
}

// sweepCost finds the CPU time of one sweep over very many idle resources: the CPU time
// of a while with sweeps, less that of a while without.
func sweepCost(x *setup, s size) measurement {
	x.openIdle(s.count(manyIdle), resource.Config[*peer.Item]{Eviction: &sweepCounter{}, SweepInterval: time.Hour})
	return perRound(func(x *setup) sample {
		without := cpuOf(x.ctx, s.time(2*time.Second), func() {})
		var count sweepCounter
		x.openIdle(s.count(manyIdle), resource.Config[*peer.Item]{Eviction: &count, SweepInterval: max(10*ms, s.time(25*ms))})
		var sweeps int64
		with := cpuOf(x.ctx, s.time(2*time.Second), func() { sweeps = count.sweeps.Load() - sweeps })
		failIf(sweeps == 0, "no sweep in %v", s.time(2*time.Second))
		return sample{"cpu ms": millis(with-without) / float64(sweeps), "sweeps": float64(sweeps)}
	})(x)
}

// cpuOf returns the CPU time of this process in d, after a garbage collection. It calls
// mark at the begin and at the end.
func cpuOf(ctx context.Context, d time.Duration, mark func()) time.Duration {
	runtime.GC()
	check(peer.Pause(ctx, d/10)) // the collector's work after it
	mark()
	before := cpuNow()
	check(peer.Pause(ctx, d))
	took := cpuNow() - before
	mark()
	return took
}

// keyedLoop makes a resource for each of n keys and uses one key.
func keyedLoop(x *setup, n int) peer.Loop {
	k := must(resource.NewKeyed(resource.KeyedConfig[string, *peer.Item]{
		Config: func(string) (resource.Config[*peer.Item], error) {
			return resource.Config[*peer.Item]{Make: peer.Instant, MaxSize: 1}, nil
		},
		MaxTotal: n,
	}))
	x.cleanup(func() error { return peer.Close(k) })
	for i := range n {
		l := must(k.Acquire(x.ctx, "key "+strconv.Itoa(i)))
		l.Release()
	}
	key := "key " + strconv.Itoa(n/2)
	return func(ctx context.Context, n int) error {
		for range n {
			l, err := k.Acquire(ctx, key)
			if err != nil {
				return err
			}
			l.Release()
		}
		return nil
	}
}
