package suite

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

// lostWakeup: two goroutines on one resource, and the longest wait of all. A
// wake-up that is lost for good ends in the error of the row.
func lostWakeup(ctx context.Context, k peer.Kind, s size) (sample, error) {
	const slow = 20 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return with(k, 1, peer.Instant, func(p peer.Pool) (sample, error) {
		if err := p.Warm(ctx, 1); err != nil {
			return nil, err
		}
		var longest, slows atomic.Int64
		start, err := crowd(ctx, 2, func(ctx context.Context, _ int) error {
			for i := range s.wakeRounds / 2 {
				asked := time.Now()
				h, err := p.Acquire(ctx)
				if err != nil {
					return err
				}
				waited := time.Since(asked)
				if i%4 == 0 {
					runtime.Gosched() // so that the other comes to wait
				}
				h.Release()
				raise(&longest, waited)
				if waited > slow {
					slows.Add(1)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		took := time.Since(start)
		got := sample{
			"longest ms": millis(time.Duration(longest.Load())),
			"over 20 ms": float64(slows.Load()),
			"ns/round":   float64(took.Nanoseconds()) / float64(s.wakeRounds),
		}
		if r, ok := p.(interface{ Waited() int64 }); ok {
			got["waits"] = float64(r.Waited())
		}
		return got, nil
	})
}

// handOff: one resource, held for 200 us of waiting, and eight goroutines that
// keep their CPU for 200 us after each release. A waiter that only runs once
// the releaser blocks leaves the resource unused meanwhile.
func handOff(ctx context.Context, k peer.Kind, s size) (sample, error) {
	const callers = 8
	return with(k, 1, peer.Instant, func(p peer.Pool) (sample, error) {
		if err := p.Warm(ctx, 1); err != nil {
			return nil, err
		}
		start, err := crowd(ctx, callers, func(ctx context.Context, _ int) error {
			for range s.handoffOps / callers {
				h, err := p.Acquire(ctx)
				if err != nil {
					return err
				}
				err = pause(ctx, s.handoffTime)
				h.Release()
				if err != nil {
					return err
				}
				spin(s.handoffTime)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		return sample{"us/op": micros(time.Since(start)) / float64(s.handoffOps)}, nil
	})
}
