package suite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

const (
	deadCallers = 200
	deadMax     = 10
	deadPhase   = 30 * time.Second // bounds each phase
)

// deadFactory: 200 callers at once on a pool whose makes fail. Whoever was
// told pauses and asks again. When all were told, or it has been long enough, and
// the makes were counted, the factory recovers under the same callers.
func deadFactory(ctx context.Context, k peer.Kind, s size) (sample, error) {
	f := &factory{takes: s.deadMake, dead: true}
	return with(k, deadMax, f.make, func(p peer.Pool) (sample, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var all sync.WaitGroup // who was not told yet
		all.Add(deadCallers)
		var told atomic.Int64
		var recovering atomic.Bool
		begin := time.Now()
		finished := make(chan error, 1)
		go func() {
			_, err := crowd(ctx, deadCallers, func(ctx context.Context, _ int) error {
				first := sync.OnceFunc(func() {
					raise(&told, time.Since(begin))
					all.Done()
				})
				defer first()
				return politeCaller(ctx, p, s, first, &recovering)
			})
			finished <- err
		}()
		got, err := watchOutage(ctx, f, s, begin, &all, &recovering)
		cancel()
		if cerr := <-finished; cerr != nil && !errors.Is(cerr, context.Canceled) {
			err = errors.Join(err, cerr)
		}
		if err != nil {
			return nil, err
		}
		got["told ms"] = min(millis(time.Duration(told.Load())), millis(s.deadTold))
		return got, nil
	})
}

// politeCaller asks until ctx ends, and pauses between. Before the recovery
// it must get nothing; after it, work of half a make's time wants more resources
// than a pool that comes back with care has at first.
func politeCaller(ctx context.Context, p peer.Pool, s size, told func(), recovering *atomic.Bool) error {
	for ctx.Err() == nil {
		may := recovering.Load()
		h, err := p.Acquire(ctx)
		if err == nil {
			_ = pause(ctx, s.deadMake/2)
			h.Release()
			if !may && !recovering.Load() {
				return fmt.Errorf("a lease from a dead factory")
			}
		}
		told()
		_ = pause(ctx, s.deadPause)
	}
	return nil
}

// watchOutage waits out both phases and reads the factory's log.
func watchOutage(ctx context.Context, f *factory, s size, begin time.Time, all *sync.WaitGroup, recovering *atomic.Bool) (sample, error) {
	told := make(chan struct{})
	go func() { all.Wait(); close(told) }()
	if err := pause(ctx, s.deadWatch); err != nil {
		return nil, err
	}
	select {
	case <-told:
	case <-time.After(time.Until(begin.Add(s.deadTold))):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	makes := f.since(begin).before(begin.Add(s.deadWatch))

	recovering.Store(true)
	up := f.expect()
	f.setDead(false)
	flip := time.Now()
	if err := await(ctx, up, "a make after the recovery"); err != nil {
		return nil, err
	}
	if err := pause(ctx, 2*s.deadMake); err != nil {
		return nil, err
	}
	log := f.since(begin)
	back, ok := log.success()
	if !ok {
		return nil, errors.New("no make succeeded after the recovery")
	}
	// A little less than one make's time, so that what a ramp begins next,
	// when its second step is made, is not counted with that step.
	until := back.Add(s.deadMake * 9 / 10)
	return sample{
		"makes":        float64(makes),
		"burst":        float64(log.peak(flip, until)),
		"recovered ms": millis(back.Sub(flip)),
	}, nil
}

// await waits for c, at most deadPhase.
func await(ctx context.Context, c <-chan struct{}, what string) error {
	t := time.NewTimer(deadPhase)
	defer t.Stop()
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return fmt.Errorf("waited %v for %s", deadPhase, what)
	}
}
