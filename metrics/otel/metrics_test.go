package otel

import (
	"context"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

func TestEveryFigure(t *testing.T) {
	got := make(map[string]float64)
	for name, m := range collect(t, Config{Meters: []Meter{meter(busy("db"))}}) {
		for attrs, v := range points(t, m) {
			name, _ := strings.CutPrefix(name, "resource.pool.")
			first, rest, _ := strings.Cut(attrs, " ") // by key
			if first != "resource.pool.name=db" {
				rest, first = first, rest
			}
			if first != "resource.pool.name=db" {
				t.Errorf("%s has the attributes %s", name, attrs)
			}
			got[strings.TrimSpace(name+" "+strings.TrimPrefix(rest, "resource.pool."))] = v
		}
	}
	want := map[string]float64{
		"count state=idle": 3, "count state=used": 5, "count state=making": 2, "count state=destroying": 1,
		"max": 12, "idle.min": 2, "pending_requests": 4, "oldest_wait": 1.5, "timeouts": 21, "acquires": 1005, "waits": 70,
		"rejections policy=Rate": 30, "rejections policy=Queue": 24, "creates": 100, "create_failures": 31,
		"destroyed reason=too old": 80, "destroyed reason=other": 1, "outage": 1, "outages": 3,
		"acquire_failures reason=canceled": 21, "acquire_failures reason=outage": 438, "acquire_failures reason=max_wait": 0, "acquire_failures reason=admission": 0,
		"acquire_failures reason=queue": 0, "acquire_failures reason=make_gate": 0, "acquire_failures reason=quota": 0,
		"acquire_failures reason=make_failed": 0, "acquire_failures reason=none_idle": 0, "acquire_failures reason=near_end": 0,
		"acquire_failures reason=closed": 0,
		"leases_overdue":                 2, "panics": 44, "fact.level fact=open": 52, "fact.total fact=tainted": 51,
		"quota.granted quota=account": 61, "quota.held quota=account": 62, "quota.wanted quota=account": 63, "quota.target quota=account": 64,
		"quota.limit quota=account": 65, "quota.highest_limit quota=account": 66, "quota.fleet_granted quota=account": 67, "quota.holders quota=account": 68,
		"quota.pending_requests quota=account": 69, "quota.learning quota=account": 1, "quota.engine_lost quota=account": 2.5, "quota.over quota=account": 71,
		"quota.exceeded quota=account": 72, "quota.closed quota=account": 73, "quota.operations quota=account": 74, "quota.operation_failures quota=account": 75,
		"mux.held mux=jsonrpc":               201,
		"mux.draining mux=jsonrpc":           202,
		"mux.in_flight mux=jsonrpc":          204,
		"mux.in_flight.busiest mux=jsonrpc":  205,
		"mux.in_flight.limit mux=jsonrpc":    203,
		"mux.pending_requests mux=jsonrpc":   206,
		"mux.oldest_wait mux=jsonrpc":        2.5,
		"mux.orphans mux=jsonrpc":            208,
		"mux.orphans.limit mux=jsonrpc":      209,
		"mux.streams mux=jsonrpc":            210,
		"mux.queued mux=jsonrpc":             211,
		"mux.acquires mux=jsonrpc":           212,
		"mux.calls mux=jsonrpc":              213,
		"mux.calls_not_sent mux=jsonrpc":     214,
		"mux.calls_may_have_run mux=jsonrpc": 215,
		"mux.writes mux=jsonrpc":             216,
		"mux.messages mux=jsonrpc":           217,
		"mux.retries mux=jsonrpc":            218,
		"mux.replays mux=jsonrpc":            219,
		"mux.orphaned mux=jsonrpc":           220,
		"mux.late mux=jsonrpc":               221,
		"mux.unknown mux=jsonrpc":            222,
		"mux.bad mux=jsonrpc":                223,
		"mux.unwanted mux=jsonrpc":           224,
		"mux.events_dropped mux=jsonrpc":     225,
		"mux.stream_dropped mux=jsonrpc":     226,
		"mux.resumes mux=jsonrpc":            227,
		"mux.gaps mux=jsonrpc":               228,
		"mux.panics mux=jsonrpc":             229,
		"endpoint.share endpoint=a:1":        0.25,
		"endpoint.share endpoint=b:1":        0,
		"endpoint.share endpoint=c:1":        0,
		"endpoint.share endpoint=d:1":        0,
		"endpoint.load endpoint=a:1":         411,
		"endpoint.load endpoint=b:1":         0,
		"endpoint.load endpoint=c:1":         0,
		"endpoint.load endpoint=d:1":         0,
		"endpoint.latency endpoint=a:1":      2.5,
		"endpoint.latency endpoint=b:1":      0,
		"endpoint.latency endpoint=c:1":      0,
		"endpoint.latency endpoint=d:1":      0,
		"endpoint.count endpoint=a:1":        827,
		"endpoint.count endpoint=b:1":        0,
		"endpoint.count endpoint=c:1":        0,
		"endpoint.count endpoint=d:1":        0,
		"endpoint.used endpoint=a:1":         414,
		"endpoint.used endpoint=b:1":         0,
		"endpoint.used endpoint=c:1":         0,
		"endpoint.used endpoint=d:1":         0,
		"endpoint.shared endpoint=a:1":       415,
		"endpoint.shared endpoint=b:1":       0,
		"endpoint.shared endpoint=c:1":       0,
		"endpoint.shared endpoint=d:1":       0,
		"endpoint.making endpoint=a:1":       416,
		"endpoint.making endpoint=b:1":       0,
		"endpoint.making endpoint=c:1":       0,
		"endpoint.making endpoint=d:1":       0,
		"endpoint.ranked endpoint=a:1":       1,
		"endpoint.ranked endpoint=b:1":       0,
		"endpoint.ranked endpoint=c:1":       0,
		"endpoint.ranked endpoint=d:1":       0,
		"endpoint.ejected endpoint=a:1":      0,
		"endpoint.ejected endpoint=b:1":      1,
		"endpoint.ejected endpoint=c:1":      0,
		"endpoint.ejected endpoint=d:1":      0,
		"endpoint.failing endpoint=a:1":      0,
		"endpoint.failing endpoint=b:1":      1,
		"endpoint.failing endpoint=c:1":      0,
		"endpoint.failing endpoint=d:1":      0,
		"endpoint.draining endpoint=a:1":     0,
		"endpoint.draining endpoint=b:1":     0,
		"endpoint.draining endpoint=c:1":     1,
		"endpoint.draining endpoint=d:1":     0,
		"endpoint.standby endpoint=a:1":      0,
		"endpoint.standby endpoint=b:1":      0,
		"endpoint.standby endpoint=c:1":      0,
		"endpoint.standby endpoint=d:1":      1,
		"endpoint.slow_start endpoint=a:1":   1,
		"endpoint.slow_start endpoint=b:1":   0,
		"endpoint.slow_start endpoint=c:1":   0,
		"endpoint.slow_start endpoint=d:1":   0,
		"endpoint.moved endpoint=a:1":        -423,
		"endpoint.moved endpoint=b:1":        0,
		"endpoint.moved endpoint=c:1":        0,
		"endpoint.moved endpoint=d:1":        0,
		"endpoint.uses endpoint=a:1":         417,
		"endpoint.uses endpoint=b:1":         0,
		"endpoint.uses endpoint=c:1":         0,
		"endpoint.uses endpoint=d:1":         0,
		"endpoint.good endpoint=a:1":         418,
		"endpoint.good endpoint=b:1":         0,
		"endpoint.good endpoint=c:1":         0,
		"endpoint.good endpoint=d:1":         0,
		"endpoint.bad endpoint=a:1":          419,
		"endpoint.bad endpoint=b:1":          0,
		"endpoint.bad endpoint=c:1":          0,
		"endpoint.bad endpoint=d:1":          0,
		"endpoint.refused endpoint=a:1":      420,
		"endpoint.refused endpoint=b:1":      0,
		"endpoint.refused endpoint=c:1":      0,
		"endpoint.refused endpoint=d:1":      0,
		"endpoint.ejections endpoint=a:1":    421,
		"endpoint.ejections endpoint=b:1":    0,
		"endpoint.ejections endpoint=c:1":    0,
		"endpoint.ejections endpoint=d:1":    0,
		"endpoint.probes endpoint=a:1":       422,
		"endpoint.probes endpoint=b:1":       0,
		"endpoint.probes endpoint=c:1":       0,
		"endpoint.probes endpoint=d:1":       0,
		"endpoints":                          4,
		"endpoints.panic":                    1,
		"endpoints.priority":                 401,
		"endpoints.resolver_failing":         1,
		"endpoints.failovers":                402,
		"endpoints.failbacks":                403,
		"endpoints.updates":                  404,
		"endpoints.updates_failed":           405,
		"endpoints.moved":                    406,
		"endpoints.moves_failed":             407,
		"mux.call_time mux=jsonrpc":          40, "wait_time": 1000, "use_time": 10, "create_time": 100, "check_time": 2, "destroy_time": 1,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
}

// With their prefix, these are the metrics of the conventions, as
// docs/db/database-metrics.md has them.
func TestConventions(t *testing.T) {
	all := collect(t, Config{Meters: []Meter{meter(busy("main"))}, Prefix: "db.client.connection"})
	for name, want := range map[string]string{
		"count": "{connection} updown", "max": "{connection} updown", "idle.min": "{connection} updown", "pending_requests": "{request} updown",
		"timeouts": "{timeout} counter", "create_time": "s histogram", "wait_time": "s histogram", "use_time": "s histogram",
	} {
		m := all["db.client.connection."+name]
		if got := shape(m); got != want {
			t.Errorf("%s is %s, not %s", name, got, want)
			continue
		}
		attrs := "db.client.connection.pool.name=main"
		if name == "count" {
			attrs += " db.client.connection.state=idle"
		}
		if got := points(t, m); len(got) == 0 || !slices.Contains(slices.Collect(maps.Keys(got)), attrs) {
			t.Errorf("%s: %v, none of %s", name, got, attrs)
		}
	}
	for name := range all {
		if !strings.HasPrefix(name, "db.client.connection.") {
			t.Errorf("%s has not the prefix", name)
		}
	}
}

// The doc of the package lists the names, and no others.
func TestDoc(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "//\tresource.pool."); ok {
			listed[strings.Fields(name)[0]] = true
		}
	}
	for _, f := range figures {
		if !listed[f.name] {
			t.Errorf("%s is not listed", f.name)
		}
		delete(listed, f.name)
	}
	for _, h := range histograms {
		if !strings.Contains(string(text), h.name) {
			t.Errorf("%s is not listed", h.name)
		}
	}
	delete(listed, "oldest_wait")
	if delete(listed, "endpoint.share"); len(listed) > 0 {
		t.Errorf("listed, but not there: %v", listed)
	}
}

func TestAttributes(t *testing.T) {
	evil := busy("db\xff")
	evil.Destroyed = map[string]int64{"\xff": 1, `\xff`: 2}
	all := collect(t, Config{
		Meters:     []Meter{meter(evil), meter(busy("a")), meter(busy("a"))},
		Attributes: []attribute.KeyValue{attribute.String("zone", "west")},
	})
	want := map[string]float64{
		`resource.pool.name=db\xff zone=west`: 12, "resource.pool.name=a zone=west": 12, "resource.pool.name=a#2 zone=west": 12,
	}
	if got := points(t, all["resource.pool.max"]); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := points(t, all["resource.pool.destroyed"]); got[`resource.pool.name=db\xff resource.pool.reason=\xff zone=west`] != 3 {
		t.Errorf("got %v", got)
	}
	if got := points(t, all["resource.pool.wait_time"]); len(got) != 3 {
		t.Errorf("got %v", got)
	}
}

// A pool that has two holders of one quota does not make the export fail.
func TestQuotaAttributes(t *testing.T) {
	s := busy("db")
	s.Quotas = []resource.SharedQuota{{Name: "a", Holder: "1", Held: 1}, {Name: "a", Holder: "2", Held: 2}, {Name: "\xff", Held: 3}}
	got := points(t, collect(t, Config{Meters: []Meter{meter(s)}})["resource.pool.quota.held"])
	const pool = "resource.pool.name=db resource.pool.quota="
	if want := map[string]float64{pool + "a": 1, pool + "a#2": 2, pool + `\xff`: 3}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestBadConfig(t *testing.T) {
	for _, prefix := range []string{"1x", "a b", "pool.", ".", strings.Repeat("a", 200)} {
		cfg := Config{Meters: []Meter{nil, (*metrics.Meter)(nil)}, Prefix: prefix, Attributes: []attribute.KeyValue{
			{}, attribute.String("a", "\xff"), attribute.String("\xff", "a"), attribute.StringSlice("a", []string{"é", "\xff"}),
			attribute.String("é", "é"), attribute.StringSlice("a", []string{"é"}), attribute.Int("a", 1),
		}}
		_, err := NewProducer(cfg)
		_, err2 := Register(nil, cfg)
		if err == nil || err2 == nil || err.Error() != err2.Error() {
			t.Fatalf("%v, %v", err, err2)
		}
		if n := strings.Count(err.Error(), "\n") + 1; n != 7 {
			t.Errorf("%d complaints:\n%v", n, err)
		}
		for _, want := range []string{
			"Meters[0]", "Meters[1]", "Attributes[0] has", "Attributes[1] is", "Attributes[2] is", "Attributes[3] is", "Prefix \"",
		} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %s", err, want)
			}
		}
	}
}

// The index of a bucket is the one that the SDK itself would give. Buckets that
// begin where those of a metrics.Histogram do, in nanoseconds, lie across two.
func TestIndex(t *testing.T) {
	for d := time.Microsecond; d < 24*time.Hour; d += d / 3 {
		reader := sdkmetric.NewManualReader()
		provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithView(sdkmetric.NewView(
			sdkmetric.Instrument{Name: "h"},
			sdkmetric.Stream{Aggregation: sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: scale}},
		)))
		theirs, err := provider.Meter(Scope).Float64Histogram("h")
		if err != nil {
			t.Fatal(err)
		}
		theirs.Record(context.Background(), d.Seconds())
		h := read(t, reader)["h"].Data.(metricdata.ExponentialHistogram[float64]).DataPoints[0]
		if h.Scale != scale || len(h.PositiveBucket.Counts) != 1 {
			t.Fatalf("%v: got %+v", d, h)
		}
		home := int(h.PositiveBucket.Offset)

		const n = 1000
		of := int(math.Ceil(4*math.Log2(float64(d)))) - 1
		p := point(metrics.Histogram{Count: n, Sum: n * d, First: of, Buckets: []int64{n}}, time.Now(), attribute.Set{})
		var sum, near uint64
		for i, k := range p.PositiveBucket.Counts {
			if sum += k; k > 0 && i+int(p.PositiveBucket.Offset) == home {
				near = k
			}
		}
		if sum != n || near == 0 || len(p.PositiveBucket.Counts) > 2 {
			t.Errorf("%v: %d values, %d of them in bucket %d: %+v", d, sum, near, home, p.PositiveBucket)
		}
		if err := provider.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

func TestPoint(t *testing.T) {
	s := busy("db")
	s.Wait.Count++ // as a snapshot that is not one instant can have it
	h := collect(t, Config{Meters: []Meter{meter(s)}})["resource.pool.wait_time"].Data.(metricdata.ExponentialHistogram[float64])
	p := h.DataPoints[0]
	if h.Temporality != metricdata.CumulativeTemporality || !p.StartTime.Before(p.Time) || !p.Time.Equal(s.Time) {
		t.Errorf("temporality %v from %v to %v", h.Temporality, p.StartTime, p.Time)
	}
	sum := p.ZeroCount
	for _, n := range p.PositiveBucket.Counts {
		sum += n
	}
	if p.Scale != 2 || p.ZeroCount != 900 || p.ZeroThreshold != 1e-6 || p.Sum != 0.15 || p.Count != 1000 || sum != 1000 {
		t.Errorf("got %+v", p)
	}
}

// Of nothing there is nothing, and after its end a context is obeyed.
func TestProduceNothing(t *testing.T) {
	p, err := NewProducer(Config{Meters: []Meter{}})
	if err != nil {
		t.Fatal(err)
	}
	if all, err := p.Produce(context.Background()); len(all) != 0 || err != nil {
		t.Errorf("got %v, %v", all, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := p.Produce(ctx); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

func TestUnregister(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	defer provider.Shutdown(context.Background())
	reg, err := Register(provider, Config{Meters: []Meter{meter(busy("db"))}})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(read(t, reader)); n != len(figures)+2 {
		t.Errorf("%d instruments of %d", n, len(figures)+2)
	}
	if err := reg.Unregister(); err != nil {
		t.Fatal(err)
	}
	if all := read(t, reader); len(all) != 0 {
		t.Errorf("there are still %v", all)
	}
}

// A pool that is watched is shown without being named, until it is not.
func TestWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := metrics.New("real", metrics.Config{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := resource.New(resource.Config[int]{
			MaxSize: 2, Trace: m.Trace(nil),
			Make: func(context.Context) (int, error) { time.Sleep(time.Second); return 1, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(context.Background())
		if err := m.Watch(p); err != nil {
			t.Fatal(err)
		}
		l, err := p.Acquire(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		all := collect(t, Config{})
		if got := points(t, all["resource.pool.count"])["resource.pool.name=real resource.pool.state=used"]; got != 1 {
			t.Errorf("%v used: %v", got, all["resource.pool.count"])
		}
		made := all["resource.pool.create_time"].Data.(metricdata.ExponentialHistogram[float64]).DataPoints[0]
		if made.Count != 1 || made.Sum != 1 {
			t.Errorf("makes: %+v", made)
		}
		l.Release()
		m.Close()
		if all := collect(t, Config{}); len(all) != 0 {
			t.Errorf("after its end: %v", all)
		}
	})
}
