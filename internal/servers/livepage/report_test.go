package livepage

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/respool/respool/metrics/live"
)

// may sets whether the page may use the clipboard.
func (b *tab) may(origin, setting string) {
	b.t.Helper()
	b.call("permission", func(ctx context.Context) error {
		for _, name := range []string{"clipboard-write", "clipboard-read"} {
			_, err := chromedp.Call(ctx, browser.SetPermission, browser.SetPermissionParams{
				Permission: &browser.PermissionDescriptor{Name: name}, Setting: browser.PermissionSetting(setting), Origin: origin,
				BrowserContextID: chromedp.FromContext(ctx).BrowserContextID,
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// The report is copied with one button, by the keys too; where the browser does not let the
// page copy it is selected; the text is that of report.txt.
func TestReport(t *testing.T) {
	b := open(t)
	h := showing(t, unwell("broken"), telling("well"))
	b.size(1280, 900, "light")
	b.do(chromedp.Navigate(h.at("?pool=broken")))
	b.until(`document.querySelectorAll("#counters dd").length > 0`)
	b.may("http://"+h.address, "granted")
	const state, text = `document.querySelector("#ticket-state").textContent`, `document.querySelector("#ticket-text").value`
	b.do(chromedp.Focus(chromedp.CSS("#report")), chromedp.KeyEvent(kb.Enter))
	b.until(`document.querySelector("#ticket").open && ` + text + ` !== ""`)
	b.until(state + ` === "The report is in the clipboard."`)
	report := eval[string](b, text)
	if got := eval[string](b, `navigator.clipboard.readText()`); strings.ReplaceAll(got, "\r\n", "\n") != report {
		t.Errorf("in the clipboard is %q", got)
	}
	for _, want := range []string{"respool report of ", "== Pool broken", "outage for", "wspool.Config.URL: wss://host.example/…", "shop.charge (shop/charge.go:88)", "search: 2 connections"} {
		if !strings.Contains(report, want) {
			t.Errorf("%q is not in\n%s", want, report)
		}
	}
	if strings.Contains(report, "secret") || strings.Contains(report, "== Pool well") {
		t.Errorf("the report is\n%s", report)
	}
	if got := eval[string](b, `fetch(document.querySelector("#ticket-link").href).then((r) => r.text())`); !strings.Contains(got, "== Pool broken") || strings.Contains(got, "== Pool well") {
		t.Errorf("as a file it is\n%s", got)
	}
	tree := b.speaks()
	for _, want := range []spoken{{"dialog", "Report for a bug ticket"}, {"textbox", "The report"}, {"button", "Copy"}, {"button", "Close"}, {"link", "As a file"}} {
		if !says(tree, want.role, want.name) {
			t.Errorf("a screen reader does not find %+v in %q", want, tree)
		}
	}
	// Escape closes it, the pool stays, and focus returns to the button.
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until(`!document.querySelector("#ticket").open && document.activeElement.id === "report" && !document.querySelector("#one").hidden`)

	b.may("http://"+h.address, "denied")
	eval[bool](b, `(document.execCommand = () => false, true)`) // as a browser without any way to copy
	b.do(chromedp.KeyEvent(" "))
	b.until(state + `.startsWith("The browser does not let the page copy. The report is selected")`)
	if !eval[bool](b, `(() => { const e = document.querySelector("#ticket-text"); return document.activeElement === e && e.selectionStart === 0 && e.selectionEnd === e.value.length && e.value.length > 500; })()`) {
		t.Error("the report is not selected")
	}
	for _, scheme := range []string{"light", "dark"} {
		b.size(360, 800, scheme)
		b.fits(360, "the report")
		b.keep("#ticket", "report-360-"+scheme)
		if wide := eval[float64](b, `document.querySelector("#ticket").getBoundingClientRect().right`); wide > 360 {
			t.Errorf("on a phone the report is %v wide", wide)
		}
		if low := eval[[]string](b, contrast); len(low) > 0 {
			t.Errorf("%s: hard to read: %q", scheme, low)
		}
	}
	eval[bool](b, `(document.querySelector("#ticket-close").focus(), true)`)
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`!document.querySelector("#ticket").open`)

	// In the overview it is of all pools.
	b.do(chromedp.Navigate(h.at("")))
	b.do(chromedp.WaitVisible(chromedp.CSS("#pools tbody a")))
	b.do(chromedp.Focus(chromedp.CSS("#report")), chromedp.KeyEvent(kb.Enter))
	b.until(text + `.includes("== Pool broken") && ` + text + `.includes("== Pool well")`)
	h.stop()
	b.do(chromedp.KeyEvent(kb.Escape))
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(state + `.startsWith("There is no report: ")`)
	h.serve()
	b.good()
}

// A report that comes after the dialog was opened again, for another pool, is not shown.
func TestReport_OpenedAgain(t *testing.T) {
	b := open(t)
	var asked atomic.Int64
	release := make(chan struct{})
	meters := []live.Meter{telling("first"), telling("second")}
	h := (&host{t: t, every: often, meters: func() []live.Meter { return meters }, between: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/report.txt") && asked.Add(1) == 1 {
				<-release
			}
			next.ServeHTTP(w, r)
		})
	}}).start()
	free := sync.OnceFunc(func() { close(release) })
	t.Cleanup(free)
	b.size(1280, 900, "light")
	b.do(chromedp.Navigate(h.at("?pool=first")))
	b.until(`document.querySelectorAll("#counters dd").length > 0`)
	// A task of its own counts each text that was read, after the page has taken it.
	eval[bool](b, `(() => {
		const ask = window.fetch;
		window.read = 0;
		window.fetch = async (...a) => {
			const r = await ask(...a);
			const text = r.text.bind(r);
			r.text = async () => { const s = await text(); setTimeout(() => window.read++, 0); return s; };
			return r;
		};
		return true;
	})()`)
	const text = `document.querySelector("#ticket-text").value`
	eval[bool](b, `(document.querySelector("#report").click(), document.querySelector("#ticket-close").click(), document.querySelector("#home").click(), true)`)
	b.until(`document.querySelector("#one").hidden`)
	eval[bool](b, `(document.querySelector("#report").click(), true)`)
	b.until(text + `.includes("== Pool second") && read === 1`)
	free()
	b.until(`read === 2`)
	if got := eval[string](b, text); !strings.Contains(got, "== Pool second") {
		t.Errorf("the report is now\n%s", got)
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("%d reports were asked for", n)
	}
	b.good()
}
