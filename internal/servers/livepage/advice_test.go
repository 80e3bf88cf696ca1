package livepage

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/live"
	"github.com/respool/respool/resource"
)

// sized is a pool whose meter has ten minutes of history: 40 acquires a second that hold a
// resource for about 100 ms, so that four are in use.
func sized(name string) *told {
	m := telling(name)
	m.s.Max, m.s.MinIdle = 5, 1
	m.s.Hold = metrics.Histogram{Count: 24_000, Sum: 40 * time.Minute, First: 105, Buckets: []int64{12_000, 12_000}}
	m.s.Make = metrics.Histogram{Count: 10, Sum: time.Second, First: 105, Buckets: []int64{10}}
	m.past = kept(300)
	for i := range m.past.Points {
		m.past.Points[i].Acquired = int64(80 * i)
		m.past.Points[i].Failures = resource.AcquireFailures{}
		m.past.Points[i].Load = resource.Load{Max: 5, Leased: 4, Idle: 1}
	}
	return m
}

// The advice is that of metrics.Advise for the goal that the reader has chosen, with the keys
// too; the curve is a table as well; and nothing is computed while it is out of sight.
func TestAdvice(t *testing.T) {
	b := open(t)
	m := sized("sized")
	var asked atomic.Int64
	h := (&host{t: t, every: often, meters: func() []live.Meter { return []live.Meter{m} }, between: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/advice.json") {
				asked.Add(1)
			}
			next.ServeHTTP(w, r)
		})
	}}).start()
	b.size(1280, 900, "light")
	b.do(chromedp.Navigate(h.at("?pool=sized")))
	b.until(`document.querySelectorAll("#counters dd").length > 0`)
	points := `(document.querySelector("#charts path.leased")?.getAttribute("d") ?? "").split("L").length`
	seen := eval[int](b, points)
	b.until(fmt.Sprintf(`%s > %d`, points, seen+3)) // some updates
	if n := asked.Load(); n != 0 {
		t.Errorf("out of sight it was asked for %d times", n)
	}
	eval[bool](b, `(document.querySelector("#advice").scrollIntoView(), true)`)
	m.mu.Lock()
	want, err := metrics.Advise(m.s, m.past, metrics.Goal{})
	m.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	const state = `document.querySelector("#advice [role=status]").textContent`
	b.until(state + fmt.Sprintf(` === "The goal needs a MaxSize of %d; it is 5."`, want.MaxSize))
	said := eval[string](b, `document.querySelector("#advice").innerText.replace(/\s+/g, " ")`)
	for _, w := range []string{
		fmt.Sprintf("MaxSize %d ", want.MaxSize), "now 5", fmt.Sprintf("MinIdle %d now 1", want.MinIdle), fmt.Sprintf("Waiting limit %d ", want.MaxWaiting),
		fmt.Sprintf("%d at most", want.Peak), "in 9 min 58 s, 40 a second, with leases of 100 ms on average", fmt.Sprintf("replayed %d times", want.Replays),
	} {
		if !strings.Contains(said, w) {
			t.Errorf("%q is not in %q", w, said)
		}
	}
	for _, d := range want.Doubts {
		if !strings.Contains(said, d) {
			t.Errorf("the doubt %q is not in %q", d, said)
		}
	}
	// The curve, by the keys and as a table.
	b.do(chromedp.Focus(chromedp.CSS("#advice svg")))
	b.do(chromedp.KeyEvent(kb.Home))
	label := `document.querySelector("#advice svg").getAttribute("aria-label")`
	b.until(label + fmt.Sprintf(`.startsWith("Wait by size. %d (now): p99 ")`, want.Curve[0].Size))
	b.do(chromedp.KeyEvent(kb.ArrowRight))
	b.until(label + fmt.Sprintf(`.startsWith("Wait by size. %d")`, want.Curve[1].Size))
	b.do(chromedp.Focus(chromedp.CSS("#advice details summary")), chromedp.KeyEvent(kb.Enter))
	b.until(`document.querySelector("#advice tbody tr")?.checkVisibility()`)
	if rows := eval[int](b, `document.querySelectorAll("#advice tbody tr").length`); rows != len(want.Curve) {
		t.Errorf("%d sizes are in the table, want %d", rows, len(want.Curve))
	}
	marks := eval[string](b, `[...document.querySelectorAll("#advice tbody tr")].filter((r) => r.lastChild.textContent).map((r) => r.firstChild.textContent + " " + r.lastChild.textContent).join()`)
	if want := fmt.Sprintf("5 now,%d advised", want.MaxSize); marks != want {
		t.Errorf("the table marks %q, want %q", marks, want)
	}
	tree := b.speaks()
	for _, want := range []spoken{{"combobox", "Of the callers"}, {"combobox", "wait at most"}, {"combobox", "under"}, {"image", "Wait by size."}, {"DisclosureTriangle", "The curve as a table"}, {"link", "How the advice is made"}} {
		if !says(tree, want.role, want.name) {
			t.Errorf("a screen reader does not find %+v", want)
		}
	}
	// Another goal, chosen with the keys.
	b.do(chromedp.Focus(chromedp.CSS("#advice select[name=wait]")), chromedp.KeyEvent(kb.End))
	b.until(state + ` !== ` + fmt.Sprintf(`"The goal needs a MaxSize of %d; it is 5."`, want.MaxSize))
	m.mu.Lock()
	lenient, err := metrics.Advise(m.s, m.past, metrics.Goal{Wait: 10 * time.Second})
	m.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	b.until(fmt.Sprintf(`document.querySelector("#advice .tiles dd").textContent === "%d"`, lenient.MaxSize))
	if n := asked.Load(); n != 2 {
		t.Errorf("it was asked for %d times for two goals", n)
	}
	b.keep("#advice", "advice-1280-light")
	// It fits on a phone and can be read in both colour schemes.
	for _, scheme := range []string{"light", "dark"} {
		b.size(360, 800, scheme)
		b.until(`document.querySelector("#advice svg").getAttribute("viewBox").split(" ")[2] < 360`)
		b.fits(360, "advice")
		b.keep("#advice", "advice-360-"+scheme)
		if low := eval[[]string](b, contrast); len(low) > 0 {
			t.Errorf("%s: hard to read: %q", scheme, low)
		}
	}
	b.good()
}

// Of a pool that has hardly been used the panel says that too little was measured.
func TestAdvice_TooLittle(t *testing.T) {
	b := open(t)
	m := telling("idle")
	m.past = metrics.History{Since: time.Now()}
	h := showing(t, m)
	b.size(1280, 900, "light")
	b.do(chromedp.Navigate(h.at("?pool=idle")))
	b.until(`document.querySelectorAll("#counters dd").length > 0`)
	eval[bool](b, `(document.querySelector("#advice").scrollIntoView(), true)`)
	b.until(`document.querySelector("#advice [role=status]").textContent.startsWith("There is no advice yet: metrics: too little was measured")`)
	b.good()
}

// Leaving a pool gives up its advice, so that the server need not compute it.
func TestAdvice_Left(t *testing.T) {
	b := open(t)
	began, ended := make(chan struct{}, 100), make(chan struct{}, 100)
	m := sized("sized")
	h := (&host{t: t, every: often, meters: func() []live.Meter { return []live.Meter{m} }, between: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/advice.json") {
				began <- struct{}{}
				<-r.Context().Done()
				ended <- struct{}{}
				return
			}
			next.ServeHTTP(w, r)
		})
	}}).start()
	after := func(c chan struct{}, what string) {
		t.Helper()
		select {
		case <-c:
		case <-time.After(patience):
			t.Fatalf("no request for advice has %s", what)
		}
	}
	b.size(1280, 900, "light")
	b.do(chromedp.Navigate(h.at("?pool=sized")))
	b.until(`document.querySelectorAll("#counters dd").length > 0`)
	eval[bool](b, `(document.querySelector("#advice").scrollIntoView(), true)`)
	after(began, "begun")
	eval[bool](b, `(document.querySelector("#home").click(), true)`)
	after(ended, "ended")
	b.good()
}
