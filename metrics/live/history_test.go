package live

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// historyOf is the answer to history.json.
func historyOf(t *testing.T, p *Page, query string) (all past) {
	t.Helper()
	r, text := get(t, p, "GET", "/p/history.json"+query)
	if r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", query, text)
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// What a meter has kept reaches the page: all figures of one pool, and of all pools
// those of the line in the overview.
func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := metrics.New("kept", metrics.Config{})
		if err != nil {
			t.Fatal(err)
		}
		pool, err := resource.New(resource.Config[int]{Make: func(context.Context) (int, error) { return 1, nil }, MaxSize: 3, Trace: m.Trace(nil)})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := m.Watch(pool); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		for range 61 {
			l, err := pool.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			gone, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := pool.Acquire(gone); err == nil {
				t.Error("an acquire whose context has ended got a resource")
			}
			time.Sleep(2 * time.Second)
			l.Release()
		}
		p := pageOf(t, m)
		one := historyOf(t, p, "?pool=kept")
		if one.Life != p.life || len(one.Pools) != 1 {
			t.Fatalf("it is %+v", one)
		}
		h := one.Pools[0]
		if h.Name != "kept" || h.Every != 2 || h.Since != float64(start.Unix()) || len(h.T) != 61 || h.T[0] != h.Since+2 || h.T[60] != h.Since+122 {
			t.Errorf("it is %+v", h)
		}
		for name, all := range h.Levels {
			if want := map[string]float64{"max": 3, "leased": 1}[name]; len(all) != 61 || all[60] != want {
				t.Errorf("%s is %v, want %v", name, all, want)
			}
		}
		for name, all := range h.Counts {
			want := map[string]int64{"acquired": 61, "unserved": 61, "made": 1, "waited": 1}[name]
			if len(all) != 61 || all[60] != want || want == 61 && all[9] != 10 {
				t.Errorf("%s is %v, want %d", name, all, want)
			}
		}
		if len(h.Levels) != 7 || len(h.Counts) != 6 || len(h.Failed) != 1 || h.Failed["canceled"][9] != 10 {
			t.Errorf("there are %d levels, %d counts, and failures %v", len(h.Levels), len(h.Counts), h.Failed)
		}
		if len(h.P50) != 61 || len(h.P99) != 61 || h.P50[60] == nil || *h.P99[60] != 0 {
			t.Errorf("the waits are %v, %v", h.P50, h.P99)
		}

		all := historyOf(t, p, "")
		if len(all.Pools) != 1 || len(all.Pools[0].Levels) != 0 || len(all.Pools[0].Counts) != 2 || all.Pools[0].Failed != nil {
			t.Fatalf("of all pools it is %+v", all)
		}
		thin := all.Pools[0]
		if len(thin.T) != 13 || thin.T[12] != h.T[60] || thin.T[0] != h.T[0] || thin.Every != 10 {
			t.Errorf("the overview has %v every %v s", thin.T, thin.Every)
		}
		if got := historyOf(t, p, "?find=other"); len(got.Pools) != 0 {
			t.Errorf("a search that finds none has %+v", got)
		}
		m.Close()
		if err := pool.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// A Meter without a history, one that is empty and one that panics cost none of the
// others theirs.
func TestHistory_Rare(t *testing.T) {
	now := time.Now()
	p := pageOf(t, named("none"),
		rare{named("off"), func() metrics.History { return metrics.History{} }},
		rare{named("panics"), func() metrics.History { panic("no history") }},
		rare{named("empty"), func() metrics.History { return metrics.History{Since: now} }},
		rare{named("one"), func() metrics.History {
			return metrics.History{Since: now, Points: []metrics.Point{{Time: now}}}
		}})
	for _, query := range []string{"", "?pool=none", "?pool=off", "?pool=panics", "?pool=empty", "?pool=one"} {
		var names []string
		for _, h := range historyOf(t, p, query).Pools {
			names = append(names, fmt.Sprint(h.Name, " ", len(h.T), " ", len(h.P50)))
		}
		want := map[string]string{"": "empty 0 0,one 1 0", "?pool=empty": "empty 0 0", "?pool=one": "one 1 1"}[query]
		if got := strings.Join(names, ","); got != want {
			t.Errorf("%q has %q, want %q", query, got, want)
		}
	}
	for query, want := range map[string]int{"?pool=nowhere": 404, "?state=odd": 400} {
		if r, _ := get(t, p, "GET", "/p/history.json"+query); r.StatusCode != want {
			t.Errorf("%s: %s", query, r.Status)
		}
	}
	// A wait that no acquire had is not a wait of 0.
	if got := historyOf(t, p, "?pool=one").Pools[0]; got.P50[0] != nil || got.P99[0] != nil {
		t.Errorf("the waits are %v, %v", got.P50, got.P99)
	}
}

// The overview has the last point, and each fifth before it, however many there are.
func TestThinned(t *testing.T) {
	for n := range 23 {
		points := make([]metrics.Point, n)
		for i := range points {
			points[i].Acquired = int64(i)
		}
		var want []int64
		for i := n - 1; i >= 0; i -= 5 {
			want = append(want, int64(i))
		}
		slices.Reverse(want)
		if got := column(thinned(points), func(p *metrics.Point) int64 { return p.Acquired }); !slices.Equal(got, want) {
			t.Errorf("of %d it has %v, want %v", n, got, want)
		}
	}
}

// The page of a pool gets the sums over its multiplexers and endpoints, and null for points at
// which it had none; a pool that never had any has no such columns.
func TestHistory_Layers(t *testing.T) {
	now := time.Now()
	layers := &metrics.Layers{Multiplexers: 1, InFlight: 2, Orphans: 3, Waiting: 4, Answered: 5, NotSent: 6, MayHaveRun: 7, Endpoints: 8, Ejected: 9, Good: 10, Bad: 11, Refused: 12}
	p := pageOf(t,
		rare{named("mux"), func() metrics.History {
			return metrics.History{Since: now, Points: []metrics.Point{{Time: now}, {Time: now.Add(time.Second), Layers: layers}}}
		}},
		rare{named("plain"), func() metrics.History {
			return metrics.History{Since: now, Points: []metrics.Point{{Time: now}}}
		}})
	got := historyOf(t, p, "?pool=mux").Pools[0].Layers
	want := map[string]int64{
		"multiplexers": 1, "in_flight": 2, "orphans": 3, "waiting": 4, "answered": 5, "not_sent": 6, "may_have_run": 7, "endpoints": 8, "ejected": 9, "good": 10, "bad": 11, "refused": 12,
	}
	for name, n := range want {
		if c := got[name]; len(c) != 2 || c[0] != nil || c[1] == nil || *c[1] != n {
			t.Errorf("%s is %v, want null and %d", name, c, n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("there are %d columns, want %d", len(got), len(want))
	}
	if all := historyOf(t, p, "").Pools; all[0].Layers != nil || all[1].Layers != nil || historyOf(t, p, "?pool=plain").Pools[0].Layers != nil {
		t.Errorf("of all pools it is %+v", all)
	}
	// The present sums come with each update.
	f := sample()
	_, d := seen(t, pageOf(t, f).update(), view{pool: "speech", sort: "id"})
	present := generic(t, map[string]any{
		"multiplexers": 1, "in_flight": 304, "orphans": 308, "waiting": 306, "answered": 313, "not_sent": 314, "may_have_run": 315, "endpoints": 2, "ejected": 1, "good": 418, "bad": 419, "refused": 420,
	})
	if fmt.Sprint(d["layers"]) != fmt.Sprint(present) {
		t.Errorf("an update has %v, want %v", d["layers"], present)
	}
}
