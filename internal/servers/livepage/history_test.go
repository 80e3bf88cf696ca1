package livepage

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/respool/respool/metrics/live"
	"github.com/respool/respool/resource"
)

// remembered imports what the page remembers with, and feeds it one summary a
// row: [time, life, every, acquired, waits].
const remembered = `(async (rows) => {
	const { History } = await import("./history.js");
	const h = new History();
	for (const [t, life, every, n, waits] of rows) {
		const counts = { acquired: n, made: n, failed: 0, destroyed: n, unserved: 0, waited: 0 };
		h.add(t, life, every, { leased: 1, counts, wait: { count: waits, zero: waits, first: 0, buckets: [], sum_seconds: 0 } });
	}
	return JSON.stringify({ t: h.points.map((p) => p.t), rate: h.rate("acquired"), minute: h.waits.of("wait")?.count ?? null, kept: h.waits.kept.length });
})`

// Whatever the clock of the server does, and whichever server or pool goes on
// under a name: the points are in order, no rate is below zero, and the last
// minute is one.
func TestHistory(t *testing.T) {
	b := open(t)
	h := (&host{t: t, every: often, meters: func() []live.Meter { return nil }}).start()
	b.do(chromedp.Navigate(h.at("")))
	for rows, want := range map[string]string{
		`[[1,"a",1,10,1],[2,"a",1,20,3],[2,"a",1,99,9],[3,"a",1,30,6]]`:                    `{"t":[1,2,3],"rate":10,"minute":5,"kept":3}`,
		`[[5001,"a",1,10,1],[5002,"a",1,20,2],[1402,"a",1,30,3],[1403,"a",1,45,5]]`:        `{"t":[1402,1403],"rate":15,"minute":2,"kept":2}`, // an hour back
		`[[10,"a",1,10,1],[11,"a",1,20,2],[10.5,"a",1,25,3],[11.5,"a",1,45,7]]`:            `{"t":[10,10.5,11.5],"rate":25,"minute":6,"kept":3}`,
		`[[10,"a",1,10,1],[3610,"a",1,20,2],[3611,"a",1,25,3]]`:                            `{"t":[3610,3611],"rate":5,"minute":1,"kept":2}`, // an hour on
		`[[1,"a",1,900,90],[2,"a",1,990,99],[3,"b",1,5,1],[4,"b",1,8,3]]`:                  `{"t":[1,2,3,4],"rate":3,"minute":2,"kept":2}`,   // restarted
		`[[1,"a",1,900,90],[2,"a",1,990,99],[3,"b",1,2000,200]]`:                           `{"t":[1,2,3],"rate":null,"minute":null,"kept":1}`,
		`[[50,"a",1,900,90],[51,"a",1,990,99],[49,"b",1,5,1],[50,"b",1,8,3]]`:              `{"t":[49,50],"rate":3,"minute":2,"kept":2}`,            // by a server whose clock is behind
		`[[1,"a",1,900,90],[2,"a",1,990,99],[3,"a",1,5,1],[4,"a",1,8,3]]`:                  `{"t":[1,2,3,4],"rate":3,"minute":2,"kept":2}`,          // another pool of the name
		`[[15,"a",15,150,1],[30,"a",15,300,4],[45,"a",15,600,7]]`:                          `{"t":[15,30,45],"rate":15,"minute":6,"kept":3}`,        // seldom
		`[[100,"a",1,100,1],[101,"a",1,200,2],[281,"a",1,300,99],[282,"a",1,310,100]]`:     `{"t":[100,101,281,282],"rate":10,"minute":1,"kept":2}`, // after a pause
		`[[100,"a",1,100,1],[130,"a",1,200,2],[161,"a",1,300,99],[162,"a",1,310,100]]`:     `{"t":[100,130,161,162],"rate":10,"minute":99,"kept":4}`,
		`[[0,"a",20,0,0],[20,"a",20,0,1],[40,"a",20,0,2],[60,"a",20,0,3],[80,"a",20,0,9]]`: `{"t":[0,20,40,60,80],"rate":0,"minute":8,"kept":4}`,
	} {
		if got := eval[string](b, remembered+"("+rows+")"); got != want {
			t.Errorf("%s are remembered as\n%s, want\n%s", rows, got, want)
		}
	}
	b.good()
}

// A page that is open for long keeps each second of the last minute, and of the nine
// before it a point each two seconds: rates stay right, and no spike of a wait is lost.
func TestThin(t *testing.T) {
	b := open(t)
	h := (&host{t: t, every: often, meters: func() []live.Meter { return nil }}).start()
	b.do(chromedp.Navigate(h.at("")))
	got := eval[string](b, `(async () => {
		const { History } = await import("./history.js");
		const h = new History();
		for (let t = 0; t < 900; t++) {
			const counts = { acquired: 3 * t, made: 0, failed: 0, destroyed: 0, unserved: 0, waited: 0 };
			h.add(t, "a", 1, { leased: 1, counts, wait: { count: t, zero: t, first: 0, buckets: [], sum_seconds: 0 } });
			if (t === 401) h.last.p99 = 7;
		}
		const at = h.points.map((p) => p.t);
		return JSON.stringify({
			points: at.length, from: at[0], minute: at.filter((t) => t >= 839).length, apart: Math.max(...at.slice(1).map((t, i) => t - at[i])),
			rates: [...new Set(h.points.slice(1).map((p) => p.rates?.acquired))], spike: Math.max(...h.points.map((p) => p.p99 ?? 0)),
		});
	})()`)
	if want := `{"points":336,"from":290,"minute":61,"apart":2,"rates":[3],"spike":7}`; got != want {
		t.Errorf("it keeps %s, want %s", got, want)
	}
	b.good()
}

// recalled feeds a history with points of the page, each [time, life, acquired], and
// then with what a meter of the life "a" has kept, each [time, acquired].
const recalled = `(async (own, began, kept) => {
	const { History } = await import("./history.js");
	const h = new History();
	const zero = { waited: 0, unserved: 0, made: 0, failed: 0, destroyed: 0 };
	for (const [t, life, n] of own) h.add(t, life, 1, { leased: 1, counts: { ...zero, acquired: n }, wait: { count: 0, zero: 0, first: 0, buckets: [], sum_seconds: 0 } });
	const past = { since: began, every_seconds: 2, t: kept.map((k) => k[0]), levels: { leased: kept.map(() => 2) }, counts: { acquired: kept.map((k) => k[1]) }, failed_by_reason: {} };
	for (let twice = 0; twice < 2; twice++) h.recall("a", past);
	return h.points.map((p) => p.t + (p.joined ? "+" + p.rates.acquired : "")).join(" ") + ", " + h.since(h.last.t, (s) => Math.floor(s));
})`

// What the meter has kept fills what the page has not seen, once, and nothing else.
func TestRecall(t *testing.T) {
	b := open(t)
	h := (&host{t: t, every: often, meters: func() []live.Meter { return nil }}).start()
	b.do(chromedp.Navigate(h.at("")))
	for in, want := range map[string]string{
		`[], 98, [[100,0],[102,6],[104,8]]`:                                                `100 102+3 104+1, since the meter was started 6 ago`,
		`[[104,"a",8],[105,"a",9]], 98, [[100,0],[102,6],[104.3,8]]`:                       `100 102+3 104+1 105+1, since the meter was started 7 ago`,
		`[[100,"a",0],[101,"a",1],[140,"a",80]], 0, [[99,0],[120,40],[122,42],[139.6,79]]`: `100 101+1 120 122+1 140, since this page was opened 40 ago`,   // after a gap
		`[[100,"z",900],[101,"z",901],[110,"a",20]], 102, [[99,0],[104,6],[106,8]]`:        `100 101+1 104 106+1 110+3, since this page was opened 10 ago`, // a restart
		`[[104,"a",3],[105,"a",9]], 98, [[100,50],[102,60]]`:                               `100 102+5 104 105+6, since the meter was started 7 ago`,       // another pool of the name
		`[[1000,"a",9]], 1, [[300,1],[401,2],[403,4]]`:                                     `401 403+1 1000, last 10 minutes`,
	} {
		if got := eval[string](b, recalled+"("+in+")"); got != want {
			t.Errorf("%s is remembered as\n%s, want\n%s", in, got, want)
		}
	}
	b.good()
}

// A page that is opened at night shows the last ten minutes at once: of a pool all
// charts, and of all pools the lines of their acquires. It says how far back they go,
// and of a meter that keeps no history that they begin now.
func TestOpensWithHistory(t *testing.T) {
	b := open(t)
	old, young, none := telling("old"), telling("young"), telling("none")
	old.past, young.past = kept(300), kept(90)
	for _, m := range []*told{old, young} { // its counters go on from there
		for i := range m.past.Points {
			p := &m.past.Points[i]
			p.Acquired += 1e6
			p.Failures.Admission += 1e6
			p.Failures.Canceled += 1e6
		}
		m.s.Acquired, m.s.Failures = 1e6, resource.AcquireFailures{Admission: 1e6, Canceled: 1e6}
	}
	h := showing(t, old, young, none)
	for _, size := range []struct {
		width  int64
		scheme string
	}{{1280, "light"}, {1280, "dark"}, {400, "light"}, {400, "dark"}} {
		b.size(size.width, 800, size.scheme)
		b.do(chromedp.Navigate(h.at("")))
		b.until(`document.querySelectorAll("#pools .spark path").length === 3 && document.querySelector("#pools .spark path").getAttribute("d").split("L").length > 55`)
		if from := eval[float64](b, `parseFloat(document.querySelector("#pools .spark path").getAttribute("d").slice(1))`); from > 4 {
			t.Errorf("%d, %s: the line of acquires begins at %v of 90", size.width, size.scheme, from)
		}
		b.fits(size.width, "all pools")
		for pool, want := range map[string]struct {
			says   string
			points int // at least
		}{"old": {"last 10 minutes", 280}, "young": {"since the meter was started 3 min ", 85}, "none": {"since this page was opened ", 1}} {
			b.do(chromedp.Navigate(h.at("?pool=" + pool)))
			b.until(fmt.Sprintf(`(document.querySelector("#charts .note")?.innerText ?? "").startsWith(%q)`, want.says))
			b.until(fmt.Sprintf(`(document.querySelector("#charts path.leased")?.getAttribute("d") ?? "").split("L").length > %d`, want.points))
			if pool == "none" {
				continue
			}
			// Each chart has what it shows: its first values are read with a key.
			b.do(chromedp.Focus(chromedp.CSS("#charts svg")))
			said := eval[string](b, `(async () => {
				const said = [];
				for (const svg of document.querySelectorAll("#charts svg")) {
					svg.focus();
					for (const key of ["Home", "ArrowRight"]) svg.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
					said.push(svg.getAttribute("aria-label"));
					svg.blur();
				}
				return said.join("\n");
			})()`)
			for _, want := range []string{"leased ", "max 9", "acquires 10", "failed 3.", "gave up 1,", "refused 2,", "p50 1.00 ms", "p99 1.00 s"} {
				if !strings.Contains(said, want) {
					t.Errorf("%s, %d: %q is not in\n%s", pool, size.width, want, said)
				}
			}
			b.fits(size.width, pool)
			if low := eval[[]string](b, contrast); len(low) > 0 {
				t.Errorf("%s, %d, %s: hard to read: %q", pool, size.width, size.scheme, low)
			}
		}
	}
	b.good()
}
