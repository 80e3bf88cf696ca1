package suite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

const (
	spikeCallers, spikeIdle = 50, 5
	spikeShort, spikeLong   = 2 * ms, 2 * time.Second // holds
	zeroMake                = 250 * ms
)

// spikeRow has 50 callers at once and 5 idle items. If the work is much shorter than a
// make, the five could serve all callers in ten turns; if it is much longer, 45
// makes at once are right.
func spikeRow(name string, kinds []peer.Kind, s size, work time.Duration, figures ...figure) row {
	r := row{name: name, figures: figures}
	for _, k := range kinds {
		r.entrants = append(r.entrants, entrant{k.Name, func(x *setup) measurement {
			return func(ctx context.Context) (got sample) {
				got, x.curve = spike(ctx, k, s, work)
				return got
			}
		}})
	}
	return r
}

// spike warms with the real make, so that a pool can know its cost. In the row of long
// work all callers release once the last is served: what follows says nothing.
func spike(ctx context.Context, k peer.Kind, s size, work time.Duration) (got sample, curve []point) {
	f := &factory{takes: s.time(150 * ms)}
	got = with(ctx, k, spikeCallers, spikeIdle, f.make, func(p peer.Pool) sample {
		var mu sync.Mutex
		var served []time.Time
		begin := time.Now()
		var doneAt atomic.Int64 // since begin, of the last caller
		all, allServed := context.WithCancel(context.Background())
		defer allServed()
		start := crowd(ctx, spikeCallers, func(ctx context.Context, _ int) {
			l := must(p.Acquire(ctx))
			mu.Lock()
			served = append(served, time.Now())
			last := len(served) == spikeCallers
			mu.Unlock()
			if last && work == s.time(spikeLong) {
				allServed()
			}
			_ = pause(all, work) // an early end is no error
			l.Release()
			raise(&doneAt, int64(time.Since(begin)))
		})
		slices.SortFunc(served, time.Time.Compare)
		for i, at := range served {
			curve = append(curve, point{AtMs: millis(at.Sub(start)), Count: i + 1})
		}
		return sample{
			"served ms": curve[len(curve)-1].AtMs,
			"total ms":  millis(time.Duration(doneAt.Load()) - start.Sub(begin)),
			"makes":     float64(len(f.since(start))),
		}
	})
	return got, curve
}

// zeroWork has acquires without work on an empty pool. The first make serves all
// callers; time spent waiting for another is lost.
func zeroWork(ctx context.Context, k peer.Kind, s size) sample {
	const callers = 50
	f := &factory{takes: s.time(zeroMake)}
	return with(ctx, k, callers, 0, f.make, func(p peer.Pool) sample {
		start := crowd(ctx, callers, func(ctx context.Context, _ int) {
			for range s.count(5000) / callers {
				must(p.Acquire(ctx)).Release()
			}
		})
		took := time.Since(start)
		return sample{"times a make": float64(took) / float64(s.time(zeroMake)), "makes": float64(len(f.since(start)))}
	})
}

const (
	deadCallers = 200
	deadMax     = 10
	deadPhase   = 30 * time.Second // bounds each phase
	deadMake    = 100 * ms         // how long a make takes to fail
	deadTold    = 5 * time.Second  // when every caller should have an error
)

// deadFactory has 200 callers at once on a pool whose makes fail. A caller that gets an
// error pauses and acquires again. Once all have got one, or have waited for deadTold,
// and the makes were counted, the factory recovers under the same callers.
func deadFactory(ctx context.Context, k peer.Kind, s size) sample {
	f := &factory{takes: s.time(deadMake), dead: true}
	return with(ctx, k, deadMax, 0, f.make, func(p peer.Pool) (got sample) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var waiting sync.WaitGroup // callers without an error yet
		waiting.Add(deadCallers)
		var last atomic.Int64
		var recovering atomic.Bool
		begin := time.Now()
		finished := make(chan error, 1)
		go func() {
			finished <- attempt(func() {
				crowd(ctx, deadCallers, func(ctx context.Context, _ int) {
					notified := sync.OnceFunc(func() {
						raise(&last, int64(time.Since(begin)))
						waiting.Done()
					})
					defer notified()
					politeCaller(ctx, p, s, notified, &recovering)
				})
			})
		}()
		err := attempt(func() { got = watchOutage(ctx, f, s, begin, &waiting, &recovering) })
		cancel()
		if cerr := <-finished; !errors.Is(cerr, context.Canceled) {
			err = errors.Join(err, cerr)
		}
		check(err)
		got["notified ms"] = min(millis(time.Duration(last.Load())), millis(s.time(deadTold)))
		return got
	})
}

// politeCaller acquires until ctx ends, and pauses in between. Before the recovery it
// must get nothing. After it, its work of half a make wants more items than a pool that
// recovers cautiously has at first.
func politeCaller(ctx context.Context, p peer.Pool, s size, notified func(), recovering *atomic.Bool) {
	for ctx.Err() == nil {
		may := recovering.Load()
		if l, err := p.Acquire(ctx); err == nil {
			_ = pause(ctx, s.time(deadMake)/2)
			l.Release()
			if !may && !recovering.Load() {
				check(errors.New("a lease from a dead factory"))
			}
		}
		notified()
		_ = pause(ctx, s.time(10*ms))
	}
}

// watchOutage waits out both phases and reads the factory's log.
func watchOutage(ctx context.Context, f *factory, s size, begin time.Time, waiting *sync.WaitGroup, recovering *atomic.Bool) sample {
	notified := make(chan struct{})
	go func() { waiting.Wait(); close(notified) }()
	check(pause(ctx, s.time(time.Second)))
	select {
	case <-notified:
	case <-time.After(time.Until(begin.Add(s.time(deadTold)))):
	case <-ctx.Done():
		check(ctx.Err())
	}
	makes := f.since(begin).before(begin.Add(s.time(time.Second)))

	recovering.Store(true)
	success := f.recover()
	flip := time.Now()
	await(ctx, success, "a make after the recovery")
	check(pause(ctx, 2*s.time(deadMake)))
	log := f.since(begin)
	back := log.firstSuccess()
	// A little less than one make's time: the second step of a ramp begins when the
	// first one's make has ended, and is not counted with the first.
	until := back.Add(s.time(deadMake) * 9 / 10)
	return sample{
		"makes":        float64(makes),
		"burst":        float64(log.peak(flip, until)),
		"recovered ms": millis(back.Sub(flip)),
	}
}

// await waits for c, at most deadPhase.
func await(ctx context.Context, c <-chan struct{}, what string) {
	t := time.NewTimer(deadPhase)
	defer t.Stop()
	select {
	case <-c:
	case <-ctx.Done():
		check(ctx.Err())
	case <-t.C:
		check(fmt.Errorf("waited %v for %s", deadPhase, what))
	}
}

// A factory makes items slowly, fails while it is dead, and logs its makes.
type factory struct {
	takes time.Duration

	mu   sync.Mutex
	dead bool
	log  spans
	made chan struct{} // closed at the first success after recover; nil: already closed
}

// A span is one make, in progress while its end is zero.
type span struct {
	begin, end time.Time
	ok         bool
}

// make is a maker. Whether it succeeds is decided when it begins.
func (f *factory) make(ctx context.Context) (*peer.Item, error) {
	f.mu.Lock()
	i := len(f.log)
	f.log = append(f.log, span{begin: time.Now()})
	dead := f.dead
	f.mu.Unlock()

	err := pause(ctx, f.takes)
	if err == nil && dead {
		err = errors.New("the factory is dead")
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	f.log[i].end = time.Now()
	if err != nil {
		return nil, err
	}
	f.log[i].ok = true
	if f.made != nil {
		close(f.made)
		f.made = nil
	}
	return &peer.Item{ID: i}, nil
}

// recover has later makes succeed. The channel closes at the first success.
func (f *factory) recover() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead = false
	f.made = make(chan struct{})
	return f.made
}

// since returns the makes that began at t or later.
func (f *factory) since(t time.Time) (out spans) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.log {
		if !s.begin.Before(t) {
			out = append(out, s)
		}
	}
	return out
}

// spans are makes in the order of their begin.
type spans []span

// before counts the makes that began before t.
func (s spans) before(t time.Time) (n int) {
	for _, m := range s {
		if m.begin.Before(t) {
			n++
		}
	}
	return n
}

// peak is the most makes that ran at once between from and until.
func (s spans) peak(from, until time.Time) (top int) {
	for _, m := range s {
		at := m.begin // concurrency rises only where a make begins
		if at.Before(from) {
			at = from
		}
		if !at.Before(until) {
			continue
		}
		n := 0
		for _, other := range s {
			if !other.begin.After(at) && (other.end.IsZero() || other.end.After(at)) {
				n++
			}
		}
		top = max(top, n)
	}
	return top
}

// firstSuccess is when the first successful make ended. It fails if there is none.
func (s spans) firstSuccess() time.Time {
	ok := slices.DeleteFunc(slices.Clone(s), func(m span) bool { return !m.ok })
	if len(ok) == 0 {
		check(errors.New("no make succeeded"))
	}
	return slices.MinFunc(ok, func(a, b span) int { return cmp.Compare(a.end.UnixNano(), b.end.UnixNano()) }).end
}
