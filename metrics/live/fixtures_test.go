package live

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/respool/respool/internal/memnet"
	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is for what another goroutine does soon.
const patience = 20 * time.Second

// fake is a meter that counts how often it is asked, and for how much.
type fake struct {
	mu     sync.Mutex
	s      metrics.Snapshot
	asked  []int
	panics bool
}

func (f *fake) Snapshot(limit int) metrics.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, limit)
	if f.panics {
		panic("no snapshot today")
	}
	s := f.s
	s.Resources = slices.Clone(s.Resources[:min(limit, len(s.Resources))])
	s.Inspection.Waiting = s.Inspection.Waiting[:min(limit, len(s.Inspection.Waiting))]
	s.Held = s.Held[:min(limit, len(s.Held))]
	return s
}

// times is how often it was asked for lists, and for none.
func (f *fake) times() (full, brief int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, limit := range f.asked {
		if limit > 0 {
			full++
		} else {
			brief++
		}
	}
	return full, brief
}

func named(name string) *fake { return &fake{s: metrics.Snapshot{Name: name}} }

// sample is a pool with some of everything.
func sample() *fake {
	stack := []metrics.Frame{
		{Func: "example.com/shop.charge", File: "/src/shop/charge.go", Line: 88},
		{Func: "example.com/shop.serve", File: "/src/shop/serve.go", Line: 41},
	}
	began := time.Now()
	return &fake{s: metrics.Snapshot{
		Name: "speech",
		Time: began,
		Inspection: resource.Inspection{
			Stats: resource.Stats{
				Load:     resource.Load{Max: 8, Idle: 2, Leased: 3, Making: 1, Destroying: 1, Abandoned: 4, Waiting: 2, Wanting: 5},
				Acquired: 103, Released: 100, Waited: 17, WaitTime: 1500 * time.Millisecond, Canceled: 6, Rejected: 7,
				Failures: resource.AcquireFailures{Canceled: 6, Admission: 7, Outage: 438, NoneIdle: 15},
				Made:     20, MakeTime: 3 * time.Second, Failed: 8, Refused: 9, Destroyed: 13, Hijacked: 1,
				Evicted: 10, Unhealthy: 11, Invalidated: 12, Panics: 14,
				Outage: true, LastMake: errors.New("connection refused"),
			},
			OldestWait: 250 * time.Millisecond,
			Resources: []resource.ResourceInfo{
				{Info: resource.Info{ID: 3, Age: 3 * time.Second, Leases: 30}, Lease: 32, State: resource.Leased, Held: 40 * time.Millisecond, Invalidated: errors.New("going away")},
				{Info: resource.Info{ID: 1, Age: 9 * time.Second, Leases: 10, Idle: time.Second}, Detail: "rtt 1.2 ms"},
				{Info: resource.Info{ID: 2, Age: 6 * time.Second, Leases: 20, Idle: 2 * time.Second}, State: resource.Checking},
				{Info: resource.Info{ID: 4, Age: time.Second, Leases: 40}, Lease: 41, State: resource.Leased, Held: time.Minute, Shared: true},
			},
			Waiting: []resource.WaiterInfo{
				{Request: resource.Request{Class: "batch", Priority: 2, Cost: 3}, Waited: 250 * time.Millisecond},
				{Waited: 10 * time.Millisecond},
			},
			Policies: []resource.PolicyState{{Moment: "Admission", Type: "*policy.Share", State: "3 of 4"}},
			Facts:    []resource.Fact{{Name: "tainted", Value: 5}},
			Quotas: []resource.SharedQuota{{
				Name: "account", Holder: "h1", Mode: "fail closed", Granted: 61, Held: 62, Want: 63, Target: 64, Limit: 65, Highest: 66, Total: 67,
				Holders: 68, Waiting: 69, Learning: true, Lost: 2500 * time.Millisecond, LostCause: errors.New("connection refused"),
				Over: 71, OverTotal: 72, Closed: 73, Operations: 74, Failed: 75,
			}, {Name: "model", Holder: "h2", Limit: 8}},
			Endpoints: &resource.Endpoints{
				Priority: 401, Panic: true, Failovers: 402, Failbacks: 403, Updates: 404, UpdatesFailed: 405, ResolverErr: errors.New("lookup failed; token=abc"),
				Moved: 406, MovesFailed: 407,
				All: []resource.EndpointInfo{{
					Addr: "wss://me:secret@a/", Zone: "z", Priority: 401, Status: "ejected", Cause: errors.New("refused; token=abc"), For: time.Minute,
					Ranked: true, Failing: true, Ejected: true, Share: 0.25, Load: 411, Latency: 2500 * time.Millisecond, Idle: 413, Leased: 414, Shared: 415,
					Making: 416, Begun: 417, Good: 418, Bad: 419, Refused: 420, Ejections: 421, Probes: 422, Moved: -423,
				}, {Addr: "b:1", Status: "healthy"}},
			},
			Multiplexers: []resource.Multiplexer{{
				Name: "jsonrpc", Held: 301, Draining: 302, Limit: 303, InFlight: 304, Busiest: 305, Waiting: 306, OldestWait: 2500 * time.Millisecond,
				Orphans: 308, MaxOrphans: 309, Streams: 310, Queued: 311, Acquired: 312, Calls: 313, NotSent: 314, MayHaveRun: 315, Batches: 316,
				Messages: 317, Retried: 318, Replayed: 319, Orphaned: 320, Late: 321, Unknown: 322, Bad: 323, Unwanted: 324, EventsDropped: 325,
				StreamDropped: 326, Resumes: 327, Gaps: 328, Panics: 329,
				Took: resource.Durations{Sum: time.Second, Zero: 30, First: 16 * 20, Buckets: []int64{0, 0, 0, 4, 6}},
				Resources: []resource.MultiplexedResource{
					{ID: 3, InFlight: 331, Orphans: 332, Streams: 333, Queued: 334, Draining: true, Cause: errors.New("going away; token=abc"), Dedicated: true,
						Calls: 335, Batches: 336, Messages: 337, Late: 338, Unknown: 339, Bad: 340},
					{ID: 4},
				},
			}},
		},
		Wait:      metrics.Histogram{Count: 10, Sum: 20 * time.Millisecond, Zero: 6, First: 80, Buckets: []int64{1, 0, 3}},
		Hold:      metrics.Histogram{Count: 2, Sum: time.Second, First: 100, Buckets: []int64{2}},
		Destroyed: map[string]int64{"max age": 12, "other": 1},
		Refused:   map[string]int64{"*policy.Share": 7},
		Outages:   2,
		Since:     began.Add(-time.Minute),
		Overdue:   1,
		Held: []metrics.Held{
			{ID: 4, Lease: 40, For: time.Minute, Class: "batch", Overdue: true, Shared: true, Stack: stack},
			{ID: 3, Lease: 30, For: 40 * time.Millisecond, Stack: stack},
			{ID: 9, Lease: 1, For: time.Millisecond},
		},
		Events: []metrics.Event{{Time: began, Kind: "made", Text: "4 in 50 ms"}},
	}}
}

// many is a pool of n resources, all lent at a handful of places.
func many(n int) *fake {
	f := named("many")
	f.s.Max, f.s.Leased = n, n
	for i := range n {
		id := uint64(i + 1)
		f.s.Resources = append(f.s.Resources, resource.ResourceInfo{
			Info:  resource.Info{ID: id, Age: time.Duration(n-i) * time.Second, Leases: int64(i % 97)},
			State: resource.Leased, Held: time.Duration(i%1000) * time.Millisecond, Detail: fmt.Sprintf("rtt %d ms", i%40),
		})
		stack := make([]metrics.Frame, 12)
		for k := range stack {
			stack[k] = metrics.Frame{Func: fmt.Sprintf("example.com/shop/orders.(*Service).step%d", k), File: "/src/shop/orders/service.go", Line: 100*k + i%5}
		}
		f.s.Held = append(f.s.Held, metrics.Held{ID: id, Lease: 1, For: time.Duration(n-i) * time.Millisecond, Stack: stack})
		f.s.Inspection.Waiting = append(f.s.Inspection.Waiting, resource.WaiterInfo{Waited: time.Duration(n-i) * time.Millisecond})
	}
	f.s.Load.Waiting = n
	for i := range 200 {
		f.s.Events = append(f.s.Events, metrics.Event{Time: time.Now(), Kind: "made", Text: fmt.Sprintf("%d in 50 ms", i)})
	}
	return f
}

// pageOf is a page of those, closed when the test has ended.
func pageOf(t testing.TB, all ...Meter) *Page {
	p := Handler(Config{Meters: func() []Meter { return all }})
	t.Cleanup(p.Close)
	return p
}

// site is a server of a page, in a bubble.
type site struct {
	t     *testing.T
	page  *Page
	srv   *http.Server
	conns chan net.Conn
	ended sync.WaitGroup
}

func (s *site) Accept() (net.Conn, error) {
	c, ok := <-s.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (s *site) Close() error { return nil }

func (s *site) Addr() net.Addr { return &net.TCPAddr{} }

func serve(t *testing.T, all ...Meter) *site {
	s := newSite(t, all...)
	s.serve()
	return s
}

func newSite(t *testing.T, all ...Meter) *site {
	s := &site{t: t, page: pageOf(t, all...), conns: make(chan net.Conn)}
	s.srv = &http.Server{Handler: s.page, ReadTimeout: 2 * time.Second, WriteTimeout: 2 * time.Second}
	s.srv.RegisterOnShutdown(s.page.Close)
	return s
}

func (s *site) serve() { s.ended.Go(func() { s.srv.Serve(s) }) }

// stop is what a server does that ends well.
func (s *site) stop() {
	close(s.conns)
	if err := s.srv.Shutdown(context.Background()); err != nil {
		s.t.Error(err)
	}
	s.ended.Wait()
}

// watch opens a stream over a connection that holds so many bytes.
func (s *site) watch(query string, holds int) *watcher {
	s.t.Helper()
	ours, theirs := memnet.Pipe(holds)
	s.conns <- theirs
	if _, err := fmt.Fprintf(ours, "GET /p/events?%s HTTP/1.1\r\nHost: here\r\n\r\n", query); err != nil {
		s.t.Fatal(err)
	}
	return &watcher{t: s.t, conn: ours, in: bufio.NewReader(ours)}
}

// watcher is an open stream.
type watcher struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	body *bufio.Scanner
}

// begin reads the head of the answer.
func (w *watcher) begin() *http.Response {
	w.t.Helper()
	r, err := http.ReadResponse(w.in, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.body = bufio.NewScanner(r.Body)
	w.body.Buffer(nil, 1<<20)
	return r
}

// next reads one event; "" is the end of the stream.
func (w *watcher) next() (name string, data map[string]any) {
	w.t.Helper()
	if w.body == nil {
		if r := w.begin(); r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/event-stream" {
			w.t.Fatalf("%s, %s", r.Status, r.Header.Get("Content-Type"))
		}
	}
	for w.body.Scan() {
		line := w.body.Text()
		if n, ok := strings.CutPrefix(line, "event: "); ok {
			name = n
		} else if d, ok := strings.CutPrefix(line, "data: "); ok {
			if err := json.Unmarshal([]byte(d), &data); err != nil {
				w.t.Fatal(err)
			}
		} else if line == "" && name != "" {
			return name, data
		}
	}
	return "", nil
}

// slowMeter is a meter that takes its time.
type slowMeter struct {
	takes time.Duration
	asked atomic.Int64
}

func (m *slowMeter) Snapshot(int) metrics.Snapshot {
	m.asked.Add(1)
	time.Sleep(m.takes) // in the time of a bubble
	return metrics.Snapshot{Name: "slow"}
}

// metersOnly is a meter of nothing.
type metersOnly struct{}

func (metersOnly) Snapshot(int) metrics.Snapshot { return metrics.Snapshot{Name: "nothing"} }

// slowLists is a pool whose lists take their time.
type slowLists struct {
	name  string
	takes time.Duration
	spent *atomic.Int64 // in all
}

func (m slowLists) Snapshot(limit int) metrics.Snapshot {
	if limit > 0 {
		time.Sleep(m.takes) // in the time of a bubble
		m.spent.Add(int64(m.takes))
	}
	return metrics.Snapshot{Name: m.name}
}

// nilError is an error whose nil pointer is returned as an error.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

// rare is a Meter with another history than a *metrics.Meter can have.
type rare struct {
	*fake
	history func() metrics.History
}

func (r rare) History() metrics.History { return r.history() }
