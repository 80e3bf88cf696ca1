package livepage

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/gorilla/websocket"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/live"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/jsonrpc"
)

// multiplexers are one that is well and one with everything wrong.
func multiplexers(name string) []resource.Multiplexer {
	took := resource.Durations{Sum: 100 * time.Second, First: 16 * 22, Buckets: []int64{10, 0, 50, 0, 0, 300, 40, 0, 0, 7}}
	return []resource.Multiplexer{
		{
			Name: "jsonrpc.Codec", Held: 2, Limit: 256, InFlight: 40, Busiest: 30, MaxOrphans: 64, Streams: 3, Acquired: 5,
			Calls: 12_345, Batches: 1000, Messages: 13_000, Took: took,
			Resources: []resource.MultiplexedResource{{ID: 7, InFlight: 30, Calls: 10_000, Batches: 500, Messages: 5000}, {ID: 9, InFlight: 10, Calls: 2345, Batches: 500, Messages: 8000}},
		},
		{
			Name: name, Held: 2, Draining: 1, Limit: 64, InFlight: 66, Busiest: 64, Waiting: 12, OldestWait: 3 * time.Second, Orphans: 70, MaxOrphans: 64,
			Streams: 4, Queued: 123_456, Acquired: 90, Calls: 500, NotSent: 31, MayHaveRun: 32, Batches: 500, Messages: 600, Retried: 33, Replayed: 34,
			Orphaned: 400, Late: 330, Unknown: 2, Bad: 35, Unwanted: 36, EventsDropped: 37, StreamDropped: 38, Resumes: 9, Gaps: 7, Panics: 1, Took: took,
			Resources: []resource.MultiplexedResource{
				{ID: 1, InFlight: 64, Orphans: 60, Streams: 4, Queued: 123_000, Calls: 400, Batches: 400, Messages: 400, Late: 300, Unknown: 2, Bad: 35},
				{ID: 2, InFlight: 2, Orphans: 10, Draining: true, Cause: errors.New("wspool: closed by the peer: 1001 (going away), wss://user:secret@example.com/"), Dedicated: true},
			},
		},
	}
}

// endpoints are those of a cluster in which something of everything is wrong.
func endpoints(addr string) *resource.Endpoints {
	return &resource.Endpoints{
		Panic: true, Failovers: 2, Failbacks: 1, Updates: 40, UpdatesFailed: 3, ResolverErr: errors.New("lookup api.example.com: no such host"), Moved: 12, MovesFailed: 1,
		All: []resource.EndpointInfo{
			{Addr: "192.0.2.1:443", Zone: "a", Status: "healthy", For: 2 * time.Hour, Ranked: true, Share: 0.65, Load: 9, Latency: 12 * time.Millisecond, Idle: 3, Leased: 8, Shared: 2,
				Begun: 9000, Good: 8990, Bad: 1, Moved: -12},
			{Addr: addr, Zone: "b", Status: "ejected", Cause: errors.New("dial tcp: connection refused, wss://user:secret@example.com/"), For: 95 * time.Second, Ranked: true, Failing: true, Ejected: true,
				Share: 0.35, Bad: 31, Refused: 2, Ejections: 4, Probes: 6},
			{Addr: "192.0.2.3:443", Zone: "a", Priority: 1, Status: "standby", For: time.Hour},
		},
	}
}

// Each multiplexer has a card with its figures, which says what is wrong, and a row for each of
// its connections; the overview says what is wrong too. They fit in every width, can be read in both
// colour schemes and can be scrolled by keyboard, whatever their names are. With
// RESPOOL_SCREENSHOTS=dir they are written as PNG.
func TestShared(t *testing.T) {
	b := open(t)
	m := telling("shared")
	h := showing(t, m, telling("alone"))
	b.do(chromedp.Navigate(h.at("?pool=alone")))
	b.until(`document.querySelector("#shared")?.hidden === true && document.querySelector("#endpoints").hidden`)
	for _, name := range []string{"search", `<img src=x onerror=window.pwned=1>` + strings.Repeat("x", 30)} {
		m.tell(func(s *metrics.Snapshot) { s.Multiplexers, s.Endpoints = multiplexers(name), endpoints(name) })
		for _, width := range []int64{400, 1280} {
			for _, scheme := range []string{"light", "dark"} {
				if name != "search" && (scheme == "dark" || width > 400) {
					continue // colors do not depend on the name, and the phone has the least room
				}
				b.size(width, 900, scheme)
				b.do(chromedp.Navigate(h.at("?pool=shared")))
				b.until(fmt.Sprintf(`document.querySelectorAll("#shared .mux > .quota bdi")[1]?.textContent === %q`, name))
				b.fits(width, "one pool")
				if low := eval[[]string](b, contrast); len(low) > 0 {
					t.Errorf("%s: hard to read: %q", scheme, low)
				}
				cut := eval[[]string](b, `[...document.querySelectorAll("#shared .quota, #shared .quota *, #shared .conns, #endpoints, #endpoints .figures *")].filter((e) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0).map((e) => e.outerHTML.slice(0, 80))`)
				if len(cut) > 0 {
					t.Errorf("%d, %s: wider than their place: %q", width, scheme, cut)
				}
				if dir := os.Getenv("RESPOOL_SCREENSHOTS"); dir != "" && name == "search" {
					for _, id := range []string{"shared", "endpoints"} {
						if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", id, width, scheme)), b.picture("#"+id), 0o644); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
		}
	}
	m.tell(func(s *metrics.Snapshot) { s.Multiplexers, s.Endpoints = multiplexers("search"), endpoints("search") })
	b.until(`document.querySelectorAll("#shared .mux > .quota bdi")[1]?.textContent === "search"`)
	for selector, all := range map[string][][]string{
		".quota": {
			{"40 in flight", "0 orphans", "472 room", "answered 12,345", "not sent 0", "calls per write 13", "connections 2", "on the busiest 30 of 256", "waiting for room 0", "streams 3"},
			{"66 in flight", "70 orphans", "0 room", "connections 2, 1 draining", "waiting for room 12, oldest 3.00 s", "not sent 31", "may have run 32", "sent elsewhere 33",
				"replayed 34", "given up 400", "late replies 330", "unknown replies 2", "bad messages 35", "unwanted messages 36", "events dropped 37",
				"stream messages dropped 38", "resumes 7 of 9 tries", "gaps 7", "panics 1", "bytes waiting 123,456", "calls per write 1.2", "connections acquired 90"},
		},
		".conns": {
			{"7 open 30 0 0 0 10,000 10 0 0 0", "9 open 10 0 0 0 2,345 16 0 0 0"},
			{"1 open 64 60 4 123,000 400 1 300 2 35", "2 draining: wspool: closed by the peer: 1001 (going away), wss://…@example.com/, dedicated 2 10"},
		},
		"figure": {{"Durations of calls"}, {"p99"}},
	} {
		for i, want := range all {
			got := eval[string](b, fmt.Sprintf(`document.querySelectorAll("#shared .mux")[%d].querySelector(%q).innerText.replace(/\s+/g, " ")`, i, selector))
			for _, w := range want {
				if !strings.Contains(got, w) {
					t.Errorf("%q is not in %q", w, got)
				}
			}
			if strings.Contains(got, "secret") {
				t.Errorf("a secret is shown: %q", got)
			}
		}
	}
	const wrong = "2 unknown replies; 12 callers without room for 3.00 s; 70 orphans; 38 stream messages dropped; 1 panic"
	const inCard = `[...document.querySelectorAll("#shared .mux")].map((e) => [...e.querySelectorAll(".flag")].map((f) => f.textContent).join("; ")).join("|")`
	if got := eval[string](b, inCard); got != "|"+wrong {
		t.Errorf("the flags are %q, want %q", got, wrong)
	}
	said := eval[string](b, `document.querySelector("#endpoints").innerText.replace(/\s+/g, " ")`)
	for _, want := range []string{
		"Endpoints3 too few endpoints healthy resolver failing 1 of 3 endpoints ejected",
		"resolver failing: The last answer of the resolver was not applied (3 of 43 so far), so the endpoints are those before it. The error: lookup api.example.com: no such host.",
		"192.0.2.1:443 healthy for 2 h 0 min 65 % 11 3 2 9 12.0 ms 8,990 1 0 0 -12 a 0",
		"search ejected for 1 min 35 s: used nevertheless: dial tcp: connection refused, wss://…@example.com/ 35 % 0 0 0 0 – 0 31 2 4 0 b 0",
		"192.0.2.3:443 standby for 1 h 0 min", "failovers 2", "failbacks 1", "connections moved 12", "moves failed 1", "answers applied 40", "answers not applied 3",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in %q", want, said)
		}
	}
	// A list that is wider than the window is reached by Tab and scrolled by the arrows.
	b.size(400, 900, "light")
	b.until(`[...document.querySelectorAll("#shared .scroll")].every((e) => e.scrollWidth > e.clientWidth)`)
	eval[bool](b, `(document.querySelectorAll("#shared .scroll")[0].focus(), true)`)
	for range 10 { // over the links of the second card
		b.do(chromedp.KeyEvent(kb.Tab))
		if eval[bool](b, `document.activeElement === document.querySelectorAll("#shared .scroll")[1]`) {
			break
		}
	}
	b.until(`document.activeElement === document.querySelectorAll("#shared .scroll")[1]`)
	// Tab moves the page, and while it moves an arrow belongs to the page, not to the list.
	for end := time.Now().Add(patience); ; {
		b.do(chromedp.KeyEvent(kb.ArrowRight))
		if eval[bool](b, `new Promise((done) => setTimeout(() => done(document.activeElement.scrollLeft > 0), 300))`) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the arrows do not scroll the list")
		}
	}

	b.do(chromedp.Navigate(h.at("")))
	b.until(`document.querySelectorAll("#pools tbody tr").length === 2`)
	got := eval[string](b, `[...document.querySelectorAll("#pools tbody tr")].find((e) => e.name === "shared").querySelector(".flags").innerText.replace(/\s+/g, " ")`)
	if !strings.Contains(got, "search: 2 unknown replies") || !strings.Contains(got, "too few endpoints healthy") || strings.Contains(got, "jsonrpc.Codec:") {
		t.Errorf("in the overview the pool has the flags %q", got)
	}
	if eval[bool](b, `"pwned" in window`) {
		t.Error("a name was run")
	}
	b.good()
	sharedByClient(t, b)
}

// answering is a JSON-RPC server that answers the calls of "now" at once and no others.
func answering(w http.ResponseWriter, r *http.Request) {
	c, err := new(websocket.Upgrader).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	for {
		var call struct {
			ID     int64
			Method string
		}
		if c.ReadJSON(&call) != nil {
			return
		}
		if call.Method == "now" && c.WriteJSON(map[string]any{"jsonrpc": "2.0", "id": call.ID, "result": 1}) != nil {
			return
		}
	}
}

// sharedByClient checks that a client that shares connections of a pool is shown on the page of the
// pool, and that its connections are marked as shared in the list of resources.
func sharedByClient(t *testing.T, b *tab) {
	b.size(1280, 900, "light")
	server := httptest.NewServer(http.HandlerFunc(answering))
	defer server.Close()
	m, err := metrics.New("rpc", metrics.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	pool, err := wspool.New(wspool.Config{URL: "ws" + strings.TrimPrefix(server.URL, "http"), MaxSize: 4, Trace: m.Trace(nil)})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Watch(pool); err != nil {
		t.Fatal(err)
	}
	client, err := mux.New(pool, mux.Config{Codec: jsonrpc.Codec{}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 10 {
		if _, err := client.Call(ctx, mux.Request{Body: jsonrpc.Request{Method: "now"}}); err != nil {
			t.Fatal(err)
		}
	}
	stuck, release := context.WithCancel(ctx)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() { client.Call(stuck, mux.Request{Body: jsonrpc.Request{Method: "never"}}) })
	}
	h := (&host{t: t, every: often, meters: func() []live.Meter { return []live.Meter{m} }}).start()
	b.do(chromedp.Navigate(h.at("?pool=rpc")))
	said := `document.querySelector("#shared .mux > .quota")?.innerText.replace(/\s+/g, " ")`
	b.until(said + `?.includes("3 in flight")`)
	got := eval[string](b, said)
	for _, want := range []string{"jsonrpc.Codec", "answered 10", "connections 1", "on the busiest 3 of 256", "0 orphans"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	row := `document.querySelector("#resources tbody tr")?.innerText.replace(/\s+/g, " ")`
	if got := eval[string](b, row); !strings.Contains(got, "leased, shared") || !strings.Contains(got, "jsonrpc.Codec: 3 in flight") {
		t.Errorf("the resource is %q", got)
	}
	b.until(`document.querySelector("#shared figure .when").textContent === "10"`) // it is painted once the browser has laid it out
	if got := eval[string](b, `document.querySelector("#held .flags").innerText`); got != "shared" {
		t.Errorf("the lease has the flags %q", got)
	}
	release()
	all.Wait()
	b.until(said + `.includes("3 orphans")`)
	if err := client.Close(ctx); err != nil {
		t.Error(err)
	}
	b.until(said + `.includes("connections 0") && ` + said + `.includes("given up 3")`) // the counters stay
	if err := pool.Close(ctx); err != nil {
		t.Error(err)
	}
	b.good()
}
