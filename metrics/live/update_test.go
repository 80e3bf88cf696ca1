package live

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/metrics"
)

// pool is the JSON of pool.json, or fails.
func pool(t testing.TB, p *Page, query string) map[string]any {
	t.Helper()
	return decoded(t, p, "/p/pool.json?"+query)["pool"].(map[string]any)
}

// seen is the events of an update as a browser reads them.
func seen(t testing.TB, u *update, v view) (pools, pool map[string]any) {
	t.Helper()
	for i, part := range strings.Split(strings.TrimSuffix(string(u.frame(v)), "\n\n"), "\n\n") {
		name, data, ok := strings.Cut(part, "\ndata: ")
		into := []*map[string]any{&pools, &pool}[i]
		if err := json.Unmarshal([]byte(data), into); err != nil || !ok || name != []string{"event: pools", "event: pool"}[i] {
			t.Fatalf("%v in %q", err, part)
		}
	}
	return pools, pool
}

// The JSON is the snapshot's, with the lists that were asked for.
func TestPlain(t *testing.T) {
	f := sample()
	p := pageOf(t, f)
	want := generic(t, f.Snapshot(100)).(map[string]any)
	got := decoded(t, p, "/p/pool.json?pool=speech&sort=age&state=leased")
	all := want["resources"].([]any)
	want["resources"] = []any{all[0], all[3]} // 3 is older than 4
	if !reflect.DeepEqual(got["pool"], any(want)) {
		t.Errorf("the pool is\n%v, want\n%v", got["pool"], want)
	}
	if m := generic(t, matched{Resources: 2, Waiting: 2, Held: 3, Events: 1}); !reflect.DeepEqual(got["matched"], m) {
		t.Errorf("matched: %v, want %v", got["matched"], m)
	}
	s := f.Snapshot(0)
	s.Events = nil
	got = decoded(t, p, "/p/pools.json")
	if pools := generic(t, []any{s}); !reflect.DeepEqual(got["pools"], pools) || got["more"] != 0.0 || got["time"] == nil {
		t.Errorf("in the overview\n%v, want\n%v", got, pools)
	}
	if pools := decoded(t, p, "/p/pools.json?find=none")["pools"].([]any); len(pools) != 0 {
		t.Errorf("of no such name there is %v", pools)
	}
	p.cfg.Limit = 1
	cut := pool(t, p, "pool=speech")
	for _, list := range []string{"resources", "waiting", "held", "events"} {
		if n := len(cut[list].([]any)); n != 1 {
			t.Errorf("with a limit of 1 there are %d %s", n, list)
		}
	}
	if n := len(cut["multiplexers"].([]any)[0].(map[string]any)["resources"].([]any)); n != 1 {
		t.Errorf("with a limit of 1 a multiplexer has %d resources", n)
	}
	if n := len(cut["endpoints"].(map[string]any)["all"].([]any)); n != 1 {
		t.Errorf("with a limit of 1 there are %d endpoints", n)
	}
}

// The page gets every figure of the snapshot, under its name.
func TestEvents(t *testing.T) {
	f := sample()
	p := pageOf(t, f)
	all, d := seen(t, p.update(), view{pool: "speech", sort: "id"})
	s := f.s
	want := map[string]any{
		"name": "speech", "max": 8, "idle": 2, "leased": 3, "making": 1, "destroying": 1, "abandoned": 4,
		"waiting": 2, "wanting": 5, "oldest_wait_seconds": 0.25, "overdue": 1, "last_make_error": "connection refused", "outages": 2,
		"destroyed_by_cause": s.Destroyed, "refused_by_policy": s.Refused,
		"counts": map[string]any{
			"acquired": 103, "released": 100, "waited": 17, "wait_seconds": 1.5, "canceled": 6, "rejected": 7, "unserved": 451, "made": 20,
			"make_seconds": 3, "failed": 8, "refused": 9, "destroyed": 13, "hijacked": 1, "evicted": 10, "unhealthy": 11,
			"invalidated": 12, "panics": 14,
		},
		"resources": map[string]any{"seen": 4, "matched": 4, "rows": []any{
			map[string]any{"id": 1, "state": "idle", "age_seconds": 9, "idle_seconds": 1, "leases": 10, "detail": "rtt 1.2 ms"},
			map[string]any{"id": 2, "state": "checking", "age_seconds": 6, "idle_seconds": 2, "leases": 20},
			map[string]any{"id": 3, "state": "leased", "lease": 32, "age_seconds": 3, "held_seconds": 0.04, "leases": 30, "invalidated": "going away"},
			map[string]any{"id": 4, "state": "leased", "lease": 41, "age_seconds": 1, "held_seconds": 60, "leases": 40, "shared": true},
		}},
		"held": map[string]any{
			"matched": 3,
			"rows": []any{
				map[string]any{"id": 4, "lease": 40, "for_seconds": 60, "class": "batch", "overdue": true, "shared": true, "stack": 0},
				map[string]any{"id": 3, "lease": 30, "for_seconds": 0.04, "stack": 0},
				map[string]any{"id": 9, "lease": 1, "for_seconds": 0.001, "stack": -1},
			},
			"stacks": []any{[]any{
				map[string]any{"func": "example.com/shop.charge", "file": "/src/shop/charge.go", "line": 88},
				map[string]any{"func": "example.com/shop.serve", "file": "/src/shop/serve.go", "line": 41},
			}},
		},
		"waiters": map[string]any{"matched": 2, "rows": []any{
			map[string]any{"waited_seconds": 0.25, "class": "batch", "priority": 2, "cost": 3},
			map[string]any{"waited_seconds": 0.01, "cost": 1},
		}},
		"policies": []any{map[string]any{"moment": "Admission", "type": "*policy.Share", "state": "3 of 4"}},
		"quotas": []any{
			map[string]any{
				"name": "account", "holder": "h1", "mode": "fail closed", "granted": 61, "held": 62, "want": 63, "target": 64, "limit": 65,
				"highest": 66, "total": 67, "holders": 68, "waiting": 69, "learning": true, "lost_seconds": 2.5, "lost_cause": "connection refused",
				"over": 71, "over_total": 72, "closed": 73, "operations": 74, "operations_failed": 75,
			},
			map[string]any{
				"name": "model", "holder": "h2", "granted": 0, "held": 0, "want": 0, "target": 0, "limit": 8, "highest": 0, "total": 0, "holders": 0,
				"waiting": 0, "over": 0, "over_total": 0, "closed": 0, "operations": 0, "operations_failed": 0,
			},
		},
		"endpoints": map[string]any{
			"matched": 2, "ejected": 1, "priority": 401, "panic": true, "failovers": 402, "failbacks": 403, "updates": 404, "updates_failed": 405,
			"resolver_error": "lookup failed; token=…", "moved": 406, "moves_failed": 407,
			"rows": []any{
				map[string]any{
					"addr": "wss://…@a/", "zone": "z", "priority": 401, "status": "ejected", "cause": "refused; token=…", "for_seconds": 60, "ranked": true,
					"failing": true, "ejected": true, "share": 0.25, "load": 411, "latency_seconds": 2.5, "idle": 413, "leased": 414, "shared": 415,
					"making": 416, "begun": 417, "good": 418, "bad": 419, "refused": 420, "ejections": 421, "probes": 422, "moved": -423,
				},
				map[string]any{
					"addr": "b:1", "priority": 0, "status": "healthy", "for_seconds": 0, "share": 0, "load": 0, "latency_seconds": 0, "idle": 0, "leased": 0,
					"shared": 0, "making": 0, "begun": 0, "good": 0, "bad": 0, "refused": 0, "ejections": 0, "probes": 0, "moved": 0,
				},
			},
		},
		"multiplexers": []any{map[string]any{
			"name": "jsonrpc", "held": 301, "draining": 302, "limit": 303, "in_flight": 304, "busiest": 305, "waiting": 306, "oldest_wait_seconds": 2.5,
			"orphans": 308, "max_orphans": 309, "streams": 310, "queued_bytes": 311, "acquired": 312, "calls": 313, "not_sent": 314,
			"may_have_run": 315, "writes": 316, "messages": 317, "retried": 318, "replayed": 319, "orphaned": 320, "late": 321, "unknown": 322,
			"bad": 323, "unwanted": 324, "events_dropped": 325, "stream_dropped": 326, "resumes": 327, "gaps": 328, "panics": 329,
			"took": toHistogram(metrics.HistogramOf(s.Multiplexers[0].Took)),
			"conns": []any{
				map[string]any{
					"id": 3, "in_flight": 331, "orphans": 332, "streams": 333, "queued_bytes": 334, "draining": true, "cause": "going away; token=…",
					"dedicated": true, "calls": 335, "writes": 336, "messages": 337, "late": 338, "unknown": 339, "bad": 340,
				},
				map[string]any{
					"id": 4, "in_flight": 0, "orphans": 0, "streams": 0, "queued_bytes": 0, "calls": 0, "writes": 0, "messages": 0,
					"late": 0, "unknown": 0, "bad": 0,
				},
			},
		}},
		"facts":  []any{map[string]any{"name": "tainted", "value": 5}},
		"events": []any{map[string]any{"time": s.Events[0].Time.Format(time.RFC3339Nano), "kind": "made", "text": "4 in 50 ms"}},
	}
	for name, w := range want {
		if !reflect.DeepEqual(d[name], generic(t, w)) {
			t.Errorf("%s is\n%v, want\n%v", name, d[name], generic(t, w))
		}
	}
	if out := d["outage_seconds"].(float64); out < 60 || out > 60+patience.Seconds() {
		t.Errorf("an outage since a minute lasts %v s", out)
	}
	sameHistogram(t, d["wait"], s.Wait)
	sameHistogram(t, d["hold"], s.Hold)
	sameHistogram(t, d["make"], s.Make)

	// At a overview are the same figures, without the lists.
	g := all["pools"].([]any)[0].(map[string]any)
	delete(d["multiplexers"].([]any)[0].(map[string]any), "took")
	delete(d["multiplexers"].([]any)[0].(map[string]any), "conns")
	delete(d["endpoints"].(map[string]any), "rows")
	for name := range maps.Keys(g) {
		if name != "outage_seconds" && !reflect.DeepEqual(g[name], d[name]) {
			t.Errorf("in the overview %s is %v, not %v", name, g[name], d[name])
		}
	}
	if len(all["pools"].([]any)) != 1 || g["resources"] != nil || g["counts"] == nil {
		t.Errorf("in the overview: %v", all)
	}
}

// generic is v as decoded returns it.
func generic(t testing.TB, v any) (out any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sameHistogram(t testing.TB, got any, h metrics.Histogram) {
	t.Helper()
	m := got.(map[string]any)
	buckets, _ := m["buckets"].([]any)
	if m["count"] != float64(h.Count) || m["zero"] != float64(h.Zero) || m["first"] != float64(h.First) ||
		m["sum_seconds"] != h.Sum.Seconds() || len(buckets) != len(h.Buckets) {
		t.Errorf("a histogram is %v, not %+v", m, h)
	}
	for i, n := range h.Buckets {
		if buckets[i] != float64(n) {
			t.Errorf("bucket %d is %v, not %d", i, buckets[i], n)
		}
	}
	for name, q := range map[string]float64{"p50_seconds": 0.5, "p90_seconds": 0.9, "p99_seconds": 0.99} {
		if want := h.Quantile(q).Seconds(); math.Abs(m[name].(float64)-want) > 1e-6 {
			t.Errorf("%s is %v, not %v", name, m[name], want)
		}
	}
}

// What others named cannot leave its place in the JSON, nor in an event.
func TestHostile(t *testing.T) {
	for _, name := range []string{
		`<img src=x onerror=alert(1)>`, `</script><script>alert(1)</script>`, "a\nevent: pool\ndata: {}\n\n", "a\r\rb",
		`"};alert(1);//`, "\u2028\u2029", "\x00\x1b[31m", "", " ", "../../etc", "?pool=other&x=#y", strings.Repeat("long ", 200),
		"not\xffUTF-8", "\u202eevil", "%3Cb%3E",
	} {
		f := sample()
		f.s.Name = name
		f.s.Inspection.Waiting[0].Request.Class = name
		f.s.Resources[1].Detail = name
		f.s.LastMake = fmt.Errorf("%s", name)
		f.s.Events[0].Text = name
		f.s.Held[0].Class = name
		f.s.Multiplexers[0].Name = name
		f.s.Multiplexers[0].Resources[0].Cause = errors.New(name)
		f.s.Endpoints.All[0].Addr, f.s.Endpoints.All[0].Cause = name, errors.New(name)
		f.s.Endpoints.ResolverErr = errors.New(name)
		f.s.Destroyed = map[string]int64{name: 1}
		p := pageOf(t, f)
		u := p.update()
		clean := cut(cmp.Or(strings.ToValidUTF8(name, "\uFFFD"), "unnamed"))
		b := string(u.frame(view{pool: clean, sort: "id"}))
		if n := strings.Count(b, "\n"); n != 6 || strings.ContainsAny(b, "\r\x00\x1b<>\u2028\u2029") {
			t.Errorf("%q: %d lines: %q", name, n, b)
		}
		if strings.Contains(b, `"gone"`) {
			t.Errorf("%q cannot be asked for by its own name", name)
		}
		at := decoded(t, p, "/p/pools.json")["pools"].([]any)[0].(map[string]any)["name"]
		if at != clean {
			t.Errorf("%q is shown as %q", name, at)
		}
	}
}

// Pools of one name are distinguished, and each can be looked at.
func TestSameName(t *testing.T) {
	var all []Meter
	for i := range 4 {
		f := named("twin")
		f.s.Max = i
		if i == 2 {
			f.s.Name = "twin (2)"
		}
		all = append(all, f)
	}
	p := pageOf(t, all...)
	for name, want := range map[string]float64{"twin": 0, "twin (2)": 1, "twin (2) (2)": 2, "twin (3)": 3} {
		if got := pool(t, p, "pool="+strings.ReplaceAll(name, " ", "+"))["load"].(map[string]any)["max"]; got != want {
			t.Errorf("%s has a maximum of %v, want %v", name, got, want)
		}
	}
}

// Of however many with one name each is found a name without a search.
func TestManySameName(t *testing.T) {
	var all []Meter
	for range 20_000 {
		all = append(all, metersOnly{})
	}
	p := pageOf(t, all...)
	begun := time.Now()
	u := p.update()
	if d := time.Since(begun); d > patience || u.find("nothing (20000)") == nil {
		t.Errorf("20,000 names took %v", d)
	}
}

// A panic in one meter is reported, and the others are shown.
func TestPanic(t *testing.T) {
	bad := named("")
	bad.panics = true
	p := pageOf(t, named("a"), bad, named("b"))
	pools := decoded(t, p, "/p/pools.json")["pools"].([]any)
	if len(pools) != 3 {
		t.Fatalf("%d pools", len(pools))
	}
	for i, want := range []string{"", "its snapshot panicked: no snapshot today", ""} {
		if got, _ := pools[i].(map[string]any)["problem"].(string); got != want {
			t.Errorf("pool %d has the problem %q, want %q", i, got, want)
		}
	}
	if got := pool(t, p, "pool=unnamed")["problem"]; got != "its snapshot panicked: no snapshot today" {
		t.Errorf("alone it has the problem %q", got)
	}
}

// However much there is, little is sent, and long texts are cut.
func TestBounds(t *testing.T) {
	f := many(20_000)
	f.s.Events[0].Text = strings.Repeat("é", 100_000)
	f.s.Resources[0].Detail = strings.Repeat("x", 1_000_000)
	f.s.Held[0].Class = strings.Repeat("x", 1_000_000)
	f.s.Inspection.Waiting[0].Request.Class = strings.Repeat("x", 1_000_000)
	p := pageOf(t, f)
	u := p.update()
	b := u.frame(view{pool: "many", sort: "id"})
	t.Logf("a frame of 20,000 resources, leases and waiters: %d bytes", len(b))
	if len(b) > 64<<10 {
		t.Errorf("a frame has %d bytes", len(b))
	}
	d, _ := u.detail(view{pool: "many", sort: "id"}, u.lists("many").full)
	if len(d.Resources.Rows) != defaultLimit || d.Resources.Matched != scanned || len(d.Held.Rows) != defaultLimit ||
		len(d.Waiters.Rows) != defaultLimit || len(d.Events) != defaultLimit {
		t.Errorf("%d of %d resources, %d leases, %d waiters, %d events", len(d.Resources.Rows), d.Resources.Matched,
			len(d.Held.Rows), len(d.Waiters.Rows), len(d.Events))
	}
	if text := d.Events[0].Text; !strings.HasPrefix(f.s.Events[0].Text, strings.TrimSuffix(text, "…")) || len(text) > maxText+3 {
		t.Errorf("a text was cut to %q", text)
	}

	var pools []Meter
	for i := range maxPools + 50 {
		pools = append(pools, named(fmt.Sprintf("pool %d", i)))
	}
	g := pageOf(t, pools...).update()
	if all := g.pools(""); len(all.Pools) != maxPools || all.More != 50 {
		t.Errorf("%d pools and %d more", len(all.Pools), all.More)
	}
	if some := g.pools("POOL 24"); len(some.Pools) != 11 || some.More != 0 { // 24, 240 to 249
		t.Errorf("%d pools of a name, and %d more", len(some.Pools), some.More)
	}
}

// What pools and other people's meters are made of may panic when it is read, or
// be no JSON. It is said where the pool would be, and nothing ends: not the
// collector, in which a panic would end the process.
func TestTrapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var none *nilError
		failed, invalidated, odd, late := sample(), sample(), sample(), sample()
		failed.s.Name, failed.s.LastMake = "failed", none
		invalidated.s.Name, invalidated.s.Resources[0].Invalidated = "invalidated", none
		odd.s.Name, odd.s.Resources[0].State = "odd", 77
		late.s.Name, late.s.Events[0].Time = "late", time.Date(20_000, 1, 1, 0, 0, 0, 0, time.UTC)
		s := serve(t, failed, invalidated, odd, late, nil)
		for name, want := range map[string][3]string{ // the problem, the last make, what is in the list of resources
			"failed":      {"", "an error whose text panics", ""},
			"invalidated": {"", "connection refused", "an error whose text panics"},
			"odd":         {"a look at its snapshot panicked: ", "", ""},
			"late":        {"its snapshot cannot be shown: ", "", ""},
			// There is no meter at all.
			"unnamed": {"its snapshot panicked: ", "", ""},
		} {
			w := s.watch("find=an+error&pool="+name, 1<<20)
			for range 2 {
				if _, g := w.next(); len(g["pools"].([]any)) != 5 {
					t.Errorf("%s: in the overview are %v", name, g)
				}
				_, d := w.next()
				problem, _ := d["problem"].(string)
				cause, _ := d["last_make_error"].(string)
				if !strings.HasPrefix(problem, want[0]) || (problem == "") != (want[0] == "") || cause != want[1] || d["name"] != name ||
					!strings.Contains(fmt.Sprint(d["resources"]), want[2]) {
					t.Errorf("%s is shown as %v", name, d)
				}
			}
			w.conn.Close()
		}
		for name, want := range map[string]int{"failed": 200, "invalidated": 200, "odd": 500, "late": 500, "unnamed": 200} {
			if r, text := get(t, s.page, "GET", "/p/pool.json?sort=age&state=leased&pool="+name); r.StatusCode != want {
				t.Errorf("%s is answered %s: %s", name, r.Status, text)
			}
		}
		s.page.cfg.Meters = func() []Meter { panic("no meters today") }
		if got := fmt.Sprint(decoded(t, s.page, "/p/pools.json")["pools"]); !strings.Contains(got, "Config.Meters panicked: no meters today") {
			t.Errorf("without meters there is %s", got)
		}
		s.stop()
	})
}

// Of more pools than are shown none that is in trouble is missing, wherever it
// stands, and the order stays.
func TestTroubleFirst(t *testing.T) {
	var all []Meter
	for i := range maxPools + 50 {
		f := named(fmt.Sprintf("pool %03d", i))
		switch i {
		case maxPools + 3:
			f.s.Outage = true
		case maxPools + 9:
			f.s.Load.Waiting = 1
		case maxPools + 27:
			f.s.Overdue = 1
		case maxPools + 44:
			f.panics = true
			f.s.Name = "" // of which nothing is known
		}
		all = append(all, f)
	}
	p := pageOf(t, all...)
	g := p.update().pools("")
	var names []string
	for _, s := range g.Pools {
		names = append(names, s.Name)
	}
	want := []string{"pool 195", "pool 203", "pool 209", "pool 227", "unnamed"}
	if len(names) != maxPools || g.More != 50 || !slices.Equal(names[maxPools-5:], want) || names[0] != "pool 000" {
		t.Errorf("%d pools and %d more, the last %q, want %q", len(names), g.More, names[max(0, len(names)-5):], want)
	}
	plain := decoded(t, p, "/p/pools.json")["pools"].([]any)
	for i, name := range names {
		if got := plain[i].(map[string]any)["name"]; got != name {
			t.Errorf("in JSON the pool at %d is %v, not %s", i, got, name)
		}
	}
	for _, m := range all {
		m.(*fake).s.Overdue = 1
	}
	if g := p.update().pools(""); len(g.Pools) != maxPools || g.More != 50 || g.Pools[3].Overdue != 1 {
		t.Errorf("with all in trouble there are %d pools and %d more", len(g.Pools), g.More)
	}
}

func BenchmarkFrame(b *testing.B) {
	p := pageOf(b, many(10_000))
	b.ReportAllocs()
	var n int
	for b.Loop() {
		n = len(p.update().frame(view{pool: "many", sort: "held"}))
	}
	b.ReportMetric(float64(n), "bytes/frame")
}
