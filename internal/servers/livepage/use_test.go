package livepage

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/live"
	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// Everything that is wrong with a pool is said, in the overview and on its page, and
// why its makes fail.
func TestFlags(t *testing.T) {
	b := open(t)
	m := telling("broken")
	m.s.Load.Abandoned, m.s.Panics, m.s.Overdue = 4, 14, 2
	m.s.Outage, m.s.Since, m.s.LastMake = true, time.Now().Add(-90*time.Second), errors.New("connection refused")
	h := showing(t, m)
	for i, query := range []string{"", "?pool=broken", "", "?pool=broken"} {
		scheme := []string{"light", "dark"}[i/2]
		b.size(1200, 800, scheme)
		b.do(chromedp.Navigate(h.at(query)))
		b.until(`document.querySelector(".flag")?.checkVisibility()`)
		said := eval[string](b, `document.querySelector("main").innerText`)
		for _, want := range []string{"4 creations abandoned", "14 panics", "2 overdue", "outage for ", "connection refused"} {
			if !strings.Contains(said, want) {
				t.Errorf("%q: %q is not said in %.300q", query, want, said)
			}
		}
		if low := eval[[]string](b, contrast); len(low) > 0 {
			t.Errorf("%q, %s: hard to read: %q", query, scheme, low)
		}
	}
	b.good()
}

// Callers that are refused are seen in the overview and on the page of their pool, by
// how many a second and why, whatever the width and the colours.
func TestRefusals(t *testing.T) {
	b := open(t)
	h := serving(t, often)
	p := watched(t, "refusing", resource.Config[*thing]{MaxSize: 1, Admission: policy.AdmissionFunc(
		func(context.Context, resource.Request) (resource.Done, error) { return nil, errBroken })})
	done := make(chan struct{})
	var refused sync.WaitGroup
	refused.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if _, err := p.Acquire(t.Context()); !errors.Is(err, resource.ErrRejected) {
					t.Errorf("not refused: %v", err)
				}
			case <-done:
				return
			}
		}
	})
	defer refused.Wait()
	defer close(done)
	for _, width := range []int64{400, 1200} {
		for _, scheme := range []string{"light", "dark"} {
			b.size(width, 800, scheme)
			b.do(chromedp.Navigate(h.at("")))
			b.until(`/\d.* \/s/.test(document.querySelector("#pools [data-label=Failed].alert")?.innerText ?? "")`)
			b.fits(width, "all pools")
			b.do(chromedp.Navigate(h.at("?pool=refusing")))
			b.until(`/Acquires failed\s+[\d.]+.* \/s/.test(document.querySelector(".tiles .alert")?.innerText ?? "")`)
			b.until(`/admission/.test(document.querySelector("#failedby")?.innerText ?? "")`)
			b.fits(width, "one pool")
			if low := eval[[]string](b, contrast); len(low) > 0 {
				t.Errorf("%d, %s: hard to read: %q", width, scheme, low)
			}
		}
	}
	b.good()
}

// Of a pool that is not there, or of which nothing can be known, it is said; and
// what was known of it stays to be read.
func TestMissing(t *testing.T) {
	b := open(t)
	m := telling("going")
	var there atomic.Bool
	there.Store(true)
	h := &host{t: t, every: often, meters: func() []live.Meter {
		if there.Load() {
			return []live.Meter{m, sick{}}
		}
		return nil
	}}
	h.start()
	const said = `document.querySelector("#missing").innerText`
	const charts = `document.querySelector("#charts").checkVisibility()`
	for query, want := range map[string]string{"?pool=nowhere": "No pool of this name is watched.", "?pool=sick": "This pool cannot be shown: its snapshot panicked: what a day."} {
		b.do(chromedp.Navigate(h.at(query)))
		b.until(fmt.Sprintf(`%s === %q`, said, want))
		if eval[bool](b, charts) {
			t.Errorf("%s: there are charts of nothing", query)
		}
	}
	b.do(chromedp.Navigate(h.at("?pool=going")))
	b.until(`document.querySelectorAll("#counters dd").length > 0`)
	if eval[bool](b, `document.querySelector("#missing").checkVisibility()`) {
		t.Errorf("of a pool that is there it is said: %s", eval[string](b, said))
	}
	there.Store(false)
	b.until(said + ` === "This pool is no longer watched. These are its last figures."`)
	if !eval[bool](b, charts) || eval[string](b, `document.querySelector("#counters dd").textContent`) == "" {
		t.Error("its last figures are not to be seen")
	}
	there.Store(true)
	b.until(`!document.querySelector("#missing").checkVisibility() && !document.querySelector(".lost")`)
	b.good()
}

// A pool that is not in the overview has charts as well.
func TestBeyondOverview(t *testing.T) {
	b := open(t)
	var all []*told
	for i := range 210 {
		all = append(all, telling(fmt.Sprintf("pool %03d", i)))
	}
	h := showing(t, all...)
	b.do(chromedp.Navigate(h.at("?pool=pool+207")))
	b.until(`(document.querySelector("#charts path.line.leased")?.getAttribute("d") ?? "").split("L").length > 4`)
	b.until(`/^[1-9][0-9.]* .s$/.test(document.querySelector(".tiles dd").textContent)`)
	b.good()
}

// While paused a pool can be looked at, as it is at that moment.
func TestPausedElsewhere(t *testing.T) {
	b := open(t)
	m := telling("other")
	h := showing(t, m)
	b.do(chromedp.Navigate(h.at("")))
	b.until(`document.querySelector("#news").textContent === "Live"`)
	b.do(chromedp.KeyEvent("p"))
	b.do(chromedp.Click(chromedp.CSS("#pools tbody a")))
	const begun = `document.querySelector("#counters dd")?.textContent ?? ""`
	b.until(begun + ` !== ""`)
	b.until(`document.querySelector("#news").textContent.startsWith("Paused at ")`)
	before := eval[string](b, begun)
	m.tell(func(s *metrics.Snapshot) { s.Acquired += 1e6 })
	time.Sleep(3 * often) // in which more would come
	if after := eval[string](b, begun); after != before {
		t.Errorf("while paused %s became %s", before, after)
	}
	b.do(chromedp.KeyEvent("p"))
	b.until(begun + ` > "1,000,"`)
	b.good()
}

// What the user chooses is not shown as a lost connection.
func TestChoosing(t *testing.T) {
	b := open(t)
	m := telling("calm")
	m.s.Resources = []resource.ResourceInfo{{Info: resource.Info{ID: 1}}, {Info: resource.Info{ID: 2}, State: resource.Leased}}
	h := showing(t, m)
	b.do(chromedp.Navigate(h.at("?pool=calm")))
	b.until(`document.querySelectorAll("#resources tbody tr").length === 2`)
	eval[bool](b, `(() => {
		window.said = [];
		new MutationObserver(() => said.push(document.querySelector("#news").textContent)).observe(document.querySelector("#news"), { childList: true, subtree: true, characterData: true });
		const s = document.querySelector("#resources select");
		s.value = "leased";
		return s.dispatchEvent(new Event("change"));
	})()`)
	b.until(`document.querySelectorAll("#resources tbody tr").length === 1`)
	b.do(chromedp.Click(chromedp.CSS("#home")))
	b.do(chromedp.WaitVisible(chromedp.CSS("#pools tbody a")))
	b.do(chromedp.Click(chromedp.CSS("#pools tbody a")))
	b.until(`document.querySelectorAll("#resources tbody tr").length === 2`)
	if said := eval[[]string](b, `said`); len(said) != 0 {
		t.Errorf("it was said: %q", said)
	}
	b.good()
}

// Focus stays on what has it, whatever comes and goes around it; and the link
// that skips the head leaves everything as it is.
func TestFocus(t *testing.T) {
	b := open(t)
	m := telling("held")
	lease := func(id uint64, held time.Duration, f string) metrics.Held {
		return metrics.Held{ID: id, Lease: 1, For: held, Stack: []metrics.Frame{{Func: "example.com/shop." + f, File: "/src/shop.go", Line: 1}}}
	}
	a, c, d := lease(1, time.Hour, "first"), lease(2, time.Minute, "second"), lease(3, time.Second, "third")
	m.s.Held = []metrics.Held{a, c, d}
	h := showing(t, m)
	b.do(chromedp.Navigate(h.at("?pool=held")))
	b.until(`document.querySelectorAll(".site").length === 3`)
	b.do(chromedp.Focus(chromedp.CSS(".site:nth-child(2) summary")), chromedp.KeyEvent(kb.Enter))
	const focused = `document.activeElement.closest(".site")?.querySelector("b").textContent`
	for _, held := range [][]metrics.Held{
		{c, d}, {d, c, a}, {lease(4, 2*time.Hour, "fourth"), a, c}, {lease(2, 3*time.Hour, "second"), a, d},
	} {
		for i := range held {
			held[i].For = time.Duration(len(held)-i) * time.Hour
		}
		m.tell(func(s *metrics.Snapshot) { s.Held = held })
		var want []string
		for _, l := range held {
			want = append(want, strings.TrimPrefix(l.Stack[0].Func, "example.com/"))
		}
		b.until(fmt.Sprintf(`[...document.querySelectorAll(".site b")].map((e) => e.textContent).join() === %q`, strings.Join(want, ",")))
		if got := eval[string](b, focused+` ?? document.activeElement.tagName`); got != "shop.second" {
			t.Fatalf("with %v focus is on %s", want, got)
		}
	}
	b.do(chromedp.Focus(chromedp.CSS(".skip")), chromedp.KeyEvent(kb.Enter))
	b.until(`location.hash === "#main" && document.activeElement.id === "main"`)
	if !eval[bool](b, `document.querySelector(".site").open`) {
		t.Error("the link that skips the head closed what was open")
	}
	b.good()
}

// Where no stream can come through, the page says what stands in its way.
func TestTrouble(t *testing.T) {
	b := open(t)
	h := &host{t: t, every: often, meters: func() []live.Meter { return []live.Meter{telling("dim")} }}
	h.between = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(struct{ http.ResponseWriter }{w}, r)
		})
	}
	h.start()
	b.do(chromedp.Navigate(h.at("")))
	b.until(`document.querySelector("#trouble").innerText.includes("has no Flush")`)
	h.stop()
	h.between = nil
	h.serve()
	b.until(`document.querySelector("#news").textContent === "Live" && document.querySelector("#trouble").hidden`)
	b.good()
}

// Whatever a pool is called, its link leads to its page, which says its name,
// and whatever it says of itself, a phone is wide enough.
func TestOddNames(t *testing.T) {
	b := open(t)
	long := strings.Repeat("github.com/example/shop/internal/orders/", 4) + "(*Service[...]).ChargeEverybodyAgainAndAgain.func1.deferwrap2"
	names := []string{
		"a/b/../c", "?pool=x&y=1", "#main", "100%", "%2F%00", `"quoted" 'twice'`, "<b>bold</b>", "&amp;", "a\nb\tc", " edge ", "",
		"\u202eright to left", "\u0645\u062c\u0645\u0648\u0639\u0629", "not\xffUTF-8", "__proto__", "constructor", "\u65e5\u672c\u8a9e", long,
	}
	var all []*told
	for _, name := range names {
		m := telling(name)
		m.s.LastMake = errors.New(long)
		m.s.Resources = []resource.ResourceInfo{{Info: resource.Info{ID: 1, Age: 300 * 24 * time.Hour}, Detail: long, State: resource.Leased}}
		m.s.Held = []metrics.Held{{ID: 1, Lease: 1, For: time.Hour, Class: long, Stack: []metrics.Frame{{Func: long, File: "/src/" + long + "/" + long + ".go", Line: 1}}}}
		m.s.Inspection.Waiting = []resource.WaiterInfo{{Request: resource.Request{Class: long, Priority: -1 << 31}, Waited: time.Hour}}
		m.s.Policies = []resource.PolicyState{{Moment: "Admission", Type: "*" + long, State: long}}
		m.s.Destroyed = map[string]int64{name: 3, long: 1 << 60}
		m.s.Facts = []resource.Fact{{Name: long, Value: 1 << 60}}
		m.s.Events = []metrics.Event{{Time: time.Now(), Kind: long, Text: long}}
		all = append(all, m)
	}
	h := showing(t, all...)
	b.size(360, 800, "light")
	b.do(chromedp.Navigate(h.at("")))
	b.until(fmt.Sprintf(`document.querySelectorAll("#pools tbody a").length === %d`, len(names)))
	b.fits(360, "all pools")
	for i := range names {
		name := eval[string](b, fmt.Sprintf(`(() => { const a = document.querySelectorAll("#pools tbody a")[%d]; a.click(); return a.textContent; })()`, i))
		b.until(fmt.Sprintf(`document.querySelector("h1 bdi")?.textContent === %q && document.querySelectorAll("#resources tbody tr").length === 1`, name))
		b.do(chromedp.Click(chromedp.CSS(".site summary")))
		b.fits(360, name)
		if got := eval[string](b, `getComputedStyle(document.querySelector("h1 bdi")).unicodeBidi`); got != "isolate" {
			t.Errorf("%q turns what stands beside it: %s", name, got)
		}
		b.do(chromedp.Reload()) // by its address alone
		b.until(fmt.Sprintf(`document.querySelector("h1 bdi")?.textContent === %q && document.querySelectorAll("#resources tbody tr").length === 1`, name))
		b.do(chromedp.KeyEvent(kb.Escape))
		b.until(fmt.Sprintf(`document.querySelectorAll("#pools tbody a").length === %d`, len(names)))
	}
	b.good()
}

// Beside a long list there is no void: the cards of a row end on one line, whatever
// they hold. On a phone each is as tall as its list.
func TestRows(t *testing.T) {
	b := open(t)
	m := telling("rows")
	h := showing(t, m)
	many := func(n int) (held []metrics.Held, waiting []resource.WaiterInfo) {
		for i := range n {
			f := metrics.Frame{Func: fmt.Sprintf("example.com/shop.use%d", i), File: "/src/shop.go", Line: i}
			held = append(held, metrics.Held{ID: uint64(i + 1), Lease: 1, For: time.Hour, Stack: []metrics.Frame{f}})
			waiting = append(waiting, resource.WaiterInfo{Waited: time.Duration(n-i) * time.Second})
		}
		return held, waiting
	}
	for _, n := range []struct{ held, waiting int }{{0, 0}, {3, 0}, {0, 40}, {60, 0}, {60, 2}, {60, 40}} {
		m.tell(func(s *metrics.Snapshot) {
			s.Held, _ = many(n.held)
			_, s.Inspection.Waiting = many(n.waiting)
			s.Load.Leased, s.Load.Waiting = n.held, n.waiting
		})
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{1280, 400} {
				b.size(width, 800, scheme)
				b.do(chromedp.Navigate(h.at("?pool=rows")))
				b.until(fmt.Sprintf(`document.querySelectorAll(".site").length === %d && document.querySelectorAll("#waiting tbody tr").length === %d`, n.held, n.waiting))
				b.fits(width, "rows")
				for _, row := range [][2]string{{"#held", "#waiting"}, {"#policies", "#events"}} {
					ends := eval[[]float64](b, fmt.Sprintf(`[%q, %q].flatMap((id) => { const r = document.querySelector(id + " > :last-child").getBoundingClientRect(); return [r.top, r.bottom]; })`, row[0], row[1]))
					apart := max(ends[0]-ends[2], ends[2]-ends[0], ends[1]-ends[3], ends[3]-ends[1])
					if width == 1280 && apart > 1 {
						t.Errorf("%+v, %s: the cards of %v go from %.0f to %.0f and from %.0f to %.0f", n, scheme, row, ends[0], ends[1], ends[2], ends[3])
					}
					for _, tall := range []float64{ends[1] - ends[0], ends[3] - ends[2]} {
						if tall > 26*16 {
							t.Errorf("%+v, %d: a card of %v is %.0f tall", n, width, row, tall)
						}
					}
				}
				if tall := eval[float64](b, `document.querySelector("#waiting > :last-child").offsetHeight`); width == 400 && n.waiting == 0 && tall > 80 {
					t.Errorf("%+v: on a phone an empty list is %.0f tall", n, tall)
				}
			}
		}
	}
	b.good()
}
