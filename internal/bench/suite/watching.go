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

const (
	viewers    = 20 // of the live page
	scrapeGoal = 10 // milliseconds
)

// watchRows are what it costs to watch a pool of very many leases, each of them
// held and sampled. What it costs a lease is with the policies: "meter".
func watchRows() []row {
	one := func(name string, body func(ctx context.Context, s size, m *metrics.Meter) (sample, error)) row {
		return row{name, []entrant{{"respool", func(ctx context.Context, s size) (session, error) {
			m, end, err := openWatched(ctx, s.watched)
			if err != nil {
				return session{}, err
			}
			return session{close: end, measure: func(ctx context.Context) (sample, error) { return body(ctx, s, m) }}, nil
		}}}}
	}
	return []row{
		one("watch-snapshot", snapshot),
		one("watch-scrape", scrape),
		one("watch-profile", profileOfLeases),
		one("watch-page", page),
	}
}

func watchGoals() []goal {
	return []goal{
		{row: "watch-snapshot", work: "counters and levels of 10,000 held leases", metric: "ms"},
		{row: "watch-scrape", work: "a Prometheus scrape of the same", metric: "ms", rule: atMost, bound: scrapeGoal},
		{row: "watch-profile", work: "who holds them, as a profile", metric: "ms"},
		{row: "watch-page", work: "20 viewers of all pools: CPU, of one core", metric: "glance cpu %"},
		{row: "watch-page", work: "  of that pool", metric: "pool cpu %"},
	}
}

// openWatched returns the meter of a pool whose n leases are all held.
func openWatched(ctx context.Context, n int) (*metrics.Meter, func() error, error) {
	m, err := metrics.New("bench", metrics.Config{})
	if err != nil {
		return nil, nil, err
	}
	p, err := resource.New(resource.Config[*peer.Item]{Make: peer.Instant, MaxSize: n, Trace: m.Trace(nil), SampleLeases: 1})
	if err != nil {
		return nil, nil, err
	}
	var held []resource.Lease[*peer.Item]
	end := func() error {
		m.Close()
		for _, l := range held {
			l.Release()
		}
		return closePool(p)
	}
	if err := m.Watch(p); err != nil {
		return nil, nil, errors.Join(err, end())
	}
	for range n {
		l, err := p.Acquire(ctx)
		if err != nil {
			return nil, nil, errors.Join(err, end())
		}
		held = append(held, l)
	}
	return m, end, nil
}

// timed is how long one call of f takes, of as many as fit.
func timed(ctx context.Context, s size, f func() error) (sample, error) {
	got, err := meter(ctx, s.micro, func(_ context.Context, n int) error {
		for range n {
			if err := f(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return sample{"ms": got["ns/op"] / 1e6, "allocs/op": got["allocs/op"]}, nil
}

func snapshot(ctx context.Context, s size, m *metrics.Meter) (sample, error) {
	return timed(ctx, s, func() error {
		if n := m.Snapshot(0).Stats.Leased; n != s.watched {
			return fmt.Errorf("%d leased, not %d", n, s.watched)
		}
		return nil
	})
}

func scrape(ctx context.Context, s size, m *metrics.Meter) (sample, error) {
	registry := prometheus.NewRegistry()
	if err := registry.Register(pools.Of(m)); err != nil {
		return nil, err
	}
	return timed(ctx, s, func() error {
		families, err := registry.Gather()
		if err == nil && len(families) == 0 {
			err = errors.New("an empty scrape")
		}
		return err
	})
}

func profileOfLeases(ctx context.Context, s size, _ *metrics.Meter) (sample, error) {
	return timed(ctx, s, func() error {
		var b bytes.Buffer
		err := metrics.WriteLeases(&b)
		if err == nil && b.Len() == 0 {
			err = errors.New("an empty profile")
		}
		return err
	})
}

// page has viewers look at the page, once at all pools and once at this one.
func page(ctx context.Context, s size, m *metrics.Meter) (sample, error) {
	h := live.Handler(live.Config{Meters: func() []live.Meter { return []live.Meter{m} }})
	defer h.Close()
	out := sample{}
	for name, query := range map[string]string{"glance": "", "pool": "?pool=bench"} {
		cpu, err := watchedBy(ctx, h, "/events"+query, s.watchFor)
		if err != nil {
			return nil, err
		}
		out[name+" cpu %"] = 100 * cpu.Seconds() / s.watchFor.Seconds()
	}
	return out, nil
}

// watchedBy is the CPU time in d with viewers. They read as fast as they are told.
func watchedBy(ctx context.Context, h http.Handler, url string, d time.Duration) (time.Duration, error) {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	var all sync.WaitGroup
	seen := make([]viewer, viewers)
	for i := range seen {
		seen[i].header = http.Header{}
		all.Go(func() { h.ServeHTTP(&seen[i], httptest.NewRequestWithContext(ctx, http.MethodGet, url, nil)) })
	}
	cpu, err := cpuOf(ctx, d, nil)
	leave()
	all.Wait()
	for i := range seen {
		if seen[i].bytes == 0 || seen[i].status != http.StatusOK {
			err = errors.Join(err, fmt.Errorf("viewer %d: status %d, %d bytes", i, seen[i].status, seen[i].bytes))
		}
	}
	return cpu, err
}

// A viewer is the end of an answer that somebody only counts.
type viewer struct {
	header http.Header
	status int
	bytes  int
}

func (v *viewer) Header() http.Header  { return v.header }
func (v *viewer) WriteHeader(code int) { v.status = code }
func (v *viewer) Flush()               {}
func (v *viewer) Write(p []byte) (int, error) {
	if v.status == 0 {
		v.status = http.StatusOK
	}
	v.bytes += len(p)
	return len(p), nil
}

func (v *viewer) SetWriteDeadline(time.Time) error { return nil }
