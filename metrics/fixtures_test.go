package metrics_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

func newMeter(t *testing.T, cfg metrics.Config) *metrics.Meter {
	t.Helper()
	m, err := metrics.New(t.Name(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// source is a pool put together by hand.
type source struct {
	mu    sync.Mutex
	says  resource.Inspection
	limit []int // as it was asked
}

func (s *source) Inspect(limit int) resource.Inspection {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = append(s.limit, limit)
	i := s.says
	i.Resources = slices.Clone(i.Resources[:min(limit, len(i.Resources))])
	i.Waiting = slices.Clone(i.Waiting[:min(limit, len(i.Waiting))])
	return i
}

func (s *source) set(edit func(*resource.Inspection)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	edit(&s.says)
}

// panicking returns a Source that panics.
func panicking() *failing { return &failing{fail: func() { panic("no source") }} }

// failing is a Source that returns nothing.
type failing struct {
	fail  func()
	asked atomic.Int64
}

func (f *failing) Inspect(int) resource.Inspection {
	f.asked.Add(1)
	f.fail()
	return resource.Inspection{}
}

type named string

func (n named) Error() string { return "server says " + string(n) }

func (n named) Cause() string { return string(n) }

type badError struct{}

func (badError) Error() string { panic("no text") }

func (badError) Is(error) bool { panic("no kin") }

func (badError) As(any) bool { panic("no kin") }

func (badError) Unwrap() []error { panic("no chain") }

// from is an error with a Cause, of another type for each T.
type from[T any] struct{ label string }

func (e from[T]) Error() string { return "label " + e.label }

func (e from[T]) Cause() string { return e.label }

var namedBy = []func(label string) error{
	func(l string) error { return from[int]{l} }, func(l string) error { return from[int8]{l} },
	func(l string) error { return from[int16]{l} }, func(l string) error { return from[int32]{l} },
	func(l string) error { return from[int64]{l} }, func(l string) error { return from[uint]{l} },
	func(l string) error { return from[uint8]{l} }, func(l string) error { return from[uint16]{l} },
	func(l string) error { return from[uint32]{l} }, func(l string) error { return from[uint64]{l} },
}

// begin tells of a lease, as a pool would.
//
//go:noinline
func begin(trace *resource.Trace, id, number uint64) {
	trace.Leased(context.Background(), resource.LeaseEvent{ID: id, Lease: number, Request: resource.Request{Class: "batch\n" + strings.Repeat("x", 100)}})
}

func end(trace *resource.Trace, id, number uint64) {
	trace.Ended(resource.EndEvent{ID: id, Lease: number, Held: time.Second, Sampled: 1})
}

// dice is randomness that many may use at once.
type dice struct {
	mu  sync.Mutex
	rnd *rand.Rand
}

// one reports whether what happens once in n times happens now.
func (d *dice) one(n int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rnd.IntN(n) == 0
}

func (d *dice) upTo(most time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Duration(d.rnd.Int64N(int64(most)))
}

type health func(context.Context, int, resource.Info) error

func (h health) Check(ctx context.Context, v int, i resource.Info) error { return h(ctx, v, i) }

// watcher is a meter with all its reports.
type watcher struct {
	m     *metrics.Meter
	trace *resource.Trace
	src   *source
	log   safeBuffer

	mu             sync.Mutex
	due, returned  []metrics.Held
	dueAt, endedAt []time.Duration
	start          time.Time
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newWatcher(t *testing.T, overdue time.Duration) *watcher {
	w := &watcher{src: &source{}, start: time.Now()}
	w.m = newMeter(t, metrics.Config{
		Overdue: overdue,
		OnOverdue: func(h metrics.Held) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.due, w.dueAt = append(w.due, h), append(w.dueAt, time.Since(w.start))
		},
		OnReturned: func(h metrics.Held) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.returned, w.endedAt = append(w.returned, h), append(w.endedAt, time.Since(w.start))
		},
		Logger: slog.New(slog.NewTextHandler(&w.log, nil)),
	})
	w.trace = w.m.Trace(nil)
	if err := w.m.Watch(w.src); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *watcher) note(in *[]metrics.Held, h metrics.Held) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*in = append(*in, h)
}

// want checks how many reports there were.
func (w *watcher) want(t *testing.T, due, returned int) {
	t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.due) != due || len(w.returned) != returned {
		t.Fatalf("overdue %+v, returned %+v, want %d and %d", w.due, w.returned, due, returned)
	}
}

func (w *watcher) kinds() (kinds []string) {
	for _, e := range w.m.Snapshot(0).Events {
		kinds = append(kinds, e.Kind)
	}
	slices.Reverse(kinds)
	return kinds
}

// diary records what a meter has reported, in order.
type diary struct {
	mu   sync.Mutex
	told []string
}

func (d *diary) note(what string, h metrics.Held) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.told = append(d.told, fmt.Sprint(what, h.ID))
}

func (d *diary) want(t *testing.T, told ...string) {
	t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if got, want := strings.Join(d.told, " "), strings.Join(told, " "); got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}
