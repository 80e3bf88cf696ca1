package resource

import (
	"context"
	"runtime"
	"testing"
)

func benchPool(b *testing.B, n int) (*Pool[int], context.Context) {
	p, _ := New(Config[int]{Make: func(context.Context) (int, error) { return 1, nil }, MaxSize: n})
	ctx, c := context.WithCancel(context.Background())
	b.Cleanup(c)
	p.Warm(ctx, n)
	b.ReportAllocs()
	return p, ctx
}
func BenchmarkAlone(b *testing.B) {
	p, ctx := benchPool(b, 64)
	for b.Loop() {
		l, _ := p.Acquire(ctx)
		l.Release()
	}
}
func BenchmarkPar(b *testing.B) {
	p, ctx := benchPool(b, 64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l, _ := p.Acquire(ctx)
			l.Release()
		}
	})
}
func Benchmark64on4(b *testing.B) {
	p, ctx := benchPool(b, 4)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l, _ := p.Acquire(ctx)
			runtime.Gosched()
			l.Release()
		}
	})
	s := p.Stats()
	b.ReportMetric(float64(s.Waited)/float64(b.N), "waits/op")
}
