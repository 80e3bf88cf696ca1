package metrics_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// A meter of one key has the leases of that key sampled after a leak, as a meter of
// a pool does, and the log says so only where the source can do it.
func TestOverdue_KeyView(t *testing.T) {
	for _, able := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var log safeBuffer
			overdue := make(chan metrics.Held, 20)
			m := newMeter(t, metrics.Config{
				Overdue: time.Minute, OnOverdue: func(h metrics.Held) { overdue <- h },
				Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
			k, err := resource.NewKeyed(resource.KeyedConfig[string, int]{
				MaxTotal: 20,
				Config: func(string) (resource.Config[int], error) {
					return resource.Config[int]{
						MaxSize: 20, Trace: m.Trace(nil), SampleLeases: 1 << 20, // hardly any by chance
						Make: func(context.Context) (int, error) { return 1, nil },
					}, nil
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				_ = k.Close(ctx) // behind the leaks
			}()
			view := k.View("a")
			view.SampleFor(time.Minute) // the key is not in use
			src := metrics.Source(view)
			if !able {
				src = inspectOnly{view}
			}
			if err := m.Watch(src); err != nil {
				t.Fatal(err)
			}
			p, err := k.Pool("a")
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Warm(t.Context(), 20); err != nil {
				t.Fatal(err)
			}
			for range 5 { // the first lease of each is always sampled
				for _, l := range p.AcquireAllIdle() {
					l.Release()
				}
			}
			for leak := range 2 {
				if _, err := k.Acquire(t.Context(), "a"); err != nil { // it is never given back
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if h := <-overdue; (len(h.Stack) > 0) != (able && leak > 0) {
					t.Errorf("able %v: leak %d has the stack %v", able, leak+1, h.Stack)
				}
			}
			if said := strings.Contains(log.String(), "those that begin in the next 10m0s are"); said != able {
				t.Errorf("able %v; log: %s", able, log.String())
			}
		})
	}
}

var _ interface{ SampleFor(time.Duration) } = wspool.KeyView[string]{}

// inspectOnly is a source that cannot be asked to sample.
type inspectOnly struct{ metrics.Source }
