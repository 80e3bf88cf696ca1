package suite

import (
	"context"
	"errors"
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
	return row{name: name, figures: figures, entrants: each(kinds, func(x *setup, k peer.Kind) measurement {
		return func(ctx context.Context) sample { return x.spike(ctx, k, s, work) }
	})}
}

// spike warms with the real make, so that a pool can know its cost. In the row of long
// work all callers release once the last is served: what follows says nothing.
func (x *setup) spike(ctx context.Context, k peer.Kind, s size, work time.Duration) sample {
	f := &peer.Factory{Takes: s.time(150 * ms)}
	return with(ctx, k, spikeCallers, spikeIdle, f.Make, func(p peer.Pool) sample {
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
			_ = peer.Pause(all, work) // an early end is no error
			l.Release()
			raise(&doneAt, int64(time.Since(begin)))
		})
		slices.SortFunc(served, time.Time.Compare)
		x.curve = nil
		for i, at := range served {
			x.curve = append(x.curve, point{AtMs: millis(at.Sub(start)), Count: i + 1})
		}
		return sample{
			"served ms": millis(served[len(served)-1].Sub(start)),
			"total ms":  millis(time.Duration(doneAt.Load()) - start.Sub(begin)),
			"makes":     float64(len(f.Since(start))),
		}
	})
}

// zeroWork has acquires without work on an empty pool. The first make serves all
// callers; time spent waiting for another is lost.
func zeroWork(ctx context.Context, k peer.Kind, s size) sample {
	const callers = 50
	f := &peer.Factory{Takes: s.time(zeroMake)}
	return with(ctx, k, callers, 0, f.Make, func(p peer.Pool) sample {
		start := crowd(ctx, callers, func(ctx context.Context, _ int) {
			for range s.count(5000) / callers {
				must(p.Acquire(ctx)).Release()
			}
		})
		took := time.Since(start)
		return sample{"times a make": float64(took) / float64(s.time(zeroMake)), "makes": float64(len(f.Since(start)))}
	})
}

const (
	deadCallers = 200
	deadMax     = 10
	deadMake    = 100 * ms        // how long a make takes to fail
	deadTold    = 5 * time.Second // when every caller should have an error
)

// deadFactory has 200 callers at once on a pool whose makes fail. A caller that gets an
// error pauses and acquires again. Once all have got one, or have waited for deadTold,
// and the makes were counted, the factory recovers under the same callers.
func deadFactory(ctx context.Context, k peer.Kind, s size) sample {
	var recovering atomic.Bool
	f := &peer.Factory{Takes: s.time(deadMake), Making: func(context.Context, int) error {
		if !recovering.Load() {
			return errors.New("the factory is dead")
		}
		return nil
	}}
	return with(ctx, k, deadMax, 0, f.Make, func(p peer.Pool) (got sample) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var waiting sync.WaitGroup // callers without an error yet
		waiting.Add(deadCallers)
		var last atomic.Int64
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
			_ = peer.Pause(ctx, s.time(deadMake)/2)
			l.Release()
			failIf(!may && !recovering.Load(), "a lease from a dead factory")
		}
		notified()
		_ = peer.Pause(ctx, s.time(10*ms))
	}
}

// watchOutage waits out both phases and reads the factory's log.
func watchOutage(ctx context.Context, f *peer.Factory, s size, begin time.Time, waiting *sync.WaitGroup, recovering *atomic.Bool) sample {
	notified := make(chan struct{})
	go func() { waiting.Wait(); close(notified) }()
	check(peer.Pause(ctx, s.time(time.Second)))
	select {
	case <-notified:
	case <-time.After(time.Until(begin.Add(s.time(deadTold)))):
	case <-ctx.Done():
		check(ctx.Err())
	}
	makes := f.Since(begin).Before(begin.Add(s.time(time.Second)))

	recovering.Store(true)
	flip := time.Now()
	for f.Since(flip).FirstSuccess().IsZero() { // at most measureTime
		check(peer.Pause(ctx, ms))
	}
	check(peer.Pause(ctx, 2*s.time(deadMake)))
	log := f.Since(begin)
	back := log.FirstSuccess()
	// A little less than one make's time: the second step of a ramp begins when the
	// first one's make has ended, and is not counted with the first.
	until := back.Add(s.time(deadMake) * 9 / 10)
	return sample{
		"makes":        float64(makes),
		"burst":        float64(log.Peak(flip, until)),
		"recovered ms": millis(back.Sub(flip)),
	}
}
