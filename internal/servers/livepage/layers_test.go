package livepage

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/respool/respool/metrics"
)

// The charts of shared connections and of endpoints begin with the history of the meter and go
// on with the updates; a call whose fate is lost is a flag with its reason for a minute; a pool
// without either has no such charts.
func TestLayers(t *testing.T) {
	b := open(t)
	m := telling("layers")
	m.s.Multiplexers, m.s.Endpoints = multiplexers("search"), endpoints("192.0.2.2:443")
	m.past = kept(300)
	for i := range m.past.Points {
		k := int64(i)
		m.past.Points[i].Layers = &metrics.Layers{
			Multiplexers: 2, InFlight: 10, Orphans: 5, Waiting: i % 3, Answered: 40 * k, NotSent: 2 * k, MayHaveRun: k / 10,
			Endpoints: 3, Ejected: i / 150, Good: 60 * k, Bad: 4 * k, Refused: k,
		}
		if i < 10 {
			m.past.Points[i].Layers = nil
		}
	}
	h := showing(t, m, telling("plain"))
	b.size(1280, 900, "light")
	b.do(chromedp.Navigate(h.at("?pool=layers")))
	b.until(`(document.querySelector("#shared .moving path.area.leased")?.getAttribute("d") ?? "").split("L").length > 400`)
	for selector, want := range map[string][]string{
		"#shared .moving":    {"Calls in flight, now: in flight 106, orphans 70, waiting for room 12.", "Calls a second, now: answered "},
		"#endpoints .moving": {"Endpoints, now: in use 2, ejected 1.", "Evidence a second, now: good "},
	} {
		got := eval[string](b, `[...document.querySelectorAll("`+selector+` svg")].map((e) => e.getAttribute("aria-label")).join("|")`)
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: %q is not in %q", selector, w, got)
			}
		}
	}
	// A point of the meter, five minutes ago, with its rates: two seconds lie between two.
	got := eval[string](b, `(async () => {
		const { History } = await import("./history.js");
		const h = new History();
		const past = (await (await fetch("history.json?pool=layers")).json());
		h.recall(past.life, past.pools[0]);
		const p = h.points.at(-100);
		return JSON.stringify([h.points[5].s.layers, p.s.layers.in_flight, p.s.layers.ejected, p.layered.answered, p.layered.good, p.layered.bad, p.layered.not_sent]);
	})()`)
	if want := `[null,10,1,20,30,2,1]`; got != want {
		t.Errorf("the history has %s, want %s", got, want)
	}
	// Replies are lost.
	const flags = `[...document.querySelectorAll("#shared .mux")].map((e) => [...e.querySelectorAll(".flag")].map((f) => f.textContent).join("; "))`
	if got := eval[[]string](b, flags); got[0] != "" {
		t.Errorf("a client that is well has the flags %q", got[0])
	}
	m.tell(func(s *metrics.Snapshot) {
		s.Multiplexers = multiplexers("search")
		s.Multiplexers[0].MayHaveRun += 3
	})
	b.until(flags + `[0] === "fate of 3 calls unknown"`)
	if got := eval[string](b, `document.querySelector("#shared .mux .whys").innerText`); !strings.Contains(got, "In the last minute 3 calls failed after they were sent") {
		t.Errorf("the reason is %q", got)
	}
	b.do(chromedp.Navigate(h.at("?pool=plain")))
	b.until(`document.querySelectorAll("#counters dd").length > 0`)
	if n := eval[int](b, `[...document.querySelectorAll(".moving")].filter((e) => e.checkVisibility()).length`); n != 0 {
		t.Errorf("a pool without layers has %d charts of them", n)
	}
	b.good()
}
