package suite

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

func fairSleep(ctx context.Context, k peer.Kind, s size) (sample, error) {
	return fair(ctx, k, s, func() { time.Sleep(time.Millisecond) })
}

func fairSpin(ctx context.Context, k peer.Kind, s size) (sample, error) {
	return fair(ctx, k, s, func() { spin(20 * time.Microsecond) })
}

func fairNone(ctx context.Context, k peer.Kind, s size) (sample, error) {
	return fair(ctx, k, s, func() {})
}

// fair: 50 goroutines on 2 resources for a while, and how often each got one.
func fair(ctx context.Context, k peer.Kind, s size, work func()) (sample, error) {
	const callers, slots = 50, 2
	return with(k, slots, peer.Instant, func(p peer.Pool) (sample, error) {
		if err := p.Warm(ctx, slots); err != nil {
			return nil, err
		}
		var over atomic.Bool
		counts := make([]int, callers)
		var longest atomic.Int64
		bell := time.AfterFunc(s.fairFor, func() { over.Store(true) })
		defer bell.Stop()
		_, err := crowd(ctx, callers, func(ctx context.Context, i int) error {
			for !over.Load() {
				asked := time.Now()
				h, err := p.Acquire(ctx)
				if err != nil {
					return err
				}
				waited := time.Since(asked)
				work()
				h.Release()
				counts[i]++
				raise(&longest, waited)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		fewest, most := slices.Min(counts), slices.Max(counts)
		return sample{
			"fewest":          float64(fewest),
			"most":            float64(most),
			"fewest/most":     float64(fewest) / float64(most),
			"longest wait ms": millis(time.Duration(longest.Load())),
		}, nil
	})
}

// timeoutStorm: 600 callers with deadlines of 20 to 50 ms on 8 resources of
// 1 ms work: three times what they could serve. Useful is work that was
// finished before its deadline.
func timeoutStorm(ctx context.Context, k peer.Kind, s size) (sample, error) {
	const callers, slots = 600, 8
	return with(k, slots, peer.Instant, func(p peer.Pool) (sample, error) {
		if err := p.Warm(ctx, slots); err != nil {
			return nil, err
		}
		var over atomic.Bool
		var useful, late, refused atomic.Int64
		bell := time.AfterFunc(s.stormFor, func() { over.Store(true) })
		defer bell.Stop()
		_, err := crowd(ctx, callers, func(ctx context.Context, i int) error {
			draw := rand.New(rand.NewPCG(s.seed, uint64(i)))
			for !over.Load() && ctx.Err() == nil {
				limit := 20*time.Millisecond + time.Duration(draw.Int64N(int64(30*time.Millisecond)))
				switch inTime(ctx, p, limit) {
				case workUseful:
					useful.Add(1)
				case workLate:
					late.Add(1)
				case workNone:
					refused.Add(1)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		return sample{
			"useful": float64(useful.Load()),
			"late":   float64(late.Load()),
			"none":   float64(refused.Load()),
		}, nil
	})
}

type workEnd uint8

const (
	workNone   workEnd = iota // no lease
	workLate                  // a lease, but the deadline passed in it
	workUseful                // finished in time
)

// inTime does one piece of 1 ms work within limit.
func inTime(ctx context.Context, p peer.Pool, limit time.Duration) workEnd {
	deadline := time.Now().Add(limit)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	h, err := p.Acquire(ctx)
	if err != nil {
		return workNone
	}
	time.Sleep(time.Millisecond)
	h.Release()
	if time.Now().After(deadline) {
		return workLate
	}
	return workUseful
}
