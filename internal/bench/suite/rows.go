package suite

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

// A size scales the work of the rows. Only the figures of the full size are worth
// anything; the small one tests the harness.
type size struct {
	seed  uint64
	small bool
}

const ms = time.Millisecond

func (s size) time(d time.Duration) time.Duration {
	if s.small {
		return d / 10
	}
	return d
}

func (s size) count(n int) int {
	if s.small {
		return max(n/100, min(n, 5))
	}
	return n
}

// micro is how long a loop is timed.
func (s size) micro() time.Duration {
	if s.small {
		return ms
	}
	return 300 * ms
}

// kinds are the pools that need no newer Go than respool, which is the first.
func kinds() []peer.Kind {
	return []peer.Kind{peer.Respool, peer.Puddle, peer.Pgxpool, peer.SQL, peer.Commons, peer.Transport, peer.Channel}
}

// rows returns every row, in the order of the table.
func rows(all []peer.Kind, s size) []row {
	without := func(all []peer.Kind, is func(peer.Kind) bool) []peer.Kind {
		return slices.DeleteFunc(slices.Clone(all), is)
	}
	makers := without(all, func(k peer.Kind) bool { return k.Prefilled })
	honest := without(makers, func(k peer.Kind) bool { return k.HidesErrors })
	const p = "puddle"
	fair := func(work string, rule rule, bound float64) []figure {
		return []figure{{work: work, metric: "fewest/most", rule: rule, bound: bound, than: p, more: true}}
	}
	return slices.Concat(
		loopRows(all, s),
		[]row{
			spikeRow("spike-short", makers, s, s.time(spikeShort),
				figure{work: "50 at once, 5 idle, make 150 ms, work 2 ms", metric: "total ms", rule: atMost, bound: 30, than: p},
				figure{work: "  makes", metric: "makes", rule: neverOver, bound: 3, than: p}),
			spikeRow("spike-long", makers, s, s.time(spikeLong),
				figure{work: "the same, work 2 s: until the last caller is served", metric: "served ms", rule: atMost, bound: 180, than: p},
				figure{work: "  makes", metric: "makes", rule: always, bound: 45, than: p, level: true}),
			jobRow("zero-work", makers, s, zeroWork,
				figure{work: "5,000 acquires without work, empty pool, 50 goroutines", metric: "times a make", rule: atMost, bound: 1.5, than: p},
				figure{work: "  makes", metric: "makes", than: p, level: true}),
			jobRow("dead-factory", honest, s, deadFactory,
				figure{work: "200 callers, maximum 10: makes in the first second", metric: "makes", rule: neverOver, bound: 15, than: p},
				figure{work: "  until every caller has an error", metric: "notified ms", rule: atMost, bound: 250, than: p},
				figure{work: "  concurrent makes until one make's time after the first success", metric: "burst", rule: neverOver, bound: 2, than: p},
				figure{work: "  from the recovery to the first successful make", metric: "recovered ms", than: p}),
			jobRow("lost-wakeup", all, s, lostWakeup,
				figure{work: "2 goroutines on 1, 400,000 rounds: longest wait", metric: "longest ms", rule: neverOver, bound: 20, than: p}),
			jobRow("hand-off", all, s, handOff,
				figure{work: "8 goroutines on 1, hold 200 us, then 200 us of CPU", metric: "us/op", rule: ratioAtMost, bound: 0.3, than: p}),
			socketsRow("release-64-on-16", all, s, 64, 16,
				figure{work: "64 goroutines on 16 TCP connections, echo: Release p99", metric: "release p99 us", rule: atMost, bound: 20, than: p},
				figure{work: "  acquire, echo and release p50", metric: "p50 us", than: p},
				figure{work: "  p99", metric: "p99 us", than: p},
				figure{work: "  per second", metric: "op/s", than: p, more: true}),
			socketsRow("release-alone", all, s, 1, 1,
				figure{work: "one goroutine on one connection: p50", metric: "p50 us", rule: ratioAtMost, bound: 1.03, than: p}),
			jobRow("fair-hold-1ms", all, s, fairness(func() { time.Sleep(ms) }),
				fair("50 goroutines on 2: fewest/most leases, hold 1 ms", atLeast, 0.9)...),
			jobRow("fair-hold-20us", all, s, fairness(func() { spin(20 * time.Microsecond) }), fair("  hold 20 us of CPU", noGoal, 0)...),
			jobRow("fair-hold-0", all, s, fairness(func() {}), fair("  hold nothing", noGoal, 0)...),
			jobRow("timeout-storm", all, s, timeoutStorm,
				figure{work: "600 callers, 20-50 ms each, on 8 of 1 ms: useful", metric: "useful", rule: ratioAtLeast, bound: 0.95, more: true}),
		},
		idleRows(s), sweepRows(all, s), policyRows(s), watchRows(s), wsRows(s), muxRows(s), []row{floorsRow()},
	)
}

// each has all kinds do the same.
func each(kinds []peer.Kind, open func(x *setup, k peer.Kind) measurement) (out []entrant) {
	for _, k := range kinds {
		out = append(out, entrant{k.Name, func(x *setup) measurement { return open(x, k) }})
	}
	return out
}

// jobRow has each kind do one measurement for which it is opened and closed.
func jobRow(name string, kinds []peer.Kind, s size, job func(ctx context.Context, k peer.Kind, s size) sample, figures ...figure) row {
	return row{name: name, figures: figures, entrants: each(kinds, func(_ *setup, k peer.Kind) measurement {
		return func(ctx context.Context) sample { return job(ctx, k, s) }
	})}
}

// with opens a pool with that many warm items, has f measure it and closes it.
func with(ctx context.Context, k peer.Kind, max, warm int, m func(context.Context) (*peer.Item, error), f func(p peer.Pool) sample) (s sample) {
	p := must(k.Open(peer.Config{Max: max, Make: m}))
	err := attempt(func() {
		if warm > 0 {
			check(p.Warm(ctx, warm))
		}
		s = f(p)
	})
	check(errors.Join(err, peer.Close(p)))
	return s
}

// loops opens the loops of k until the row ends.
func (x *setup) loops(k peer.Kind, size int) peer.Loops {
	l := must(k.Loops(x.ctx, size))
	x.cleanup(l.Close)
	return l
}

// A crew is the goroutines that run the loops of one row, and their resources.
type crew struct {
	goroutines, resources int
	yield                 bool // runtime.Gosched while holding
	own                   bool // each goroutine has a context of its own
}

// loop is what the crew does with l. If each goroutine has its own context, as the
// callers of a server have, they do not meet at one Done channel when they wait.
func (c crew) loop(l peer.Loops) peer.Loop {
	body := l.Plain
	if c.yield {
		body = l.Yield
	}
	if c.goroutines == 1 {
		return body
	}
	return func(ctx context.Context, n int) error {
		errs := make([]error, c.goroutines)
		var wg sync.WaitGroup
		for i := range c.goroutines {
			part := n / c.goroutines
			if i < n%c.goroutines {
				part++
			}
			wg.Go(func() {
				ctx := ctx
				if c.own {
					var cancel context.CancelFunc
					ctx, cancel = context.WithCancel(ctx)
					defer cancel()
				}
				errs[i] = body(ctx, part)
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	}
}

// A namedCrew is the crew of one row.
type namedCrew struct {
	crew
	name, work string
	bound      float64 // of the ratio to puddle
}

var crews = []namedCrew{
	{crew{goroutines: 1, resources: 1}, "alone", "acquire and release, one goroutine", 0.25},
	{crew{goroutines: runtime.GOMAXPROCS(0), resources: 64, own: true}, "per-core", "one goroutine a core, size 64", 0.25},
	{crew{goroutines: 64, resources: 4, yield: true}, "64-on-4", "64 goroutines on 4, Gosched while holding", 0.7},
	{crew{goroutines: 64, resources: 4, yield: true, own: true}, "64-on-4-own-ctx", "  each with a context of its own", 0.7},
}

// loopRows time the loops of the crews.
func loopRows(kinds []peer.Kind, s size) (out []row) {
	looping := slices.DeleteFunc(slices.Clone(kinds), func(k peer.Kind) bool { return k.Loops == nil })
	for _, c := range crews {
		out = append(out, row{name: c.name, figures: []figure{
			{work: c.work, metric: "ns/op", rule: ratioAtMost, bound: c.bound, than: "puddle", allocs: true},
		}, entrants: each(looping, func(x *setup, k peer.Kind) measurement { return metered(s, c.loop(x.loops(k, c.resources))) })})
	}
	return out
}
