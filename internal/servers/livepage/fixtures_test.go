package livepage

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/live"
	"github.com/respool/respool/resource"
)

// thing is a resource.
type thing struct{ n int64 }

// watched is a pool with a meter, which are closed when the test has ended.
func watched(t *testing.T, name string, cfg resource.Config[*thing]) *resource.Pool[*thing] {
	t.Helper()
	m, err := metrics.New(name, metrics.Config{Overdue: 300 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Make == nil {
		var made atomic.Int64
		cfg.Make = func(context.Context) (*thing, error) { return &thing{made.Add(1)}, nil }
	}
	cfg.Trace = m.Trace(cfg.Trace)
	p, err := resource.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Watch(p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
		m.Close()
	})
	return p
}

// work lets so many callers use the pool, each so many times; some give
// resources back broken, and some give up.
func work(t *testing.T, p *resource.Pool[*thing], callers, times int) {
	t.Helper()
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for i := range times {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				if (c+i)%17 == 0 {
					cancel() // this one does not even begin to wait
				}
				err := p.Do(ctx, func(context.Context, *thing) error {
					time.Sleep(time.Duration(rand.Int64N(int64(time.Millisecond)))) // the work
					if (c+i)%29 == 0 {
						return errBroken
					}
					return nil
				})
				cancel()
				if err != nil && !errors.Is(err, errBroken) && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

var errBroken = errors.New("broken by the test")

// settled is the pool when its destroys have ended.
func settled(t *testing.T, p *resource.Pool[*thing]) resource.Stats {
	t.Helper()
	for by := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // between looks
		if s := p.Stats(); s.Destroying+s.Making+s.Waiting == 0 {
			return s
		}
		if time.Now().After(by) {
			t.Fatalf("the pool does not come to rest: %v", p.Stats())
		}
	}
}

func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// forgetful takes a lease and loses it.
//
//go:noinline
func forgetful(t *testing.T, p *resource.Pool[*thing]) resource.Lease[*thing] {
	l, err := p.AcquireWith(t.Context(), resource.Request{Class: "nightly"})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// told is a meter that shows the snapshot and the history that a test sets.
type told struct {
	mu   sync.Mutex
	s    metrics.Snapshot
	past metrics.History
}

func (m *told) History() metrics.History {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.past
}

func (m *told) Snapshot(int) metrics.Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.s.Acquired += 10
	m.s.Wait.Count += 10
	m.s.Wait.Zero += 10
	return m.s
}

func (m *told) tell(f func(s *metrics.Snapshot)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.s)
}

func telling(name string) *told {
	return &told{s: metrics.Snapshot{Name: name, Inspection: resource.Inspection{Stats: resource.Stats{Load: resource.Load{Max: 4}}}}}
}

// showing is a host of those.
func showing(t *testing.T, all ...*told) *host {
	meters := make([]live.Meter, len(all))
	for i, m := range all {
		meters[i] = m
	}
	return (&host{t: t, every: often, meters: func() []live.Meter { return meters }}).start()
}

// sick is a meter that cannot be looked at closely.
type sick struct{}

func (sick) Snapshot(limit int) metrics.Snapshot {
	if limit > 0 {
		panic("what a day")
	}
	return metrics.Snapshot{Name: "sick"}
}

// kept is a history of n points up to now, with a pool that changes.
func kept(n int) metrics.History {
	h := metrics.History{Every: 2 * time.Second}
	now := time.Now()
	h.Since = now.Add(-time.Duration(n) * h.Every)
	for i := range n {
		k := int64(i)
		h.Points = append(h.Points, metrics.Point{
			Time: h.Since.Add(time.Duration(i+1) * h.Every), Load: resource.Load{Max: 9, Leased: 1 + i%8}, Acquired: -20 * int64(n-i),
			Failures: resource.AcquireFailures{Admission: 4*k - 4*int64(n), Canceled: 2*k - 2*int64(n)}, Waits: 40, WaitP50: time.Millisecond, WaitP99: time.Second,
		})
	}
	return h
}
