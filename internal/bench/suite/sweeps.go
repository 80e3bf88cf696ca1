package suite

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

// A sweep is a row whose work is done at several steps of one axis. Each step is a
// metric of its own.
type sweep struct {
	row, title string
	work       string // in words, with a %s for the step
	axis, unit string
	steps      []int
	has        func(k peer.Kind, at int) bool // whether the pool can do it there
	open       func(x *setup, k peer.Kind, at int) measurement
}

// metric is the name of the figure at one step.
func (w sweep) metric(at int) string { return fmt.Sprintf("%s at %d", w.unit, at) }

func sweeps(s size) []sweep {
	loops := func(k peer.Kind, at int) bool { return k.Loops != nil && (k.MaxItems == 0 || at <= k.MaxItems) }
	return []sweep{
		{
			row: "scale-procs", title: "Acquire and release, a goroutine on each processor", axis: "processors (GOMAXPROCS)", unit: "ns/op",
			work: "a goroutine on each processor, size 64; processors: %s", steps: powers(2, runtime.NumCPU()), has: loops,
			open: func(x *setup, k peer.Kind, procs int) measurement {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs)) // a pool may look how many there are when it opens
				measure := metered(s, crew{goroutines: procs, own: true}.loop(x.loops(k, 64)))
				return func(ctx context.Context) sample {
					defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
					return measure(ctx)
				}
			},
		},
		{
			row: "scale-goroutines", title: "Acquire and release, by contention: goroutines on 16", axis: "goroutines", unit: "ns/op",
			work: "on 16, Gosched while holding; goroutines: %s", steps: powers(10, s.count(10_000)),
			has: func(k peer.Kind, _ int) bool { return k.Loops != nil },
			open: func(x *setup, k peer.Kind, n int) measurement {
				return metered(s, crew{goroutines: n, yield: true, own: true}.loop(x.loops(k, 16)))
			},
		},
		{
			row: "scale-size", title: "Acquire and release, by how many are idle", axis: "size of the pool, all idle", unit: "ns/op",
			work: "acquire and release, one goroutine; idle: %s", steps: powers(10, s.count(manyIdle)), has: loops,
			open: func(x *setup, k peer.Kind, idle int) measurement { return metered(s, x.loops(k, idle).Plain) },
		},
		{
			row: "scale-hold", title: "64 goroutines on 16, by how long they hold", axis: "hold, us", unit: "us/op",
			work: "64 goroutines on 16; hold, us: %s", steps: []int{0, 10, 100, 1000, 10_000},
			has: func(k peer.Kind, us int) bool { return !k.RoundTrip || us >= 1000 },
			open: func(_ *setup, k peer.Kind, us int) measurement {
				return holds(k, s, time.Duration(us)*time.Microsecond)
			},
		},
	}
}

// powers are the powers of base below n, and n.
func powers(base, n int) (out []int) {
	for i := 1; i < n; i *= base {
		out = append(out, i)
	}
	return append(out, n)
}

// sweepRows are the rows of sweeps, with the pools that can do some of their steps.
// One measurement visits all steps.
func sweepRows(kinds []peer.Kind, s size) (out []row) {
	for i, w := range sweeps(s) {
		full := sweeps(size{})[i].steps
		some := slices.DeleteFunc(slices.Clone(kinds), func(k peer.Kind) bool {
			return !slices.ContainsFunc(full, func(at int) bool { return w.has(k, at) })
		})
		r := row{name: w.row, entrants: each(some, func(x *setup, k peer.Kind) measurement {
			measures := map[int]measurement{}
			for _, at := range w.steps {
				if w.has(k, at) {
					measures[at] = w.open(x, k, at)
				}
			}
			return func(ctx context.Context) sample {
				got := sample{}
				for _, at := range w.steps {
					if measure := measures[at]; measure != nil {
						got[w.metric(at)] = measure(ctx)[w.unit]
					}
				}
				return got
			}
		})}
		for _, at := range w.steps {
			r.figures = append(r.figures, figure{work: fmt.Sprintf(w.work, grouped(at)), metric: w.metric(at), than: "puddle"})
		}
		out = append(out, r)
	}
	return out
}

// grouped writes n with commas.
func grouped(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", grouped(n/1000), n%1000)
}

// holds has 64 goroutines on 16 items hold for so long, asleep.
func holds(k peer.Kind, s size, hold time.Duration) measurement {
	const callers, slots = 64, 16
	return func(ctx context.Context) sample {
		return with(ctx, k, slots, slots, peer.Instant, func(p peer.Pool) sample {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			n := perSecond(callers, s.micro(), func(int) {
				l := must(p.Acquire(ctx))
				if hold > 0 {
					time.Sleep(hold)
				}
				l.Release()
			})
			return sample{"us/op": 1e6 / n}
		})
	}
}
