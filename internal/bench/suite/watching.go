package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/respool/respool/internal/bench/peer"
	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/live"
	pools "github.com/respool/respool/metrics/prometheus"
	"github.com/respool/respool/resource"
)

const viewers = 20 // of the live page

// watchRows are what it costs to watch a pool of very many leases, each held and
// sampled. What it costs a lease is a policy row: "meter".
func watchRows(s size) []row {
	watched := s.count(10_000) // leases
	one := func(name string, body func(m *metrics.Meter) measurement, figures ...figure) row {
		return row{name: name, figures: figures, entrants: []entrant{{"respool", func(x *setup) measurement { return body(openWatched(x, watched)) }}}}
	}
	return []row{
		one("watch-snapshot", func(m *metrics.Meter) measurement {
			return timed(s, func() {
				n := m.Snapshot(0).Stats.Leased
				failIf(n != watched, "%d leased, want %d", n, watched)
			})
		}, figure{work: "counters and levels of 10,000 held leases", metric: "ms"}),
		one("watch-scrape", func(m *metrics.Meter) measurement {
			registry := prometheus.NewRegistry()
			check(registry.Register(pools.Of(m)))
			return timed(s, func() {
				failIf(len(must(registry.Gather())) == 0, "an empty scrape")
			})
		}, figure{work: "a Prometheus scrape of the same", metric: "ms", rule: atMost, bound: 10}),
		one("watch-profile", func(*metrics.Meter) measurement {
			return timed(s, func() {
				var b bytes.Buffer
				check(metrics.WriteLeases(&b))
				failIf(b.Len() == 0, "an empty profile")
			})
		}, figure{work: "the holders of those leases, as a profile", metric: "ms"}),
		one("watch-page", func(m *metrics.Meter) measurement {
			return func(ctx context.Context) sample {
				h := live.Handler(live.Config{Meters: func() []live.Meter { return []live.Meter{m} }})
				defer h.Close()
				return sample{
					"glance cpu %": watchedBy(ctx, h, "/events", s.time(3*time.Second)),
					"pool cpu %":   watchedBy(ctx, h, "/events?pool=bench", s.time(3*time.Second)),
				}
			}
		}, figure{work: "20 viewers of all pools: CPU, of one core", metric: "glance cpu %"}, figure{work: "  of that pool", metric: "pool cpu %"}),
	}
}

// openWatched returns the meter of a pool whose n leases are all held until the row
// ends.
func openWatched(x *setup, n int) *metrics.Meter {
	m := must(metrics.New("bench", metrics.Config{}))
	p := must(resource.New(resource.Config[*peer.Item]{Make: peer.Instant, MaxSize: n, Trace: m.Trace(nil), SampleLeases: 1}))
	x.cleanup(func() error { return peer.Close(p) })
	x.cleanup(func() error { m.Close(); return nil })
	check(m.Watch(p))
	for range n {
		l := must(p.Acquire(x.ctx))
		x.cleanup(func() error { l.Release(); return nil })
	}
	return m
}

// watchedBy is the CPU time in d with viewers that read as fast as they can, in percent
// of one core.
func watchedBy(ctx context.Context, h http.Handler, url string, d time.Duration) float64 {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	var all sync.WaitGroup
	seen := make([]viewer, viewers)
	for i := range seen {
		all.Go(func() { h.ServeHTTP(&seen[i], httptest.NewRequestWithContext(ctx, http.MethodGet, url, nil)) })
	}
	var cpu time.Duration
	err := attempt(func() { cpu = cpuOf(ctx, d, func() {}) })
	leave()
	all.Wait()
	for i := range seen {
		if seen[i].bytes == 0 || seen[i].Code != http.StatusOK {
			err = errors.Join(err, fmt.Errorf("viewer %d: status %d, %d bytes", i, seen[i].Code, seen[i].bytes))
		}
	}
	check(err)
	return 100 * cpu.Seconds() / d.Seconds()
}

// A viewer counts the bytes of an event stream, and keeps none of them.
type viewer struct {
	httptest.ResponseRecorder
	bytes int
}

func (v *viewer) SetWriteDeadline(time.Time) error { return nil }
func (v *viewer) Write(p []byte) (int, error) {
	v.bytes += len(p)
	return v.ResponseRecorder.Write(p)
}
