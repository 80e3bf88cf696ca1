package suite

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/respool/respool/internal/bench/peer"
	"github.com/respool/respool/resource"
)

// The names are key=value pairs, so that benchstat can put the pools beside
// each other: benchstat -col /pool.

func BenchmarkAcquire(b *testing.B) {
	for _, c := range crews() {
		for _, k := range kinds() {
			if k.Loops == nil {
				continue
			}
			b.Run(fmt.Sprintf("work=%s/pool=%s", c.name, k.Name), func(b *testing.B) {
				l, err := k.Loops(b.Context(), c.resources)
				if err != nil {
					b.Fatal(err)
				}
				timeLoop(b, c.loop(l))
				if err := l.Close(); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

func BenchmarkIdle(b *testing.B) {
	for _, n := range []int{fewIdle, 100_000} {
		b.Run(fmt.Sprintf("idle=%d", n), func(b *testing.B) {
			p, err := openIdle(b.Context(), n, resource.Config[*peer.Item]{SweepInterval: time.Hour})
			if err != nil {
				b.Fatal(err)
			}
			b.Run("work=acquire", func(b *testing.B) {
				timeLoop(b, func(ctx context.Context, n int) error { return peer.RespoolLoop(ctx, p, n) })
			})
			b.Run("work=stats", func(b *testing.B) {
				timeLoop(b, func(ctx context.Context, n int) error { return statsLoop(ctx, p, n) })
			})
			if err := closePool(p); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// timeLoop times l with a context that can be cancelled.
func timeLoop(b *testing.B, l peer.Loop) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	b.ReportAllocs()
	b.ResetTimer()
	if err := l(ctx, b.N); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
}
