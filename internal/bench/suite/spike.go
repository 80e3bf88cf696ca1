package suite

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

const (
	spikeCallers = 50
	spikeIdle    = 5
)

// spikeShort: 50 callers at once, 5 idle, and work that is much shorter than
// a make. The idle five could serve them all in ten turns.
func spikeShort(ctx context.Context, k peer.Kind, s size) (sample, error) {
	return spike(ctx, k, s, s.spikeShort)
}

// spikeLong is the same with work much longer than a make: now 45 makes at
// once are right.
func spikeLong(ctx context.Context, k peer.Kind, s size) (sample, error) {
	return spike(ctx, k, s, s.spikeLong)
}

// spike warms with the real make, so that a pool can know what one costs.
// Once the last is served there is nothing more to learn, and all let go.
func spike(ctx context.Context, k peer.Kind, s size, work time.Duration) (sample, error) {
	f := &factory{takes: s.spikeMake}
	return with(k, spikeCallers, f.make, func(p peer.Pool) (sample, error) {
		if err := p.Warm(ctx, spikeIdle); err != nil {
			return nil, err
		}
		begin := time.Now()
		var servedAt, doneAt atomic.Int64 // since begin, of the last
		var served atomic.Int64
		all, allServed := context.WithCancel(context.Background())
		defer allServed()
		start, err := crowd(ctx, spikeCallers, func(ctx context.Context, _ int) error {
			h, err := p.Acquire(ctx)
			if err != nil {
				return err
			}
			raise(&servedAt, time.Since(begin))
			if served.Add(1) == spikeCallers && work == s.spikeLong {
				allServed()
			}
			_ = pause(all, work) // that it ended early is no error
			h.Release()
			raise(&doneAt, time.Since(begin))
			return nil
		})
		if err != nil {
			return nil, err
		}
		lag := start.Sub(begin)
		return sample{
			"served ms": millis(time.Duration(servedAt.Load()) - lag),
			"total ms":  millis(time.Duration(doneAt.Load()) - lag),
			"makes":     float64(len(f.since(start))),
		}, nil
	})
}

// raise makes top at least d.
func raise(top *atomic.Int64, d time.Duration) {
	for {
		old := top.Load()
		if int64(d) <= old || top.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// zeroWork: a pool that is empty, and acquires that are over at once. The
// first make serves everybody; waiting for more would be time lost.
func zeroWork(ctx context.Context, k peer.Kind, s size) (sample, error) {
	const callers = 50
	f := &factory{takes: s.zeroMake}
	return with(k, callers, f.make, func(p peer.Pool) (sample, error) {
		start, err := crowd(ctx, callers, func(ctx context.Context, _ int) error {
			for range s.zeroOps / callers {
				h, err := p.Acquire(ctx)
				if err != nil {
					return err
				}
				h.Release()
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		took := time.Since(start)
		return sample{
			"makes long": float64(took) / float64(s.zeroMake),
			"makes":      float64(len(f.since(start))),
		}, nil
	})
}
