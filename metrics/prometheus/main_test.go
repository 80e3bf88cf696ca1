package prometheus

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
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
		Load: resource.Load{Max: 12, Idle: 3, Leased: 5, Making: 2, Destroying: 1, Abandoned: 7, Waiting: 4, Wanting: 6},

		Acquired: 1005, Released: 1000, Waited: 70, WaitTime: 9 * time.Second, Canceled: 21, Rejected: 22,
		Failures:    resource.AcquireFailures{Canceled: 21, Admission: 12, Queue: 4, MakeGate: 5, Quota: 1, Outage: 438, MakeFailed: 6, NoneIdle: 7, NearEnd: 8, Closed: 9},
		WaitsServed: 61, WaitsFailed: 5, Withdrawn: 17, ReleaseFailed: 18,
		Begun: resource.MakesBegun{Callers: 110, NoWait: 11, MinIdle: 13, Warm: 14, MakeOne: 15, Replacements: 16},
		Made:  100, MakeTime: 15 * time.Second, Failed: 31, Refused: 32, Destroyed: 81, Hijacked: 10,
		Evicted: 41, Unhealthy: 42, Invalidated: 43, Outage: true, LastMake: errors.New("secret of the server"), Panics: 44,
	}
	s.OldestWait = 1500 * time.Millisecond
	s.Facts = []resource.Fact{{Name: "tainted", Value: 51}, {Name: "round trips open", Value: 52, Level: true}}
	s.Quotas = []resource.SharedQuota{{
		Name: "account", Holder: "h", Granted: 61, Held: 62, Want: 63, Target: 64, Limit: 65, Highest: 66, Total: 67, Holders: 68, Waiting: 69,
		Learning: true, Lost: 2500 * time.Millisecond, LostCause: errors.New("secret of the engine"),
		Over: 71, OverTotal: 72, Closed: 73, Operations: 74, Failed: 75,
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
	s.Refused = map[string]int64{"policy.Rate": 30, "policy.Queue": 24}
	s.Outages = 3
	s.Since = s.Time.Add(-time.Minute)
	s.Overdue = 2
	// 900 found one idle; the rest waited from 2^20 to 2^21 ns, about 1 to 2 ms.
	s.Wait = metrics.Histogram{Count: 1000, Sum: 150 * time.Millisecond, Zero: 900, First: 80, Buckets: []int64{40, 30, 20, 10}}
	s.Hold = metrics.Histogram{Count: 10, Sum: 20 * time.Second, First: 120, Buckets: []int64{0, 0, 0, 10}}
	s.Make = metrics.Histogram{Count: 100, Sum: 15 * time.Second, First: 108, Buckets: []int64{100}}
	s.Check = metrics.Histogram{Count: 2, Sum: 2 * time.Millisecond, First: 79, Buckets: []int64{2}}
	s.Close = metrics.Histogram{Count: 1, Zero: 1}
	return s
}

// gathered is what a registry gathers of one collector, by name without prefix.
type gathered map[string]*dto.MetricFamily

func gather(t testing.TB, c prometheus.Collector) gathered {
	t.Helper()
	r := prometheus.NewPedanticRegistry() // it holds Collect to what Describe said
	if err := r.Register(c); err != nil {
		t.Fatal(err)
	}
	fs, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(gathered)
	for _, f := range fs {
		name, _ := strings.CutPrefix(f.GetName(), DefaultPrefix+"_")
		all[name] = f
	}
	return all
}

// labels are those of a metric except pool.
func labels(m *dto.Metric) string {
	var all []string
	for _, l := range m.Label {
		if l.GetName() != "pool" {
			all = append(all, l.GetName()+"="+l.GetValue())
		}
	}
	return strings.Join(all, ",")
}

func pool(m *dto.Metric) string {
	for _, l := range m.Label {
		if l.GetName() == "pool" {
			return l.GetValue()
		}
	}
	return ""
}

func value(m *dto.Metric) float64 { return m.GetGauge().GetValue() + m.GetCounter().GetValue() }
