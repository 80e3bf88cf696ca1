package live

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// textOf is the answer to report.txt.
func textOf(t testing.TB, p *Page, query string) string {
	t.Helper()
	r, text := get(t, p, "GET", "/p/report.txt"+query)
	if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Fatalf("%s: %s, %s: %s", query, r.Status, r.Header.Get("Content-Type"), text)
	}
	return text
}

// A report has what a maintainer asks for: versions, settings, figures, the last ten minutes,
// errors, stacks, and the parts of the pool.
func TestReport(t *testing.T) {
	f := sample()
	f.s.Settings = []resource.Setting{{Of: "wspool.Config", Name: "URL", Value: "wss://host/…"}, {Of: "wspool.Config", Name: "KeepAlive", Value: "15s", Default: true}}
	f.s.Multiplexers[0].Settings = []resource.Setting{{Of: "mux.Config", Name: "MaxInFlight", Value: "2"}}
	f.s.Events = append(f.s.Events, metrics.Event{Time: time.Now(), Kind: "failed", Text: "creation, after 3ms: refused", More: 7})
	m := rare{f, busy("").history}
	got := textOf(t, pageOf(t, m, named("other")), "?pool=speech")
	for _, want := range []string{
		"respool report of 2", runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, "\n== Pool speech\nmax 8: 2 idle, 3 leased",
		"outage for 1 min 0 s: Creation has been failing", "account engine lost for 2 s: No claim",
		"wspool.Config.URL: wss://host/…\n", "by default: KeepAlive 15s\n", "mux.Config.MaxInFlight: 2\n",
		"acquired 103, released 100, waited 17 (1.50 s in all)", "acquires failed 466: outage 438, none_idle 15, admission 7, canceled 6", "outages 2", "tainted 5",
		"wait      10, ", "lease     2, ", ": 600, 0, 0, 0; 1, 0; 0\n", "the last creation: connection refused", "destroyed: max age 12, other 1", "refused: *policy.Share 7",
		"failed (and 7 like it): creation, after 3ms: refused", "2 leases, the longest for 1 min 0 s, overdue", "example.com/shop.charge (shop/charge.go:88)",
		"Admission: *policy.Share 3 of 4", "account (fail closed): held 62 of 61 granted", "jsonrpc: 301 connections, 304 in flight", "may have run 315",
		"b:1: healthy for 0 s", "ejected for 1 min 0 s",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	for _, not := range []string{"other\n==", "== Pool other", "made: 4 in 50 ms", "%!"} {
		if strings.Contains(got, not) {
			t.Errorf("%q is in\n%s", not, got)
		}
	}
}

// Whatever text of a pool has a secret in it: what looks like one is not in the report, nor
// in pool.json, nor in what the page gets.
func TestReport_Secrets(t *testing.T) {
	const hidden = "wss://me:s3cret@host.example/p?token=s3cret failed; password=s3cret; Authorization: Bearer s3cret0123456789; " +
		`{"token":"s3cret","password": "s3cret"}; api_key: s3cret map[X-Api-Key:[s3cret]] Cookie: session=s3cret`
	err := errors.New(hidden)
	f := sample()
	s := &f.s
	s.LastMake = err
	s.Settings = []resource.Setting{{Of: hidden, Name: hidden, Value: hidden}, {Of: hidden, Name: hidden, Value: hidden, Default: true}}
	s.Resources[0].Invalidated, s.Resources[1].Detail = err, "of no secret"
	s.Policies = []resource.PolicyState{{Moment: "Admission", Type: "*shop.Policy", State: hidden}}
	s.Quotas[0].LostCause, s.Quotas[0].Mode = err, hidden
	s.Endpoints.ResolverErr, s.Endpoints.All[0].Cause, s.Endpoints.All[0].Addr, s.Endpoints.All[0].Status = err, err, hidden, hidden
	s.Multiplexers[0].Resources[0].Cause = err
	s.Multiplexers[0].Settings = s.Settings
	s.Events = []metrics.Event{{Time: time.Now(), Kind: "failed", Text: hidden}}
	s.Destroyed, s.Refused = map[string]int64{hidden: 1}, map[string]int64{hidden: 1}
	s.Outage, s.Since = true, time.Now()
	p := pageOf(t, f, loud{hidden})
	_, json := get(t, p, "GET", "/p/pool.json?pool=speech")
	_, loudly := get(t, p, "GET", "/p/pool.json?pool=unnamed")
	u := p.update()
	for what, text := range map[string]string{
		"pool.json": json, "the frame": string(u.frame(view{pool: "speech", sort: "id"})), "the frame of a panic": string(u.frame(view{pool: "unnamed", sort: "id"})),
		"pool.json of a panic": loudly, "the report of all": textOf(t, p, ""),
	} {
		if strings.Contains(text, "s3cret") || !strings.Contains(text, "host.example") {
			t.Errorf("%s is\n%s", what, text)
		}
	}
	if text := textOf(t, p, "?pool=speech"); strings.Contains(text, "s3cret") || !strings.Contains(text, "host.example") {
		t.Errorf("the report is\n%s", text)
	}
	for _, flags := range [][]flag{flagsOf(s, "", 0, 9)} {
		if text := fmt.Sprint(flags); strings.Contains(text, "s3cret") {
			t.Errorf("the flags are %s", text)
		}
	}
	if text := fmt.Sprint(toSettings(s.Settings), toSettings(s.Multiplexers[0].Settings)); strings.Contains(text, ":s3cret") || strings.Contains(text, "token=s3cret") {
		t.Errorf("the settings are %s", text)
	}
}

// loud is a meter that panics with a text.
type loud struct{ text string }

func (l loud) Snapshot(int) metrics.Snapshot { panic(l.text) }

// The stacks of held leases, which leases share, are compared where they are in memory: the work
// does not grow with the number of leases, and stacks that are equal are one.
func TestReport_Stacks(t *testing.T) {
	stack := func() []metrics.Frame {
		return []metrics.Frame{{Func: "shop.charge", File: "/src/charge.go", Line: 1}, {Func: "shop.serve", File: "/src/serve.go", Line: 2}}
	}
	f := named("many")
	shared, equal := stack(), stack()
	for i := range reportLeases {
		one := shared
		if i%2 == 0 {
			one = equal
		}
		f.s.Held = append(f.s.Held, metrics.Held{ID: uint64(i), For: time.Minute, Stack: one})
	}
	if text := textOf(t, pageOf(t, f), "?pool=many"); !strings.Contains(text, "  1,000 leases, the longest for 1 min 0 s\n    shop.charge (src/charge.go:1)\n") {
		t.Errorf("the report is\n%s", text)
	}
	if n := testing.AllocsPerRun(5, func() { new(reporter).held(&f.s) }); n > 200 {
		t.Errorf("for %d leases of 2 stacks it allocates %v times", reportLeases, n)
	}
}

// A report asks for no longer lists than it groups, and keeps no snapshot of a pool that it has written.
func TestReport_Snapshots(t *testing.T) {
	all := []*fake{named("a"), named("b"), named("c")}
	p := pageOf(t, all[0], all[1], all[2])
	u := p.update()
	shown, _ := u.chosen("")
	if text := u.report(shown, 0); strings.Count(text, "== Pool ") != len(all) {
		t.Errorf("the report is\n%s", text)
	}
	for i, f := range all {
		if k := u.find(f.s.Name); k.full != nil {
			t.Errorf("the snapshot of %s is kept", f.s.Name)
		}
		if full, _ := f.times(); full != 1 || slices.Max(all[i].asked) > reportLeases {
			t.Errorf("%s was asked for %v entries", f.s.Name, f.asked)
		}
	}
}

// Nothing that the configuration of a real pool holds is in any answer of the page, nor what its
// functions return as errors.
func TestSecrets_OfAPool(t *testing.T) {
	const secret = "s3cret"
	m, err := metrics.New("sockets", metrics.Config{Overdue: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	pool, err := wspool.New(wspool.Config{
		URL: "wss://host.example/v1/" + secret + "?token=" + secret, Subprotocols: []string{"bearer." + secret}, MaxSize: 2, Trace: m.Trace(nil),
		Heartbeat: wspool.Heartbeat{Every: time.Minute, Message: wspool.Message{Type: 1, Data: []byte(secret)}},
		TLS:       &tls.Config{ServerName: secret}, Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: "p", User: url.UserPassword(secret, secret)}),
		Prepare: func(_ context.Context, h *wspool.Handshake) error {
			h.Header = http.Header{"Authorization": {"Bearer " + secret}}
			return fmt.Errorf("no token from https://me:%s@login.example/?token=%s", secret, secret)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close(t.Context())
	if err := m.Watch(pool); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Acquire(t.Context()); err == nil {
		t.Fatal("a dial that must fail did not")
	}
	p := pageOf(t, m)
	answers := map[string]string{"events": string(p.update().frame(view{pool: "sockets", sort: "id"}))}
	for _, target := range []string{"pools.json", "pool.json?pool=sockets", "report.txt", "report.txt?pool=sockets", "history.json?pool=sockets", "advice.json?pool=sockets"} {
		r, text := get(t, p, "GET", "/p/"+target)
		if r.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", target, r.Status)
		}
		answers[target] = text
	}
	for target, text := range answers {
		if strings.Contains(text, secret) {
			t.Errorf("%s has a secret: %s", target, text)
		}
	}
	if text := answers["report.txt"]; !strings.Contains(text, "wspool.Config.URL: wss://host.example/…") || !strings.Contains(text, "login.example") {
		t.Errorf("the report is\n%s", text)
	}
}

// A report of all pools has those in trouble first if there are too many, and a pool that
// cannot be looked at spoils no other.
func TestReport_All(t *testing.T) {
	var all []Meter
	for i := range reportPools + 30 {
		f := named(fmt.Sprintf("pool %02d", i))
		switch i {
		case reportPools + 20:
			f.s.Overdue = 1
		case 3:
			f.s.LastMake = (*nilError)(nil)
		case reportPools + 21:
			f.panics = true
			f.s.Name = ""
		}
		all = append(all, f)
	}
	got := textOf(t, pageOf(t, all...), "")
	if n := strings.Count(got, "\n== Pool "); n != reportPools || !strings.Contains(got, "30 pools are left out.") {
		t.Errorf("%d pools in\n%s", n, got)
	}
	for _, want := range []string{"== Pool pool 40\n", "1 overdue: ", "== Pool unnamed\nThis pool cannot be shown: its snapshot panicked: no snapshot today.", "an error whose text panics"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if text := textOf(t, pageOf(t), ""); strings.Contains(text, "== Pool") || !strings.Contains(text, runtime.Version()) {
		t.Errorf("of no pool there is\n%s", text)
	}
}

// What is long is cut: of a pool with 20,000 resources the report is short.
func TestReport_Bounds(t *testing.T) {
	f := many(20_000)
	for i := range 1000 {
		f.s.Settings = append(f.s.Settings, resource.Setting{Of: "x", Name: fmt.Sprint(i), Value: strings.Repeat("v", 1000), Default: i%2 == 0})
		f.s.Policies = append(f.s.Policies, resource.PolicyState{Moment: "Queue", Type: strings.Repeat("t", 2000), State: "x"})
	}
	f.s.Endpoints = &resource.Endpoints{All: make([]resource.EndpointInfo, 1000)}
	text := textOf(t, pageOf(t, f), "?pool=many")
	if len(text) > 256<<10 || !strings.Contains(text, "968 more") {
		t.Errorf("it has %d bytes:\n%.2000s", len(text), text)
	}
}

// The report is guarded as the page is: other sites, methods and unknown pools get none.
func TestReport_Guard(t *testing.T) {
	f := sample()
	p := pageOf(t, f)
	r := httptest.NewRequest("GET", "/p/report.txt", nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("Sec-Fetch-Mode", "cors")
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	if full, brief := f.times(); w.Code != http.StatusForbidden || full+brief != 0 {
		t.Errorf("another site gets %d, and asks %d times", w.Code, full+brief)
	}
	for _, c := range []struct {
		method, target string
		want           int
	}{
		{"POST", "/p/report.txt", 405}, {"HEAD", "/p/report.txt", 200}, {"GET", "/p/report.txt?pool=nowhere", 404}, {"GET", "/p/report.txt?sort=odd", 400},
	} {
		if r, _ := get(t, p, c.method, c.target); r.StatusCode != c.want || r.Header.Get("Cache-Control") != "no-store" || r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: %s, %v", c.method, c.target, r.Status, r.Header)
		}
	}
}
