package resource_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Release does not queue its caller behind the other goroutines of the process,
// whether the releasers of the pool block soon or go on computing. One processor,
// and goroutines that always have something to do on it; how often one of them
// runs is counted while a Release is under way.
func TestRelease_DoesNotQueue(t *testing.T) {
	for name, then := range map[string]time.Duration{"blocks soon": 0, "computes": 200 * time.Microsecond} {
		t.Run(name, func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			p := newPlain(t, 1, nil)
			var steps atomic.Int64
			var over atomic.Bool
			var crowd, callers sync.WaitGroup
			for range 20 {
				crowd.Go(func() {
					for !over.Load() {
						steps.Add(1)
						compute(10 * time.Microsecond)
						runtime.Gosched()
					}
				})
			}
			const rounds = 300
			var served, overtaken atomic.Int64
			for range 3 {
				callers.Go(func() {
					for range rounds {
						l := p.must(context.Background())
						compute(60 * time.Microsecond)
						for n := 0; p.Stats().Waiting == 0 && n < 100; n++ {
							runtime.Gosched()
						}
						before := steps.Load()
						l.Release()
						served.Add(1)
						if steps.Load() > before {
							overtaken.Add(1)
						}
						compute(then)
					}
				})
			}
			callers.Wait()
			over.Store(true)
			crowd.Wait()
			// The scheduler may preempt at any point; but that is rare.
			if n := overtaken.Load(); n > served.Load()/10 {
				t.Errorf("others ran during %d of %d releases", n, served.Load())
			}
		})
	}
}
