package suite

import (
	"context"
	"runtime"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

// meter runs l with growing n until it takes at least d, and returns what one
// of the last n took and allocated. Unlike the testing package it does not
// round the allocations down.
func meter(ctx context.Context, d time.Duration, l peer.Loop) (sample, error) {
	got, _, err := meterFrom(ctx, d, 1, l)
	return got, err
}

// meterFrom is meter from n on, which it returns as it was at last.
func meterFrom(ctx context.Context, d time.Duration, n int, l peer.Loop) (sample, int, error) {
	var before, after runtime.MemStats
	for {
		runtime.GC() // so that the garbage of others is not collected meanwhile
		runtime.ReadMemStats(&before)
		start := time.Now()
		if err := l(ctx, n); err != nil {
			return nil, n, err
		}
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if took >= d {
			return sample{
				"ns/op":     float64(took.Nanoseconds()) / float64(n),
				"allocs/op": float64(after.Mallocs-before.Mallocs) / float64(n),
			}, n, nil
		}
		n = nextN(n, took, d)
	}
}

// nextN aims a fifth over d, but never grows more than a hundredfold: the
// first runs say little.
func nextN(n int, took, d time.Duration) int {
	want := 100 * n
	if took > 0 {
		want = min(want, int(1.2*float64(n)*float64(d)/float64(took)))
	}
	return max(want, n+1)
}
