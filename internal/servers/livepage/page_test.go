package livepage

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/respool/respool/resource"
)

// often is how often pages are updated, so that no test waits for a second.
const often = 200 * time.Millisecond

// figures are what the page says under "Counters since start", and in the
// legend of the levels.
const figures = `JSON.stringify(Object.fromEntries([
  ...[...document.querySelectorAll("#counters .counters div")].map((d) => [d.firstChild.textContent, d.lastChild.textContent]),
  ...[...document.querySelectorAll(".head .legend li")].map((d) => [d.textContent.replace(/[0-9,]+/, "").trim(), d.querySelector("b").textContent]),
  ["waiting", [...document.querySelectorAll(".tiles div")].find((d) => d.firstChild.textContent === "Waiting callers").children[1].textContent],
]))`

// The numbers on the page are those of the pool.
func TestNumbers(t *testing.T) {
	b := open(t)
	h := serving(t, often)
	p := watched(t, "numbers", resource.Config[*thing]{MaxSize: 6})
	b.do(chromedp.Navigate(h.at("?pool=numbers")))
	b.until(`document.querySelector("#news").textContent === "Live"`)
	work(t, p, 20, 60)
	lease, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	s := settled(t, p)
	want := map[string]int64{
		"leases begun": s.Acquired, "leases ended": s.Released, "acquires that waited": s.Waited, "canceled by the caller": s.Canceled,
		"acquires failed": s.Failures.Total(), "refused by a policy": s.Rejected, "created": s.Made, "creations failed": s.Failed, "creations refused": s.Refused,
		"destroyed": s.Destroyed, "hijacked": s.Hijacked, "evicted": s.Evicted, "found unhealthy": s.Unhealthy,
		"invalidated": s.Invalidated, "panics contained": s.Panics, "leased": int64(s.Leased), "idle": int64(s.Idle),
		"being created": int64(s.Making), "being destroyed": int64(s.Destroying), "of": int64(s.Max), "waiting": int64(s.Waiting),
	}
	if s.Leased != 1 || s.Acquired < 500 || s.Waited == 0 || s.Destroyed == 0 {
		t.Errorf("the work shows too little: %v", s)
	}
	b.until(fmt.Sprintf(`JSON.parse(%s)["leases begun"] === %q`, figures, thousands(s.Acquired)))
	got := eval[string](b, figures)
	for label, n := range want {
		if !strings.Contains(got, fmt.Sprintf("%q:%q", label, thousands(n))) {
			t.Errorf("%s should be %s in %s", label, thousands(n), got)
		}
	}
	if rows := eval[int](b, `document.querySelectorAll("#resources tbody tr").length`); rows != s.Idle+s.Leased {
		t.Errorf("%d resources are listed, not %d", rows, s.Idle+s.Leased)
	}
	// What the page computes from buckets is in the same bucket as what the meter
	// computes from their quarters, so the two differ by its width at most.
	const width = math.Ln2 / 4
	ratio := eval[float64](b, `Promise.all([import("./history.js"), fetch("pool.json?pool=numbers").then((r) => r.json())]).then(([m, d]) =>
		Math.max(...["p50", "p90", "p99"].map((q) => Math.abs(Math.log(m.quantile(d.pool.hold, +q.slice(1) / 100) / d.pool.hold[q])))))`)
	if ratio > width {
		t.Errorf("a quantile of the page is in another bucket than the meter's: it differs by %.1f %%", 100*(math.Exp(ratio)-1))
	}
	b.good()
}

// A leak is on the page, with the function that leaks, where it is, and for
// how long.
func TestLeak(t *testing.T) {
	b := open(t)
	h := serving(t, often)
	p := watched(t, "leaky", resource.Config[*thing]{MaxSize: 4, SampleLeases: 1})
	for range 2 {
		defer forgetful(t, p).Release()
	}
	b.do(chromedp.Navigate(h.at("")))
	b.do(chromedp.WaitVisible(chromedp.CSS("#pools tbody a")))
	b.do(chromedp.Focus(chromedp.CSS("#pools tbody a")), chromedp.KeyEvent(kb.Enter)) // as without a mouse
	b.until(`document.querySelector(".site summary .flag")?.textContent === "overdue"`)
	said := eval[string](b, `document.querySelector(".site summary").textContent`)
	for _, want := range []string{"livepage.forgetful", "livepage/fixtures_test.go:", "2 leases, longest "} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in %q", want, said)
		}
	}
	b.do(chromedp.Click(chromedp.CSS(".site summary")))
	b.do(chromedp.WaitVisible(chromedp.CSS(".site .stack .own")))
	inside := eval[string](b, `document.querySelector(".site .inside").innerText`)
	for _, want := range []string{"livepage.forgetful", "livepage.TestLeak", "nightly", "overdue"} {
		if !strings.Contains(inside, want) {
			t.Errorf("%q is not in %q", want, inside)
		}
	}
	// The list of resources shows it too, with the function that acquired.
	b.until(`/leased, overdue.*nightly: livepage.forgetful/s.test(document.querySelector("#resources tbody")?.innerText ?? "")`)
	// Both show the ordinal of the lease, which Reclaim needs.
	for _, in := range []string{".site .inside", "#resources"} {
		row := eval[string](b, `(() => {
			const at = [...document.querySelectorAll("`+in+` thead th")].findIndex((th) => th.textContent.startsWith("Lease") && !th.textContent.startsWith("Leases"));
			const cells = document.querySelectorAll("`+in+` tbody tr")[0].children;
			return cells[0].textContent + " " + cells[at]?.textContent;
		})()`)
		var id, lease uint64
		if _, err := fmt.Sscan(row, &id, &lease); err != nil || !slices.ContainsFunc(p.Inspect(9).Resources, func(r resource.ResourceInfo) bool {
			return r.ID == id && r.Lease == lease && lease > 0
		}) {
			t.Errorf("%s has resource and lease %q, of %+v", in, row, p.Inspect(9).Resources)
		}
	}
	b.good()
}

// Nothing that others named is run, or is an element of the page.
func TestHostileNames(t *testing.T) {
	b := open(t)
	h := serving(t, often)
	const hostile = `<img src=x onerror=window.pwned=1><script>window.pwned=1</script>"'>`
	p := watched(t, hostile, resource.Config[*thing]{
		MaxSize: 2, SampleLeases: 1,
		Describe: func(*thing) string { return hostile },
		Make: func(ctx context.Context) (*thing, error) {
			if ctx.Value(failing{}) != nil {
				return nil, errors.New(hostile)
			}
			return &thing{}, nil
		},
	})
	l, err := p.AcquireWith(t.Context(), resource.Request{Class: hostile})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	// It waits for the lease that is out, and learns the cause when its time ends.
	ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), failing{}, true), 100*time.Millisecond)
	defer cancel()
	var failed *resource.AcquireError
	if _, err := p.AcquireWith(ctx, resource.Request{Class: hostile}); !errors.As(err, &failed) || failed.LastMake == nil {
		t.Fatalf("the make did not fail: %v", err)
	}
	for _, query := range []string{"", "?" + url.Values{"pool": {hostile}}.Encode(), "?pool=%3Cimg%20src=x%20onerror=window.pwned=1%3E"} {
		b.do(chromedp.Navigate(h.at(query)))
		b.until(`document.querySelector("#news").textContent === "Live"`)
		if strings.HasPrefix(query, "?"+url.Values{"pool": {hostile}}.Encode()) {
			b.until(`document.querySelector("h1").textContent.startsWith("<img src=x")`)
			b.until(`document.querySelector("#resources tbody").textContent.includes("<script>")`)
			b.until(`document.querySelector(".cause").textContent.includes("<img src=x")`)
		} else if query == "" {
			b.until(`document.querySelector("#pools tbody a").textContent.startsWith("<img src=x")`)
		}
		if n := eval[int](b, `document.querySelectorAll("main img, main script, main style, main iframe").length`); n != 0 {
			t.Errorf("%s: %d elements came out of a name", query, n)
		}
		if eval[bool](b, `"pwned" in window`) {
			t.Errorf("%s: a name was run", query)
		}
		b.good()
	}
	// The content security policy keeps a script from making an element of it.
	got := eval[string](b, `(() => {
		try {
			document.createElement("div").innerHTML = "<img src=x onerror='window.pwned=1'>";
			return "it was made";
		} catch (e) {
			return e.name;
		}
	})()`)
	if got != "TypeError" {
		t.Errorf("the policy did not keep a text from becoming HTML: %s", got)
	}
}

type failing struct{}

// The page outlives its server: it says that it waits, and goes on by itself
// with the charts that it had.
func TestRestart(t *testing.T) {
	b := open(t)
	h := serving(t, often)
	p := watched(t, "restarted", resource.Config[*thing]{MaxSize: 3})
	work(t, p, 4, 20)
	b.do(chromedp.Navigate(h.at("?pool=restarted")))
	const points = `(document.querySelector("#charts path.leased")?.getAttribute("d") ?? "").split("L").length`
	b.until(points + ` > 8`)
	h.stop()
	b.until(`document.querySelector("#news").textContent === "Reconnecting"`)
	before := eval[int](b, points)
	h.serve()
	work(t, p, 4, 20)
	b.until(`document.querySelector("#news").textContent === "Live"`)
	b.until(fmt.Sprintf(`JSON.parse(%s)["leases begun"] === %q`, figures, thousands(p.Stats().Acquired)))
	if after := eval[int](b, points); after < before {
		t.Errorf("of a chart of %d points there are %d after the restart", before, after)
	}
	if n := eval[int](b, `document.querySelectorAll("#charts .breaks line").length`); n == 0 {
		t.Error("the charts do not show that there was a restart")
	}
	b.good()
}

// Everything can be done with the keys, and paused is paused.
func TestKeys(t *testing.T) {
	b := open(t)
	h := serving(t, often)
	p := watched(t, "keys", resource.Config[*thing]{MaxSize: 3})
	b.do(chromedp.Navigate(h.at("?pool=keys")))
	b.until(`document.querySelector("#counters dd")?.textContent === "0"`)
	b.do(chromedp.KeyEvent("p"))
	b.until(`document.querySelector("#news").textContent.startsWith("Paused at ")`)
	work(t, p, 2, 10)
	b.do(chromedp.KeyEvent("w"))
	if !eval[bool](b, `document.querySelector("input[name=span][value=all]").checked`) {
		t.Error("w does not change what latencies are of")
	}
	if got := eval[string](b, `document.querySelector("#counters dd").textContent`); got != "0" {
		t.Errorf("while paused a figure became %s", got)
	}
	b.do(chromedp.KeyEvent("p"))
	b.until(fmt.Sprintf(`document.querySelector("#counters dd").textContent === %q`, thousands(p.Stats().Acquired)))
	b.do(chromedp.KeyEvent("/"))
	b.until(`document.activeElement.id === "findresource"`)
	b.do(chromedp.KeyEvent("p")) // a letter of what is looked for
	b.until(`document.querySelectorAll("#resources tbody tr").length === 0`)
	b.do(chromedp.KeyEvent(kb.Escape), chromedp.KeyEvent(kb.Escape))
	b.until(`!document.querySelector("#pools").hidden && document.querySelector("#one").hidden`)
	b.do(chromedp.NavigateBack())
	b.until(`document.querySelector("h1")?.textContent === "keys" && !document.querySelector("#one").hidden`)
	// Where focus goes it can be seen, and every figure of the charts can be read.
	unseen := eval[[]string](b, `[...document.querySelectorAll("a, button, select, input, summary, [tabindex='0']")].filter((e) => e.checkVisibility()).filter((e) => {
		e.focus({ focusVisible: true });
		const s = getComputedStyle(e.type === "radio" ? e.nextElementSibling : e);
		return document.activeElement === e && (s.outlineStyle === "none" || parseFloat(s.outlineWidth) < 1);
	}).map((e) => e.outerHTML.slice(0, 80))`)
	if len(unseen) > 0 {
		t.Errorf("focus cannot be seen on %q", unseen)
	}
	b.until(`document.querySelector("#charts svg").getAttribute("aria-label")?.includes(", now")`) // there are figures to choose from
	b.do(chromedp.Focus(chromedp.CSS("#charts svg")), chromedp.KeyEvent(kb.ArrowLeft))
	b.until(`document.querySelector("#charts svg").getAttribute("aria-label").includes(", at ")`)
	b.good()
}

// No width makes the page wider than the window, and every control has a name.
func TestWidths(t *testing.T) {
	b := open(t)
	h := serving(t, often)
	p := watched(t, "a pool with a long name: wss://inference.eu-central-1.example.com/"+strings.Repeat("x", 40), resource.Config[*thing]{MaxSize: 3})
	work(t, p, 4, 20)
	for _, width := range []int64{360, 768, 1200, 2400} {
		for _, scheme := range []string{"light", "dark"} {
			b.size(width, 800, scheme)
			b.do(chromedp.Navigate(h.at("")))
			b.do(chromedp.WaitVisible(chromedp.CSS("#pools tbody a")))
			b.fits(width, "all pools")
			b.do(chromedp.Click(chromedp.CSS("#pools tbody a")))
			b.until(`document.querySelectorAll("#resources tbody tr").length > 0`)
			b.fits(width, "one pool")
			name := eval[string](b, `[...document.querySelectorAll("input, select, button, a, svg[role=img], [role=region]")].filter((e) => e.checkVisibility() &&
				!(e.getAttribute("aria-label") || e.labels?.[0]?.textContent.trim() || e.textContent.trim())).map((e) => e.outerHTML.slice(0, 80)).join()`)
			if name != "" {
				t.Errorf("without a name: %s", name)
			}
			// Text can be read on what it stands on.
			if low := eval[[]string](b, contrast); len(low) > 0 {
				t.Errorf("%s: hard to read: %q", scheme, low)
			}
		}
	}
	b.good()
}

func (b *tab) fits(width int64, what string) {
	b.t.Helper()
	if wide := eval[int64](b, `document.documentElement.scrollWidth`); wide > width {
		b.t.Errorf("%s: %d wide in a window of %d", what, wide, width)
	}
}

// contrast are texts with less than 4.5 : 1 to their ground.
const contrast = `(() => {
	const rgb = (c) => (c.match(/[\d.]+/g) ?? []).map(Number);
	const lum = (c) => c.slice(0, 3).map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const ground = (e) => {
		for (; e; e = e.parentElement) {
			const c = rgb(getComputedStyle(e).backgroundColor);
			if (c.length === 3) return c;
		}
		return [255, 255, 255];
	};
	const low = new Set();
	for (const e of document.querySelectorAll("body *")) {
		if (!e.checkVisibility() || e.closest("svg") || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
		const [a, b] = [lum(rgb(getComputedStyle(e).color)), lum(ground(e))];
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < 4.5) low.add(ratio.toFixed(1) + " " + e.textContent.slice(0, 40));
	}
	return [...low];
})()`
