package livepage

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"go.uber.org/goleak"

	"github.com/respool/respool/internal/outside"
	"github.com/respool/respool/metrics/live"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(tests{m}) }

// tests close the browser before goleak looks.
type tests struct{ *testing.M }

func (t tests) Run() int {
	code := t.M.Run()
	if shared.stop != nil {
		shared.stop()
	}
	return code
}

// shared is the browser of all tests, which starts with the first one: to start takes more
// time than most tests.
var shared struct {
	ctx  context.Context // nil: it has not started
	stop func()
}

// chromium returns the context of the browser.
func chromium(t *testing.T) context.Context {
	t.Helper()
	program := outside.Program(t, []string{"chromium", "chromium-browser", "google-chrome"}, "chromium")
	if shared.ctx != nil {
		return shared.ctx
	}
	dir, err := os.MkdirTemp("", "livepage-")
	if err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox,
		chromedp.DisableGPU, chromedp.UserDataDir(dir), chromedp.Flag("hide-scrollbars", true))
	all, end := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(all)
	shared.stop = func() {
		closeTab(ctx, log.Printf)
		cancel()
		end()
		if err := os.RemoveAll(dir); err != nil {
			log.Print(err)
		}
	}
	if err := chromedp.Do(ctx); err != nil { // lives as long as ctx
		t.Fatal(err)
	}
	shared.ctx = ctx
	return ctx
}

// closeTab closes a tab, or with the first one the browser, and waits for that.
func closeTab(ctx context.Context, logf func(format string, args ...any)) {
	limit, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if err := chromedp.Cancel(limit); err != nil && !errors.Is(err, context.Canceled) {
		logf("a tab ended with %v", err)
	}
}

// patience is for a browser on a machine that is busy.
const patience = time.Minute

// tab is a page of a browser.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// witness notes in the page what must not happen.
const witness = `window.bad = [];
for (const what of ["error", "unhandledrejection", "securitypolicyviolation"]) {
  addEventListener(what, (e) => bad.push(what + ": " + (e.message ?? e.reason ?? (e.violatedDirective + " " + e.blockedURI))), true);
}`

// open opens a tab of the test's own, in a context of its own: it shares neither storage nor
// permissions with others.
func open(t *testing.T) *tab {
	ctx, cancel := chromedp.NewContext(chromium(t), chromedp.WithNewBrowserContext())
	t.Cleanup(func() {
		closeTab(ctx, t.Logf)
		cancel()
	})
	if err := chromedp.Do(ctx); err != nil { // lives as long as ctx
		t.Fatal(err)
	}
	b := &tab{t: t, ctx: ctx}
	b.call("witness", func(ctx context.Context) error {
		_, err := chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: witness})
		return err
	})
	return b
}

// call runs f with a limit.
func (b *tab) call(what string, f func(ctx context.Context) error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := f(ctx); err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

func (b *tab) do(all ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	b.call("browser", func(ctx context.Context) error { return chromedp.Do(ctx, all...) })
}

// eval returns what an expression of JavaScript is.
func eval[T any](b *tab, expression string) (v T) {
	b.t.Helper()
	b.call(expression, func(ctx context.Context) (err error) {
		v, err = chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
		return err
	})
	return v
}

// until waits for an expression to be true, in the document that there is then: a poll
// ends with its document, which a reload replaces after the action has returned.
func (b *tab) until(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	poll := chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(0))
	_, err := chromedp.Run(ctx, poll)
	for replaced(err) && ctx.Err() == nil {
		_, err = chromedp.Run(ctx, poll)
	}
	if err != nil {
		b.t.Fatalf("%s does not come: %v; the page says:\n%.3000s", expression, err, eval[string](b, "document.body.innerText"))
	}
}

// replaced reports whether err says that the document of a poll is no more.
func replaced(err error) bool {
	var failed *cdproto.Error
	return errors.As(err, &failed) && failed.Code == -32000 && strings.Contains(failed.Message, "context")
}

// good says that nothing was refused by the policy or went wrong in the scripts.
func (b *tab) good() {
	b.t.Helper()
	for _, what := range eval[[]string](b, "window.bad") {
		b.t.Errorf("in the page: %s", what)
	}
}

// size is that of a window, in a colour scheme.
func (b *tab) size(width, height int64, scheme string) {
	b.t.Helper()
	b.call("colour scheme", func(ctx context.Context) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	})
	b.do(chromedp.EmulateViewport(width, height))
}

// host serves a page at an address that outlives it.
type host struct {
	t       *testing.T
	every   time.Duration
	meters  func() []live.Meter             // nil: of the process
	between func(http.Handler) http.Handler // nil: nothing
	address string
	stop    func()
}

// serve begins, at the address of before if there was one. Only its own tests
// know of it, and the kernel chooses the port.
func (h *host) serve() {
	h.t.Helper()
	address := h.address
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		h.t.Fatal(err)
	}
	h.address = l.Addr().String()
	p := live.Handler(live.Config{Every: h.every, Meters: h.meters})
	mux := http.NewServeMux()
	mux.Handle("/debug/pools/", p)
	if h.between != nil {
		mux = http.NewServeMux()
		mux.Handle("/debug/pools/", h.between(p))
	}
	srv := &http.Server{Handler: mux}
	srv.RegisterOnShutdown(p.Close)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			h.t.Error(err)
		}
	}()
	h.stop = func() {
		if err := srv.Close(); err != nil {
			h.t.Error(err)
		}
		p.Close()
		<-ended
	}
}

// serving is a host until the test has ended.
func serving(t *testing.T, every time.Duration) *host {
	return (&host{t: t, every: every}).start()
}

func (h *host) start() *host {
	h.serve()
	h.t.Cleanup(func() { h.stop() })
	return h
}

// at is the address of the page, or of a pool on it.
func (h *host) at(query string) string {
	return fmt.Sprintf("http://%s/debug/pools/%s", h.address, query)
}
