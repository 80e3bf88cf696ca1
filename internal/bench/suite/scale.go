package suite

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

// A sweep is a row whose work is done at several places of one axis: each is a
// metric of its own.
type sweep struct {
	row   string
	title string // of its plot
	work  string // in words, with a %s for the place
	axis  string
	unit  string
	at    func(s size) []int // the places
	open  func(ctx context.Context, k peer.Kind, s size, at int) (session, error)
	has   func(k peer.Kind, at int) bool
}

// metric is the name of the figure at one place.
func (w sweep) metric(at int) string { return fmt.Sprintf("%s at %d", w.unit, at) }

// sweeps are those of the table, each with the peers that can do it.
func sweeps() []sweep {
	loops := func(k peer.Kind, at int) bool { return k.Loops != nil && (k.Most == 0 || at <= k.Most) }
	return []sweep{
		{
			row: "scale-procs", title: "Acquire and release, a goroutine on each processor", axis: "processors (GOMAXPROCS)", unit: "ns/op",
			work: "a goroutine on each processor, size 64; processors: %s",
			at:   func(size) []int { return upTo(runtime.NumCPU()) },
			open: openProcs, has: loops,
		},
		{
			row: "scale-goroutines", title: "Acquire and release, by contention: goroutines on 16", axis: "goroutines", unit: "ns/op",
			work: "on 16, Gosched while holding; goroutines: %s",
			at:   func(s size) []int { return through(s.scaleGoroutines) },
			open: openGoroutines, has: func(k peer.Kind, _ int) bool { return k.Loops != nil },
		},
		{
			row: "scale-size", title: "Acquire and release, by how many are idle", axis: "size of the pool, all idle", unit: "ns/op",
			work: "acquire and release, one goroutine; idle: %s",
			at:   func(s size) []int { return through(s.manyIdle) },
			open: openSizes, has: loops,
		},
		{
			row: "scale-hold", title: "64 goroutines on 16, by how long they hold", axis: "hold, us", unit: "us/op",
			work: "64 goroutines on 16; hold, us: %s",
			at:   func(s size) []int { return s.scaleHolds },
			open: openHolds, has: func(k peer.Kind, us int) bool { return !k.Trip || us >= 1000 },
		},
	}
}

// through are the powers of ten up to n.
func through(n int) (out []int) {
	for i := 1; i <= n; i *= 10 {
		out = append(out, i)
	}
	return out
}

// upTo are the powers of two below n, and n.
func upTo(n int) (out []int) {
	for i := 1; i < n; i *= 2 {
		out = append(out, i)
	}
	return append(out, n)
}

// sweepRows are the rows of sweeps.
func sweepRows(kinds []peer.Kind) (out []row) {
	for _, w := range sweeps() {
		r := row{name: w.row}
		for _, k := range kinds {
			if !slices.ContainsFunc(w.at(fullSize()), func(at int) bool { return w.has(k, at) }) {
				continue
			}
			r.entrants = append(r.entrants, entrant{k.Name, func(ctx context.Context, s size) (session, error) {
				return openSweepOf(ctx, w, k, s)
			}})
		}
		out = append(out, r)
	}
	return out
}

// sweepGoals are the lines of sweeps at the places of s.
func sweepGoals(s size) (out []goal) {
	for _, w := range sweeps() {
		for _, at := range w.at(s) {
			out = append(out, goal{row: w.row, work: fmt.Sprintf(w.work, grouped(at)), metric: w.metric(at), than: peer.Puddle.Name})
		}
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

// openSweepOf opens k at every place. One measurement goes through all of them.
func openSweepOf(ctx context.Context, w sweep, k peer.Kind, s size) (session, error) {
	var places []int
	var all []session
	end := func() (err error) {
		for _, x := range all {
			if x.close != nil {
				err = errors.Join(err, x.close())
			}
		}
		return err
	}
	for _, at := range w.at(s) {
		if !w.has(k, at) {
			continue
		}
		x, err := w.open(ctx, k, s, at)
		if err != nil {
			return session{}, errors.Join(fmt.Errorf("at %d: %w", at, err), end())
		}
		places, all = append(places, at), append(all, x)
	}
	return session{close: end, measure: func(ctx context.Context) (sample, error) {
		out := sample{}
		for i, x := range all {
			got, err := x.measure(ctx)
			if err != nil {
				return nil, fmt.Errorf("at %d: %w", places[i], err)
			}
			out[w.metric(places[i])] = got[w.unit]
		}
		return out, nil
	}}, nil
}

// openProcs limits the processors while it opens, because a pool may look how many
// there are, and while it measures.
func openProcs(ctx context.Context, k peer.Kind, s size, procs int) (session, error) {
	old := runtime.GOMAXPROCS(procs)
	defer runtime.GOMAXPROCS(old)
	l, err := k.Loops(ctx, 64)
	if err != nil {
		return session{}, err
	}
	measure := meterCancellable(s, crew{goroutines: procs, own: true}.loop(l))
	return session{close: l.Close, measure: func(ctx context.Context) (sample, error) {
		old := runtime.GOMAXPROCS(procs)
		defer runtime.GOMAXPROCS(old)
		return measure(ctx)
	}}, nil
}

func openGoroutines(ctx context.Context, k peer.Kind, s size, goroutines int) (session, error) {
	l, err := k.Loops(ctx, 16)
	if err != nil {
		return session{}, err
	}
	c := crew{goroutines: goroutines, yield: true, own: true}
	return session{close: l.Close, measure: meterCancellable(s, c.loop(l))}, nil
}

func openSizes(ctx context.Context, k peer.Kind, s size, idle int) (session, error) {
	l, err := k.Loops(ctx, idle)
	if err != nil {
		return session{}, err
	}
	return session{close: l.Close, measure: meterCancellable(s, l.Plain)}, nil
}

// openHolds has 64 goroutines hold for so many microseconds, asleep.
func openHolds(_ context.Context, k peer.Kind, s size, us int) (session, error) {
	const callers, slots = 64, 16
	hold := time.Duration(us) * time.Microsecond
	return session{measure: func(ctx context.Context) (sample, error) {
		return with(k, slots, peer.Instant, func(p peer.Pool) (sample, error) {
			if err := p.Warm(ctx, slots); err != nil {
				return nil, err
			}
			asks := slices.Repeat([]asker{func(ctx context.Context, _ int) error {
				h, err := p.Acquire(ctx)
				if err != nil {
					return err
				}
				if hold > 0 {
					time.Sleep(hold)
				}
				h.Release()
				return nil
			}}, callers)
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			n, err := perSecond(ctx, s.micro, asks)
			return sample{"us/op": 1e6 / n}, err
		})
	}}, nil
}
