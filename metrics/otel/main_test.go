package otel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/goleak"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// meter is a Meter of which the snapshot is known.
type meter metrics.Snapshot

func (m meter) Snapshot(int) metrics.Snapshot { return metrics.Snapshot(m) }

// busy is a snapshot in which every figure is another.
func busy(name string) metrics.Snapshot {
	s := metrics.Snapshot{Name: name, Time: time.Now()}
	s.Stats = resource.Stats{
		Load:     resource.Load{Max: 12, Idle: 3, Leased: 5, Making: 2, Destroying: 1, Waiting: 4},
		Acquired: 1005, Waited: 70, Canceled: 21, Failures: resource.AcquireFailures{Canceled: 21, Outage: 438}, Made: 100, Failed: 31, Outage: true, Panics: 44,
	}
	s.MinIdle = 2
	s.OldestWait = 1500 * time.Millisecond
	s.Facts = []resource.Fact{{Name: "tainted", Value: 51}, {Name: "open", Value: 52, Level: true}}
	s.Quotas = []resource.SharedQuota{{
		Name: "account", Holder: "h", Granted: 61, Held: 62, Want: 63, Target: 64, Limit: 65, Highest: 66, Total: 67, Holders: 68, Waiting: 69,
		Learning: true, Lost: 2500 * time.Millisecond, Over: 71, OverTotal: 72, Closed: 73, Operations: 74, Failed: 75,
	}}
	s.Multiplexers = []resource.Multiplexer{{
		Name: "jsonrpc", Held: 201, Draining: 202, Limit: 203, InFlight: 204, Busiest: 205, Waiting: 206, OldestWait: 2500 * time.Millisecond,
		Orphans: 208, MaxOrphans: 209, Streams: 210, Queued: 211, Acquired: 212, Calls: 213, NotSent: 214, MayHaveRun: 215, Batches: 216,
		Messages: 217, Retried: 218, Replayed: 219, Orphaned: 220, Late: 221, Unknown: 222, Bad: 223, Unwanted: 224, EventsDropped: 225,
		StreamDropped: 226, Resumes: 227, Gaps: 228, Panics: 229,
		Took:      resource.Durations{Sum: time.Second, Zero: 30, First: 16 * 20, Buckets: []int64{0, 0, 0, 4, 6}},
		Resources: []resource.MultiplexedResource{{ID: 7, Cause: errors.New("secret of the peer")}},
	}}
	s.Endpoints = &resource.Endpoints{
		Priority: 401, Panic: true, Failovers: 402, Failbacks: 403, Updates: 404, UpdatesFailed: 405, ResolverErr: errors.New("secret of the resolver"),
		Moved: 406, MovesFailed: 407,
		All: []resource.EndpointInfo{{
			Addr: "a:1", Zone: "z", Priority: 401, Status: "slow start", Cause: errors.New("secret of the endpoint"), For: time.Minute, Ranked: true, Share: 0.25,
			Load: 411, Latency: 2500 * time.Millisecond, Idle: 413, Leased: 414, Shared: 415, Making: 416, Begun: 417, Good: 418, Bad: 419,
			Refused: 420, Ejections: 421, Probes: 422, Moved: -423,
		}, {Addr: "b:1", Status: "ejected", Ejected: true, Failing: true}, {Addr: "c:1", Status: "draining"}, {Addr: "d:1", Status: "standby"}},
	}
	s.Destroyed = map[string]int64{"too old": 80, "other": 1}
	s.Refused = map[string]int64{"Rate": 30, "Queue": 24}
	s.Outages, s.Overdue = 3, 2
	// 900 found one idle; the rest waited from 2^20 to 2^21 ns, about 1 to 2 ms.
	s.Wait = metrics.Histogram{Count: 1000, Sum: 150 * time.Millisecond, Zero: 900, First: 80, Buckets: []int64{40, 30, 20, 10}}
	s.Hold = metrics.Histogram{Count: 10, Sum: 20 * time.Second, First: 123, Buckets: []int64{10}}
	s.Make = metrics.Histogram{Count: 100, Sum: 15 * time.Second, First: 108, Buckets: []int64{100}}
	s.Check = metrics.Histogram{Count: 2, Sum: 2 * time.Millisecond, First: 79, Buckets: []int64{2}}
	s.Close = metrics.Histogram{Count: 1, Zero: 1}
	return s
}

// collected is what a reader collects, by name.
type collected map[string]metricdata.Metrics

// collect registers and produces as cfg says, and reads once.
func collect(t testing.TB, cfg Config) collected {
	t.Helper()
	p, err := NewProducer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	reader := sdkmetric.NewManualReader(sdkmetric.WithProducer(p))
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	t.Cleanup(func() { provider.Shutdown(context.Background()) })
	if _, err := Register(provider, cfg); err != nil {
		t.Fatal(err)
	}
	return read(t, reader)
}

func read(t testing.TB, r *sdkmetric.ManualReader) collected {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := r.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	all := make(collected)
	for _, s := range rm.ScopeMetrics {
		if s.Scope.Name != Scope {
			t.Errorf("a scope %q", s.Scope.Name)
		}
		for _, m := range s.Metrics {
			if _, ok := all[m.Name]; ok {
				t.Errorf("%s is there twice", m.Name)
			}
			all[m.Name] = m
		}
	}
	return all
}

// points are the values of a metric by attributes; of a histogram, the counts.
func points(t testing.TB, m metricdata.Metrics) map[string]float64 {
	t.Helper()
	all := make(map[string]float64)
	put := func(set attribute.Set, v float64) {
		var words []string
		for _, kv := range set.ToSlice() {
			words = append(words, string(kv.Key)+"="+kv.Value.Emit())
		}
		slices.Sort(words)
		all[strings.Join(words, " ")] = v
	}
	switch d := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range d.DataPoints {
			put(p.Attributes, float64(p.Value))
		}
	case metricdata.Gauge[int64]:
		for _, p := range d.DataPoints {
			put(p.Attributes, float64(p.Value))
		}
	case metricdata.Gauge[float64]:
		for _, p := range d.DataPoints {
			put(p.Attributes, p.Value)
		}
	case metricdata.ExponentialHistogram[float64]:
		for _, p := range d.DataPoints {
			put(p.Attributes, float64(p.Count))
		}
	default:
		t.Fatalf("%s is %T", m.Name, d)
	}
	return all
}

// shape is the unit and the kind of a metric.
func shape(m metricdata.Metrics) string {
	kind := ""
	switch d := m.Data.(type) {
	case metricdata.Sum[int64]:
		if kind = "updown"; d.IsMonotonic {
			kind = "counter"
		}
	case metricdata.Gauge[int64], metricdata.Gauge[float64]:
		kind = "gauge"
	case metricdata.ExponentialHistogram[float64]:
		kind = "histogram"
	}
	return fmt.Sprintf("%s %s", m.Unit, kind)
}
