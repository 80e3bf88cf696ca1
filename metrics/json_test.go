package metrics_test

import (
	"context"
	"encoding/json"
	"errors"
	"expvar"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

func decode(t *testing.T, v any) map[string]any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return m
}

func TestSnapshot_JSON(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := metrics.Snapshot{
		Name: `</script><b>`, Time: at, Since: at, Outages: 2,
		Inspection: resource.Inspection{
			Stats: resource.Stats{
				Load: resource.Load{Max: 8, Leased: 3}, Acquired: 100, WaitTime: 1500 * time.Millisecond,
				Outage: true, LastMake: errors.New("dial\x00 " + strings.Repeat("x", 500)),
			},
			MinIdle:    4,
			OldestWait: 250 * time.Millisecond,
			Resources:  []resource.ResourceInfo{{Info: resource.Info{ID: 7, Age: time.Minute, Leases: 3}, Lease: 5, State: resource.Leased, Held: 2 * time.Second, Shared: true, Invalidated: badError{}, Detail: "peer\n1"}},
			Waiting:    []resource.WaiterInfo{{Request: resource.Request{Class: "batch", Priority: 3}, Waited: time.Second}},
			Policies:   []resource.PolicyState{{Moment: "MakeGate", Type: "*policy.Gate", State: "open"}},
			Facts:      []resource.Fact{{Name: "tainted", Value: 4, Level: true}},
			Settings:   []resource.Setting{{Of: "shop.Config", Name: "URL", Value: "wss://me:s3cret@host/", Default: true}},
			Quotas:     []resource.SharedQuota{{Name: "account", Granted: 5, Target: 6, Learning: true, Lost: 1500 * time.Millisecond, LostCause: badError{}}},
		},
		Wait:      metrics.Histogram{Count: 3, Zero: 1, Sum: time.Second, First: 100, Buckets: []int64{1, 1}},
		Destroyed: map[string]int64{"reset": 3},
		Overdue:   6,
		Held:      []metrics.Held{{ID: 7, Lease: 3, For: 2 * time.Second, Overdue: true, Shared: true, Stack: []metrics.Frame{{Func: "main.f", File: "f.go", Line: 9}}}},
		Events:    []metrics.Event{{Time: at, Kind: "made", Text: "x", More: 2}},
	}
	m := decode(t, s)
	for path, want := range map[string]any{
		"name": `</script><b>`, "time": "2026-01-02T03:04:05Z", "minIdle": 4., "oldestWait": 0.25,
		"load.max": 8.0, "load.leased": 3.0, "counters.acquired": 100.0, "counters.waitTime": 1.5,
		"outage.now": true, "outage.since": "2026-01-02T03:04:05Z", "outage.count": 2.0,
		"wait.count": 3.0, "wait.sum": 1.0, "wait.first": 100.0, "wait.p50": s.Wait.Quantile(0.5).Seconds(),
		"hold.count": 0.0, "hold.p99": 0.0, "destroyed.reset": 3.0, "overdue": 6.0,
		"resources.0.id": 7.0, "resources.0.state": "leased", "resources.0.lease": 5.0, "resources.0.held": 2.0, "resources.0.age": 60.0, "resources.0.shared": true,
		"resources.0.invalidated": "an error whose text panics", "resources.0.detail": "peer 1",
		"waiting.0.class": "batch", "waiting.0.waited": 1.0, "policies.0.state": "open", "facts.0.value": 4.0, "facts.0.level": true,
		"settings.0.of": "shop.Config", "settings.0.name": "URL", "settings.0.value": "wss://…@host/", "settings.0.default": true,
		"quotas.0.name": "account", "quotas.0.granted": 5.0, "quotas.0.target": 6.0, "quotas.0.learning": true, "quotas.0.lost": 1.5,
		"quotas.0.lostCause": "an error whose text panics",
		"held.0.for":         2.0, "held.0.overdue": true, "held.0.shared": true, "held.0.stack.0.func": "main.f", "held.0.stack.0.line": 9.0,
		"events.0.kind": "made", "events.0.more": 2.0,
	} {
		if got := at2(m, path); got != want {
			t.Errorf("%s is %v, not %v", path, got, want)
		}
	}
	last, _ := at2(m, "outage.lastMake").(string)
	if !strings.HasPrefix(last, "dial  xxx") || len(last) > 200 {
		t.Errorf("the last make is %q", last)
	}
}

// at2 is what lies at a path, such as "held.0.id".
func at2(v any, path string) any {
	for _, key := range strings.Split(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[key]
		case []any:
			i := int(key[0] - '0')
			if i >= len(in) {
				return nil
			}
			v = in[i]
		default:
			return nil
		}
	}
	return v
}

// Nothing is null, and every counter and level of Stats is written.
func TestSnapshot_JSONOfNothing(t *testing.T) {
	m := decode(t, metrics.Snapshot{})
	for key, v := range m {
		if v == nil {
			t.Errorf("%s is null", key)
		}
	}
	if _, there := m["time"]; there {
		t.Error("there is a zero time")
	}
	lower := func(s string) string { return strings.ToLower(s[:1]) + s[1:] }
	for i := range reflect.TypeFor[metrics.Snapshot]().NumField() {
		switch name := reflect.TypeFor[metrics.Snapshot]().Field(i).Name; name {
		case "Time", "Inspection", "Outages", "Since": // left out if zero, in parts, or in outage
		default:
			if _, there := m[lower(name)]; !there {
				t.Errorf("there is no %s", name)
			}
		}
	}
	for _, of := range []struct {
		key string
		typ reflect.Type
	}{{"load", reflect.TypeFor[resource.Load]()}, {"counters", reflect.TypeFor[resource.Stats]()}} {
		written := slices.Collect(maps.Keys(m[of.key].(map[string]any)))
		for i := range of.typ.NumField() {
			name := of.typ.Field(i).Name
			if name == "Load" || name == "Outage" || name == "LastMake" { // elsewhere
				continue
			}
			if !slices.Contains(written, lower(name)) && !slices.Contains(written, strings.ToLower(name)) {
				t.Errorf("%s has no %s", of.key, name)
			}
		}
	}
}

// distinct fills the struct that v points to with values that differ, and returns them as JSON
// has them.
func distinct(v reflect.Value) map[string]any {
	v = v.Elem()
	want := make(map[string]any)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		key := strings.ToLower(name[:1]) + name[1:]
		if name == "ID" {
			key = "id"
		}
		switch f := v.Field(i); f.Interface().(type) {
		case time.Duration:
			f.SetInt(int64(i+1) * int64(time.Second))
			want[key] = float64(i + 1)
		case int, int64:
			f.SetInt(int64(i + 1))
			want[key] = float64(i + 1)
		case float64:
			f.SetFloat(float64(i + 1))
			want[key] = float64(i + 1)
		case uint64:
			f.SetUint(uint64(i + 1))
			want[key] = float64(i + 1)
		case string:
			f.SetString(name)
			want[key] = name
		case bool:
			f.SetBool(true)
			want[key] = true
		case error, nil:
			f.Set(reflect.ValueOf(errors.New(name)))
			want[key] = name
		}
	}
	return want
}

// Every figure of a shared quota is written, and none of them is another.
func TestSnapshot_JSONOfQuotas(t *testing.T) {
	var q resource.SharedQuota
	want := distinct(reflect.ValueOf(&q))
	m := decode(t, metrics.Snapshot{Inspection: resource.Inspection{Quotas: []resource.SharedQuota{q}}})
	if got := at2(m, "quotas.0"); !reflect.DeepEqual(got, want) {
		t.Errorf("it is\n%v, want\n%v", got, want)
	}
}

// Every figure of a multiplexer and of its resources is written, and none of them is another.
func TestSnapshot_JSONOfMultiplexers(t *testing.T) {
	var of resource.Multiplexer
	var one resource.MultiplexedResource
	want := distinct(reflect.ValueOf(&of))
	want["resources"], want["settings"] = []any{distinct(reflect.ValueOf(&one))}, []any{}
	of.Resources = []resource.MultiplexedResource{one}
	of.Took = resource.Durations{Sum: 5 * time.Second, Zero: 1, First: 16 * 20, Buckets: []int64{0, 2, 0, 0, 3}}
	m := decode(t, metrics.Snapshot{Inspection: resource.Inspection{Multiplexers: []resource.Multiplexer{of}}})
	got, _ := at2(m, "multiplexers.0").(map[string]any)
	took, _ := got["took"].(map[string]any)
	delete(got, "took")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("it is\n%v, want\n%v", got, want)
	}
	if took["count"] != 6. || took["sum"] != 5. || took["zero"] != 1. || took["first"] != 80. || !reflect.DeepEqual(took["buckets"], []any{2., 3.}) {
		t.Errorf("the durations are %v", took)
	}
}

// Every figure of endpoints is written, and none of them is another; no secret in an address is.
func TestSnapshot_JSONOfEndpoints(t *testing.T) {
	var of resource.Endpoints
	var one resource.EndpointInfo
	want := distinct(reflect.ValueOf(&of))
	want["all"] = []any{distinct(reflect.ValueOf(&one))}
	of.All = []resource.EndpointInfo{one}
	m := decode(t, metrics.Snapshot{Inspection: resource.Inspection{Endpoints: &of}})
	if got := at2(m, "endpoints"); !reflect.DeepEqual(got, any(want)) {
		t.Errorf("it is\n%v, want\n%v", got, want)
	}
	of.All[0].Addr = "wss://me:secret@example.com/x"
	m = decode(t, metrics.Snapshot{Inspection: resource.Inspection{Endpoints: &of}})
	if got, _ := at2(m, "endpoints.all.0.addr").(string); strings.Contains(got, "secret") || !strings.Contains(got, "example.com") {
		t.Errorf("the address is %q", got)
	}
}

// Numbers that JSON has no way to write do not come up.
func TestHistogram_JSONOfExtremes(t *testing.T) {
	for _, h := range []metrics.Histogram{
		{Count: math.MaxInt64, Sum: math.MaxInt64, First: 1000, Buckets: []int64{math.MaxInt64}},
		{Count: -1, Buckets: []int64{-5}},
	} {
		decode(t, h)
	}
}

func TestVars(t *testing.T) {
	m := newMeter(t, metrics.Config{})
	src := &source{}
	src.set(func(i *resource.Inspection) { i.Max = 5; i.Resources = make([]resource.ResourceInfo, 5) })
	if err := m.Watch(src); err != nil {
		t.Fatal(err)
	}
	m.Trace(nil).Made(context.Background(), resource.MakeEvent{ID: 1, Took: time.Second})
	var v expvar.Var = metrics.Vars{}
	var all map[string]any
	if err := json.Unmarshal([]byte(v.String()), &all); err != nil {
		t.Fatalf("%v: %s", err, v)
	}
	mine := all[t.Name()]
	if len(all) != 1 || at2(mine, "load.max") != 5.0 || at2(mine, "make.count") != 1.0 {
		t.Errorf("it is %v", all)
	}
	if len(at2(mine, "events").([]any)) != 0 || len(at2(mine, "resources").([]any)) != 0 {
		t.Errorf("there are lists in %v", mine)
	}
	m.Close()
	if got := v.String(); got != "{}" {
		t.Errorf("without a meter it is %s", got)
	}
}
