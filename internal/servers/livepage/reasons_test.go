package livepage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// spoken is a node of the accessibility tree, as a screen reader has it.
type spoken struct{ role, name string }

// speaks returns what a screen reader finds on the page.
func (b *tab) speaks() (all []spoken) {
	b.t.Helper()
	b.call("accessibility", func(ctx context.Context) error {
		tree, err := chromedp.Call(ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
		if err != nil {
			return err
		}
		value := func(v *accessibility.Value) (s string) {
			if v != nil {
				_ = json.Unmarshal(v.Value, &s) // of another type than text: ""
			}
			return s
		}
		for _, n := range tree.Nodes {
			if !n.Ignored {
				all = append(all, spoken{value(n.Role), value(n.Name)})
			}
		}
		return nil
	})
	return all
}

// says reports whether a node of that role has a name that contains part.
func says(all []spoken, role, part string) bool {
	for _, n := range all {
		if n.role == role && strings.Contains(n.name, part) {
			return true
		}
	}
	return false
}

// unwell is a pool with something of everything wrong.
func unwell(name string) *told {
	m := telling(name)
	s := &m.s
	s.Load = resource.Load{Max: 4, Leased: 4, Waiting: 3, Abandoned: 1}
	s.OldestWait, s.Overdue, s.Panics, s.Failed = 2300*time.Millisecond, 1, 2, 9
	// While the tests run it stays between 1 h 30 min and 1 h 39 min.
	s.Outage, s.Since, s.LastMake = true, time.Now().Add(-90*time.Minute), errors.New("dial tcp 192.0.2.7:443: connection refused")
	s.Held = []metrics.Held{{ID: 1, Lease: 1, For: time.Hour, Overdue: true, Stack: []metrics.Frame{{Func: "example.com/shop.charge", File: "/src/shop/charge.go", Line: 88}}}}
	s.Settings = []resource.Setting{
		{Of: "wspool.Config", Name: "URL", Value: "wss://host.example/…"}, {Of: "wspool.Config", Name: "KeepAlive", Value: "15s", Default: true},
		{Of: "wspool.Config", Name: "Admission", Value: "*policy.Limiter"}, {Of: "metrics.Config", Name: "Overdue", Value: "30s"},
	}
	s.Multiplexers, s.Endpoints, s.Quotas = multiplexers("search"), endpoints("192.0.2.2:443"), quotas("account")
	s.Events = []metrics.Event{{Time: time.Now(), Kind: "outage", Text: "resource creation is failing"}, {Time: time.Now(), Kind: "made", Text: "resource 1"}}
	return m
}

// Next to everything in red there is a sentence that says why, with the figures, and a link to
// a heading of the documents; with the keys alone, for a screen reader, on a phone, in both
// colour schemes.
func TestReasons(t *testing.T) {
	b := open(t)
	h := showing(t, unwell("broken"), telling("well"))
	for _, scheme := range []string{"light", "dark"} {
		b.size(360, 800, scheme)
		b.do(chromedp.Navigate(h.at("?pool=broken")))
		b.until(`document.querySelectorAll(".head > .whys li").length === 4 && document.querySelectorAll("#endpoints .whys li").length === 3`)
		eval[bool](b, `([...document.querySelectorAll("details")].forEach((e) => { e.open = true; }), true)`)
		b.fits(360, "one pool")
		b.keep("main", "reasons-360-"+scheme)
		if low := eval[[]string](b, contrast); len(low) > 0 {
			t.Errorf("%s: hard to read: %q", scheme, low)
		}
		b.do(chromedp.Navigate(h.at("")))
		b.until(`document.querySelector("#pools .why")?.checkVisibility()`)
		eval[bool](b, `([...document.querySelectorAll("details")].forEach((e) => { e.open = true; }), true)`)
		b.fits(360, "all pools")
		b.keep("main", "reasons-all-360-"+scheme)
		if low := eval[[]string](b, contrast); len(low) > 0 {
			t.Errorf("%s: hard to read: %q", scheme, low)
		}
	}
	// In the overview the reasons open with the keys, and a pool that is well has none.
	b.size(1280, 900, "light")
	b.do(chromedp.Navigate(h.at("")))
	b.until(`document.querySelector("#pools .why")?.checkVisibility()`)
	if n := eval[int](b, `[...document.querySelectorAll("#pools .why")].filter((e) => e.checkVisibility()).length`); n != 1 {
		t.Errorf("%d pools have reasons", n)
	}
	b.do(chromedp.Focus(chromedp.CSS("#pools tbody a")), chromedp.KeyEvent(kb.Tab))
	b.until(`document.activeElement.tagName === "SUMMARY"`)
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`document.querySelector("#pools .why .whys")?.checkVisibility()`)
	said := eval[string](b, `document.querySelector("#pools .why").innerText.replace(/\s+/g, " ")`)
	for _, want := range []string{
		"outage for 1 h 3", "Creation has been failing for 1 h 3", "9 creations have failed", "connection refused", "all leased: 3 callers wait, the first for 2.30 s: 4 of 4 resources are leased.",
		"account: engine lost for 1 min 35 s: No claim of this process", "search: 2 unknown replies: 2 replies had an id", "too few endpoints healthy: 1 of 3 endpoints is",
		"1 overdue: 1 lease is held for longer than Overdue (30s) allows; the longest for 1 h 0 min, acquired in shop.charge (shop/charge.go:88).", "What to do",
	} {
		if !strings.Contains(said, strings.Replace(want, "endpoints is", "endpoints are", 1)) {
			t.Errorf("%q is not in %q", want, said)
		}
	}
	tree := b.speaks()
	if !says(tree, "DisclosureTriangle", "Why broken has a flag or a figure in red") || !says(tree, "link", "What to do about: outage for 1 h 3") {
		t.Errorf("a screen reader finds %q", tree)
	}
	// On the page of the pool each red figure has its reason, and each chip of a part leads to it.
	b.do(chromedp.Navigate(h.at("?pool=broken")))
	b.until(`document.querySelectorAll(".head > .whys li").length === 4`)
	for _, c := range []struct{ where, want string }{
		{".head > .whys", "outage for"}, {".head > .whys", "1 creation abandoned: 1 call of Make has not returned"}, {".head > .whys", "2 panics"},
		{"#shared .quota:nth-child(1)", ""}, {"#quotas", "3 beyond the grant: This process uses 7 of the 4 units"}, {"#shared", "70 orphans: 70 calls were given up"},
		{"#endpoints", "Ejected: 192.0.2.2:443 for 1 min 35 s, after 31 failures and 6 probes"},
	} {
		if got := eval[string](b, fmt.Sprintf(`document.querySelector(%q)?.innerText.replace(/\s+/g, " ") ?? ""`, c.where)); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q is not in %q", c.where, c.want, got)
		}
	}
	for tile, want := range map[string]string{"Waiting callers": "3 callers wait, the first for 2.30 s", "Creations failed": "Creation has been failing"} {
		summary := fmt.Sprintf(`[...document.querySelectorAll(".tiles div")].find((d) => d.firstChild.textContent === %q).querySelector("summary")`, tile)
		eval[bool](b, `(`+summary+`.focus(), true)`)
		b.do(chromedp.KeyEvent(" "))
		b.until(summary + `.parentElement.open`)
		if got := eval[string](b, summary+`.parentElement.innerText`); !strings.Contains(got, want) {
			t.Errorf("%s: %q is not in %q", tile, want, got)
		}
	}
	if eval[bool](b, `[...document.querySelectorAll(".tiles div")].find((d) => d.firstChild.textContent === "Created").querySelector("summary") !== null`) {
		t.Error("a figure that is never red has a reason")
	}
	b.keep("main", "reasons-1280-light")
	jump := `document.querySelector(".head .flags a[href='#quotas']")`
	eval[bool](b, `(`+jump+`.focus(), true)`)
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`location.hash === "#quotas" && !document.querySelector("#one").hidden`)
	b.do(chromedp.Click(chromedp.CSS(".site summary")))
	b.until(`/1 lease acquired here has not ended, the longest for 1 h 0 min/.test(document.querySelector(".site .whys").innerText)`)
	links := eval[[]string](b, `[...document.querySelectorAll(".whys a, .events a")].map((a) => a.href + " " + a.target + " " + a.rel)`)
	if len(links) < 15 {
		t.Errorf("there are only %q", links)
	}
	for _, link := range links {
		if !strings.HasPrefix(link, "https://github.com/respool/respool/blob/main/docs/") || !strings.HasSuffix(link, " _blank noreferrer noopener") || strings.Contains(link, "undefined") {
			t.Errorf("a link leads to %q", link)
		}
	}
	tree = b.speaks()
	for _, want := range []spoken{{"DisclosureTriangle", "Why Waiting callers is red"}, {"link", "What to do about: engine lost for 1 min 35 s"}, {"link", "outage: what to do (opens a new tab)"}} {
		if !says(tree, want.role, want.name) {
			t.Errorf("a screen reader does not find %+v in %q", want, tree)
		}
	}
	b.good()
}

// A figure that turns red and back moves nothing on the page, and a reason that comes and goes
// stays in the overview for a while.
func TestReasons_Still(t *testing.T) {
	b := open(t)
	m := telling("flickers")
	h := showing(t, m)
	b.size(1280, 900, "light")
	b.do(chromedp.Navigate(h.at("?pool=flickers")))
	const red = `[...document.querySelectorAll(".tiles div")].find((d) => d.firstChild.textContent === "Waiting callers").classList.contains("alert")`
	b.until(`document.querySelectorAll("#counters dd").length > 0`)
	const place = `document.querySelector("#charts").getBoundingClientRect().top + scrollY`
	before := eval[float64](b, place)
	for i := range 4 {
		m.tell(func(s *metrics.Snapshot) {
			s.Load.Waiting = 1 - i%2
			if i == 2 {
				s.Load.Leased = s.Load.Max
			}
		})
		b.until(red + fmt.Sprintf(` === %t`, i%2 == 0))
		if now := eval[float64](b, place); now != before {
			t.Fatalf("the charts moved from %v to %v", before, now)
		}
	}
	m.tell(func(s *metrics.Snapshot) { s.Load.Waiting, s.Load.Leased = 1, 0 })
	b.do(chromedp.Navigate(h.at("")))
	b.until(`document.querySelector("#pools .why")?.checkVisibility()`)
	tall := eval[float64](b, `document.querySelector("#pools tbody tr").offsetHeight`)
	m.tell(func(s *metrics.Snapshot) { s.Load.Waiting = 0 })
	b.until(`document.querySelector("#pools [data-label=Waiting] .figure").textContent === "0"`)
	if now := eval[float64](b, `document.querySelector("#pools tbody tr").offsetHeight`); now != tall {
		t.Errorf("the row became %v tall, from %v", now, tall)
	}
	b.do(chromedp.Click(chromedp.CSS("#pools .why summary")))
	b.until(`document.querySelector("#pools .why").innerText.includes("Nothing now.")`)
	b.good()
}

// Every setting is listed with its value, those that are not the default can be listed alone,
// and the settings of a multiplexer follow.
func TestSettings(t *testing.T) {
	b := open(t)
	m := unwell("configured")
	m.s.Multiplexers[1].Settings = []resource.Setting{{Of: "mux.Config", Name: "MaxInFlight", Value: "64"}, {Of: "mux.Config", Name: "GrowAt", Value: "16", Default: true}}
	h := showing(t, m)
	b.size(360, 800, "light")
	b.do(chromedp.Navigate(h.at("?pool=configured")))
	const list = `[...document.querySelectorAll("#settings tbody tr")].map((r) => [...r.children].map((c) => c.innerText).join("|")).join("\n")`
	b.until(`document.querySelectorAll("#settings tbody tr").length === 6`)
	b.fits(360, "settings")
	want := "URL|wss://host.example/…|you|wspool.Config\nKeepAlive|15s|default|wspool.Config\nAdmission|*policy.Limiter|you|wspool.Config\n" +
		"Overdue|30s|you|metrics.Config\nMaxInFlight|64|you|mux.Config of search\nGrowAt|16|default|mux.Config of search"
	if got := eval[string](b, list); got != want {
		t.Errorf("they are\n%s, want\n%s", got, want)
	}
	b.do(chromedp.Focus(chromedp.CSS("#settings input")), chromedp.KeyEvent(" "))
	b.until(`document.querySelectorAll("#settings tbody tr").length === 4`)
	if got := eval[string](b, list); strings.Contains(got, "default") {
		t.Errorf("without defaults they are\n%s", got)
	}
	if tree := b.speaks(); !says(tree, "checkbox", "Only what is not the default") || !says(tree, "columnheader", "Setting") || !says(tree, "region", "Settings") {
		t.Errorf("a screen reader finds %q", tree)
	}
	b.good()
}
