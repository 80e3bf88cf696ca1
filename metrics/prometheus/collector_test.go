package prometheus

import (
	"context"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

func TestEveryFigure(t *testing.T) {
	got := make(map[string]float64)
	for name, f := range gather(t, Of(meter(busy("db")))) {
		for _, m := range f.Metric {
			if pool(m) != "db" {
				t.Errorf("%s is of the pool %q", name, pool(m))
			}
			counts := strings.HasSuffix(name, "_total")
			if h := f.GetType() == dto.MetricType_HISTOGRAM; h {
				got[name] = float64(m.Histogram.GetSampleCount())
			} else if got[name+"{"+labels(m)+"}"] = value(m); counts != (f.GetType() == dto.MetricType_COUNTER) {
				t.Errorf("%s is a %v", name, f.GetType())
			}
		}
	}
	want := map[string]float64{
		"resources{state=idle}": 3, "resources{state=leased}": 5, "resources{state=making}": 2, "resources{state=destroying}": 1,
		"limit{}": 12, "pending_acquires{}": 4, "oldest_wait_seconds{}": 1.5, "wanted_places{}": 6, "abandoned_makes{}": 7,
		"leases_overdue{}": 2, "outage{}": 1, "outages_total{}": 3, "panics_total{}": 44,
		"acquires_total{result=ok}": 1005, "acquires_total{result=canceled}": 21, "acquires_total{result=max_wait}": 0, "acquires_total{result=admission}": 12, "acquires_total{result=queue}": 4,
		"acquires_total{result=make_gate}": 5, "acquires_total{result=quota}": 1, "acquires_total{result=outage}": 438,
		"acquires_total{result=make_failed}": 6, "acquires_total{result=none_idle}": 7, "acquires_total{result=near_end}": 8,
		"acquires_total{result=closed}": 9, "waits_ended_total{result=ok}": 61, "waits_ended_total{result=failed}": 5,
		"makes_begun_total{for=callers}": 110, "makes_begun_total{for=no_wait}": 11, "makes_begun_total{for=min_idle}": 13,
		"makes_begun_total{for=warm}": 14, "makes_begun_total{for=make_one}": 15, "makes_begun_total{for=replacements}": 16,
		"waits_total{}": 70, "releases_total{}": 1000, "hijacked_total{}": 10,
		"makes_total{result=ok}": 100, "makes_total{result=failed}": 31, "makes_total{result=refused}": 32,
		"makes_total{result=withdrawn}":   17,
		"destroyed_total{reason=too old}": 80, "destroyed_total{reason=other}": 1,
		"ended_total{by=eviction}": 41, "ended_total{by=health}": 42, "ended_total{by=invalidate}": 43, "ended_total{by=on_release}": 18,
		"rejections_total{policy=policy.Rate}": 30, "rejections_total{policy=policy.Queue}": 24,
		"quota_granted{quota=account}": 61, "quota_held{quota=account}": 62, "quota_wanted{quota=account}": 63, "quota_target{quota=account}": 64,
		"quota_limit{quota=account}": 65, "quota_highest_limit{quota=account}": 66, "quota_fleet_granted{quota=account}": 67,
		"quota_holders{quota=account}": 68, "quota_waiting{quota=account}": 69, "quota_learning{quota=account}": 1,
		"quota_engine_lost_seconds{quota=account}": 2.5, "quota_over{quota=account}": 71, "quota_exceeded_total{quota=account}": 72,
		"quota_closed_total{quota=account}": 73, "quota_operations_total{quota=account}": 74, "quota_operations_failed_total{quota=account}": 75,
		"fact_total{fact=tainted}": 51, "fact_level{fact=round trips open}": 52,
		"mux_held{mux=jsonrpc}":                     201,
		"mux_draining{mux=jsonrpc}":                 202,
		"mux_in_flight{mux=jsonrpc}":                204,
		"mux_in_flight_busiest{mux=jsonrpc}":        205,
		"mux_in_flight_limit{mux=jsonrpc}":          203,
		"mux_waiting{mux=jsonrpc}":                  206,
		"mux_oldest_wait_seconds{mux=jsonrpc}":      2.5,
		"mux_orphans{mux=jsonrpc}":                  208,
		"mux_orphans_limit{mux=jsonrpc}":            209,
		"mux_streams{mux=jsonrpc}":                  210,
		"mux_queued_bytes{mux=jsonrpc}":             211,
		"mux_acquired_total{mux=jsonrpc}":           212,
		"mux_calls_total{mux=jsonrpc}":              213,
		"mux_calls_not_sent_total{mux=jsonrpc}":     214,
		"mux_calls_may_have_run_total{mux=jsonrpc}": 215,
		"mux_writes_total{mux=jsonrpc}":             216,
		"mux_messages_total{mux=jsonrpc}":           217,
		"mux_retries_total{mux=jsonrpc}":            218,
		"mux_replays_total{mux=jsonrpc}":            219,
		"mux_orphaned_total{mux=jsonrpc}":           220,
		"mux_late_total{mux=jsonrpc}":               221,
		"mux_unknown_total{mux=jsonrpc}":            222,
		"mux_bad_total{mux=jsonrpc}":                223,
		"mux_unwanted_total{mux=jsonrpc}":           224,
		"mux_events_dropped_total{mux=jsonrpc}":     225,
		"mux_stream_dropped_total{mux=jsonrpc}":     226,
		"mux_resumes_total{mux=jsonrpc}":            227,
		"mux_gaps_total{mux=jsonrpc}":               228,
		"mux_panics_total{mux=jsonrpc}":             229,
		"endpoint_share{endpoint=a:1}":              0.25,
		"endpoint_share{endpoint=b:1}":              0,
		"endpoint_share{endpoint=c:1}":              0,
		"endpoint_share{endpoint=d:1}":              0,
		"endpoint_load{endpoint=a:1}":               411,
		"endpoint_load{endpoint=b:1}":               0,
		"endpoint_load{endpoint=c:1}":               0,
		"endpoint_load{endpoint=d:1}":               0,
		"endpoint_latency_seconds{endpoint=a:1}":    2.5,
		"endpoint_latency_seconds{endpoint=b:1}":    0,
		"endpoint_latency_seconds{endpoint=c:1}":    0,
		"endpoint_latency_seconds{endpoint=d:1}":    0,
		"endpoint_connections{endpoint=a:1}":        827,
		"endpoint_connections{endpoint=b:1}":        0,
		"endpoint_connections{endpoint=c:1}":        0,
		"endpoint_connections{endpoint=d:1}":        0,
		"endpoint_leased{endpoint=a:1}":             414,
		"endpoint_leased{endpoint=b:1}":             0,
		"endpoint_leased{endpoint=c:1}":             0,
		"endpoint_leased{endpoint=d:1}":             0,
		"endpoint_shared{endpoint=a:1}":             415,
		"endpoint_shared{endpoint=b:1}":             0,
		"endpoint_shared{endpoint=c:1}":             0,
		"endpoint_shared{endpoint=d:1}":             0,
		"endpoint_making{endpoint=a:1}":             416,
		"endpoint_making{endpoint=b:1}":             0,
		"endpoint_making{endpoint=c:1}":             0,
		"endpoint_making{endpoint=d:1}":             0,
		"endpoint_ranked{endpoint=a:1}":             1,
		"endpoint_ranked{endpoint=b:1}":             0,
		"endpoint_ranked{endpoint=c:1}":             0,
		"endpoint_ranked{endpoint=d:1}":             0,
		"endpoint_ejected{endpoint=a:1}":            0,
		"endpoint_ejected{endpoint=b:1}":            1,
		"endpoint_ejected{endpoint=c:1}":            0,
		"endpoint_ejected{endpoint=d:1}":            0,
		"endpoint_failing{endpoint=a:1}":            0,
		"endpoint_failing{endpoint=b:1}":            1,
		"endpoint_failing{endpoint=c:1}":            0,
		"endpoint_failing{endpoint=d:1}":            0,
		"endpoint_draining{endpoint=a:1}":           0,
		"endpoint_draining{endpoint=b:1}":           0,
		"endpoint_draining{endpoint=c:1}":           1,
		"endpoint_draining{endpoint=d:1}":           0,
		"endpoint_standby{endpoint=a:1}":            0,
		"endpoint_standby{endpoint=b:1}":            0,
		"endpoint_standby{endpoint=c:1}":            0,
		"endpoint_standby{endpoint=d:1}":            1,
		"endpoint_slow_start{endpoint=a:1}":         1,
		"endpoint_slow_start{endpoint=b:1}":         0,
		"endpoint_slow_start{endpoint=c:1}":         0,
		"endpoint_slow_start{endpoint=d:1}":         0,
		"endpoint_moved{endpoint=a:1}":              -423,
		"endpoint_moved{endpoint=b:1}":              0,
		"endpoint_moved{endpoint=c:1}":              0,
		"endpoint_moved{endpoint=d:1}":              0,
		"endpoint_uses_total{endpoint=a:1}":         417,
		"endpoint_uses_total{endpoint=b:1}":         0,
		"endpoint_uses_total{endpoint=c:1}":         0,
		"endpoint_uses_total{endpoint=d:1}":         0,
		"endpoint_good_total{endpoint=a:1}":         418,
		"endpoint_good_total{endpoint=b:1}":         0,
		"endpoint_good_total{endpoint=c:1}":         0,
		"endpoint_good_total{endpoint=d:1}":         0,
		"endpoint_bad_total{endpoint=a:1}":          419,
		"endpoint_bad_total{endpoint=b:1}":          0,
		"endpoint_bad_total{endpoint=c:1}":          0,
		"endpoint_bad_total{endpoint=d:1}":          0,
		"endpoint_refused_total{endpoint=a:1}":      420,
		"endpoint_refused_total{endpoint=b:1}":      0,
		"endpoint_refused_total{endpoint=c:1}":      0,
		"endpoint_refused_total{endpoint=d:1}":      0,
		"endpoint_ejections_total{endpoint=a:1}":    421,
		"endpoint_ejections_total{endpoint=b:1}":    0,
		"endpoint_ejections_total{endpoint=c:1}":    0,
		"endpoint_ejections_total{endpoint=d:1}":    0,
		"endpoint_probes_total{endpoint=a:1}":       422,
		"endpoint_probes_total{endpoint=b:1}":       0,
		"endpoint_probes_total{endpoint=c:1}":       0,
		"endpoint_probes_total{endpoint=d:1}":       0,
		"endpoints{}":                               4,
		"endpoints_panic{}":                         1,
		"endpoints_priority{}":                      401,
		"endpoints_resolver_failing{}":              1,
		"endpoints_failovers_total{}":               402,
		"endpoints_failbacks_total{}":               403,
		"endpoints_updates_total{}":                 404,
		"endpoints_updates_failed_total{}":          405,
		"endpoints_moved_total{}":                   406,
		"endpoints_moves_failed_total{}":            407,
		"mux_call_seconds":                          40, "wait_seconds": 1000, "use_seconds": 10, "create_seconds": 100, "check_seconds": 2, "destroy_seconds": 1,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
}

// What a metric is called follows Prometheus' own advice, and the doc of the
// package lists them all.
func TestNames(t *testing.T) {
	var fs []*dto.MetricFamily
	for _, f := range gather(t, Of(meter(busy("db")))) {
		fs = append(fs, f)
	}
	problems, err := promlint.NewWithMetricFamilies(fs).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if want := len(families) + len(histograms); len(fs) != want {
		t.Errorf("%d names of %d", len(fs), want)
	}
}

// A pool that has done nothing shows zeros, so that a rate begins at once.
func TestIdlePool(t *testing.T) {
	all := gather(t, Of(meter{Name: "idle"}))
	for _, f := range families {
		if _, ok := all[f.name]; ok == (f.name == "destroyed_total" || f.name == "rejections_total" || strings.HasPrefix(f.name, "fact_") || f.each != nil) {
			t.Errorf("%s: there is %v", f.name, ok)
		}
	}
	for _, h := range histograms {
		if h.label != "" {
			if all[h.name] != nil {
				t.Errorf("%s is there", h.name)
			}
			continue
		}
		if all[h.name] == nil || all[h.name].Metric[0].Histogram.GetSampleCount() != 0 {
			t.Errorf("%s: got %v", h.name, all[h.name])
		}
	}
}

func TestLabels(t *testing.T) {
	evil := busy("\xff\"\n\\{}")
	evil.Destroyed = map[string]int64{"bad \xff\xfe end": 1, `bad \xff\xfe end`: 2, "": 3, "Grüße": 4}
	evil.Refused = nil
	evil.Facts = []resource.Fact{{Name: "x\x80", Value: 1}, {Name: "x\x80", Value: 2}}
	all := gather(t, Of(meter(evil), meter(busy("db")), meter(busy("db")), meter(busy("db#2")), meter(busy("db"))))

	var pools []string
	for _, m := range all["limit"].Metric {
		pools = append(pools, pool(m))
	}
	slices.Sort(pools)
	if want := []string{`\xff` + "\"\n\\{}", "db", "db#2", "db#2#2", "db#3"}; !slices.Equal(pools, want) {
		t.Errorf("pools %q, want %q", pools, want)
	}
	got := make(map[string]float64)
	for _, name := range []string{"destroyed_total", "fact_total"} {
		for _, m := range all[name].Metric {
			if strings.HasPrefix(pool(m), `\xff`) {
				got[labels(m)] = value(m)
			}
		}
	}
	want := map[string]float64{`reason=bad \xff\xfe end`: 3, "reason=": 3, "reason=Grüße": 4, `fact=x\x80`: 3}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A pool that has two holders of one quota, or a quota whose name is not UTF-8, does not make
// the scrape fail.
func TestQuotaLabels(t *testing.T) {
	s := busy("db")
	s.Quotas = []resource.SharedQuota{{Name: "a", Holder: "1", Held: 1}, {Name: "a", Holder: "2", Held: 2}, {Name: "\xff", Held: 3}}
	got := make(map[string]float64)
	for _, m := range gather(t, Of(meter(s)))["quota_held"].Metric {
		got[labels(m)] = value(m)
	}
	if want := map[string]float64{"quota=a": 1, "quota=a#2": 2, `quota=\xff`: 3}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Multiplexers of a pool whose names are equal, or not UTF-8, do not make the scrape fail.
func TestMuxLabels(t *testing.T) {
	s := busy("db")
	s.Multiplexers = []resource.Multiplexer{{Name: "a", Held: 1}, {Name: "a", Held: 2}, {Name: "\xff", Held: 3}}
	all := gather(t, Of(meter(s)))
	for name, want := range map[string]map[string]float64{
		"mux_held":         {"mux=a": 1, "mux=a#2": 2, `mux=\xff`: 3},
		"mux_call_seconds": {"mux=a": 0, "mux=a#2": 0, `mux=\xff`: 0},
	} {
		got := make(map[string]float64)
		for _, m := range all[name].Metric {
			got[labels(m)] = value(m)
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestConfig(t *testing.T) {
	labels := prometheus.Labels{"cluster": "west"}
	cfg := Config{
		Meters: []Meter{meter(busy("db"))}, Prefix: "ws_pool", ConstLabels: labels, Buckets: []float64{1, 2},
	}
	c, err := NewCollector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Meters[0], cfg.Buckets[0] = nil, 7 // the collector has its own
	for name, f := range gather(t, c) {
		if !strings.HasPrefix(name, "ws_pool_") {
			t.Errorf("%s has not the prefix", name)
		}
		m := f.Metric[0]
		if !slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName() == "cluster" && l.GetValue() == "west" }) {
			t.Errorf("%s has the labels %v", name, m.Label)
		}
		if m.Histogram != nil && (len(m.Histogram.Bucket) != 2 || m.Histogram.Bucket[0].GetUpperBound() != 1) {
			t.Errorf("%s has the buckets %v", name, m.Histogram.Bucket)
		}
	}
}

// Collectors whose constant labels have different values go into one registry.
func TestTwoCollectors(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	for _, cluster := range []string{"west", "east"} {
		c, err := NewCollector(Config{Meters: []Meter{meter(busy("db"))}, ConstLabels: prometheus.Labels{"cluster": cluster}})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Register(c); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.Gather(); err != nil {
		t.Error(err)
	}
	if err := r.Register(Of(meter(busy("db")))); err == nil {
		t.Error("a third with other labels was taken")
	}
}

func TestBadConfig(t *testing.T) {
	_, err := NewCollector(Config{
		Meters:      []Meter{meter{}, nil, (*metrics.Meter)(nil)},
		Prefix:      "a-b",
		ConstLabels: prometheus.Labels{"pool": "x", "state": "x", "le": "x", "0": "x", "__x": "x", "ok": "\xff"},
		Buckets:     []float64{0, 1, 1, math.NaN(), math.Inf(1)},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"Meters[1]", "Meters[2]", `Prefix "a-b"`, `"pool"`, `"state"`, `"le"`, `"0"`, `"__x"`, `ConstLabels["ok"]`,
		"Buckets[0] is 0", "Buckets[2] is 1", "Buckets[3] is NaN", "Buckets[4] is +Inf",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %s:\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 13 {
		t.Errorf("%d complaints:\n%v", n, err)
	}
	defer func() {
		if recover() == nil {
			t.Error("Of took a nil meter")
		}
	}()
	var none *metrics.Meter
	Of(none)
}

// With none, Of shows all that watch, however none is written.
func TestOf_None(t *testing.T) {
	p, err := resource.New(resource.Config[int]{Make: func(context.Context) (int, error) { return 1, nil }, MaxSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	m, err := metrics.New("of none", metrics.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Watch(p); err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, c := range []*Collector{Of(), Of([]Meter{}...)} {
		if f := gather(t, c)["limit"]; f == nil || pool(f.Metric[0]) != "of none" {
			t.Errorf("it shows %v", f)
		}
	}
}

// slow is a Meter in whose Snapshot all of a number of scrapes meet.
type slow struct{ together *sync.WaitGroup }

func (m slow) Snapshot(limit int) metrics.Snapshot {
	m.together.Done()
	m.together.Wait()
	s := busy("db")
	if limit != 0 {
		s.Name = "asked for resources, which it does not show"
	}
	return s
}

func TestScrapesAtOnce(t *testing.T) {
	const n = 8
	var together, done sync.WaitGroup
	together.Add(n)
	r := prometheus.NewRegistry()
	r.MustRegister(Of(slow{&together}))
	for range n {
		done.Go(func() {
			fs, err := r.Gather()
			if err != nil || len(fs) != len(families)+len(histograms) || pool(fs[0].Metric[0]) != "db" {
				t.Errorf("gathered %d of %v: %v", len(fs), fs[:min(1, len(fs))], err)
			}
		})
	}
	done.Wait()
}

// No error's text, which can hold what a server said, is shown.
func TestNoSecret(t *testing.T) {
	for name, f := range gather(t, Of(meter(busy("db")))) {
		if strings.Contains(f.String(), "secret") {
			t.Errorf("%s: %v", name, f)
		}
	}
}

// BenchmarkScrape is a scrape of one pool of 10,000 resources, all of them
// leased, with the text that goes over the wire.
func BenchmarkScrape(b *testing.B) {
	const n = 10_000
	m, err := metrics.New("big", metrics.Config{Overdue: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	p, err := resource.New(resource.Config[int]{
		MaxSize: n, Trace: m.Trace(nil),
		Make: func(context.Context) (int, error) { return 1, nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := m.Watch(p); err != nil {
		b.Fatal(err)
	}
	leases := make([]resource.Lease[int], n)
	for i := range leases {
		if leases[i], err = p.Acquire(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	r := prometheus.NewRegistry()
	r.MustRegister(Of(m))
	page := promhttp.HandlerFor(r, promhttp.HandlerOpts{})
	ask := httptest.NewRequest("GET", "/metrics", nil)
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		page.ServeHTTP(w, ask)
		if w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
	b.StopTimer()
	for _, l := range leases {
		l.Release()
	}
	if err := p.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}
