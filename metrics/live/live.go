// Package live shows pools in a browser, as they are now:
//
//	http.Handle("/debug/pools/", live.Handler(live.Config{}))
//
// The page has all pools at a glance, and then one: its levels, rates and
// latencies as charts that move, every resource, who holds what for how long
// and from where in the code, who waits, the policies with what they say of
// themselves, and the last events. Everything it needs comes from the handler.
//
// Whoever may open the page sees names of pools and classes, what
// [resource.Config] Describe says, texts of errors, and names and lines of
// functions; and can change nothing. Mount it where the profiles of
// net/http/pprof would be mounted: on a port of its own, or behind a login.
// A port of localhost is no login: where somebody browses the web on the same
// machine, a site whose name leads to 127.0.0.1 (DNS rebinding) is served as if
// it were that port. There, let no Host pass that you do not know, as the mux
// pattern "localhost/debug/pools/" does.
//
// Below the path of the page are
//
//	pools.json           {"time", "pools", "more"}: all pools, without lists
//	pool.json?pool=NAME  {"pool", "matched"}: one pool, with its lists
//	events               what the page reads, for the page alone
//	history.json         what its charts begin with, for the page alone
//
// where a pool is what [metrics.Snapshot] is in JSON, more is how many pools are
// left out, and matched how long the lists were before Config.Limit cut them.
// pools.json takes find=TEXT, a part of the name. pool.json takes, for its list
// of resources, state (idle, leased, checking or invalidated), find (in the id, the
// state, the detail or the reason) and sort (id, age, idle, held or leases).
package live

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/internal/text"
)

// Meter is a pool that is watched. A *metrics.Meter is one.
type Meter interface {
	// Snapshot returns lists of at most limit entries, and with 0 none. It is
	// called by several goroutines at once. A panic in it is shown in the
	// place of the pool.
	Snapshot(limit int) metrics.Snapshot
}

// Config is what a page shows, and how. The zero value shows every pool that a
// meter watches, once a second.
type Config struct {
	// Meters returns the pools to be shown, in their order. It is called for
	// each update, by several goroutines at once. Nil: [metrics.All]. Of
	// several with one name, those behind the first are shown with a number. A
	// panic in it is shown in the place of the pools.
	Meters func() []Meter
	// Every is the time between two updates. Zero: a second. Less than a
	// tenth of a second is taken as that. It is longer where an update takes
	// more than a tenth of it.
	Every time.Duration
	// Limit is how many entries of each list the page shows of one pool. Zero
	// or less: 100. More than 10,000 are not looked at. Different views that are
	// watched at the same time share 20,000.
	Limit int
}

const (
	defaultEvery = time.Second
	leastEvery   = time.Second / 10
	defaultLimit = 100
	scanned      = 10_000 // entries that are looked through for those that are shown
	maxPools     = 200    // shown at a glance
	maxViewers   = 100    // who watch at once
	maxViews     = 32     // different views watched at once
	maxRows      = 20_000 // of each list, in all frames of one update together
	leastStay    = 30 * time.Second
	slowest      = 10 * time.Second
	idleShare    = 10 // of the time that updates take, in all
)

//go:embed page
var files embed.FS

// headers are sent with every answer. Nothing inline runs, no text becomes HTML,
// nothing comes from elsewhere, and nobody else can frame, embed or keep any of it.
var headers = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
		"img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; " +
		"require-trusted-types-for 'script'; trusted-types 'none'",
	"X-Content-Type-Options":       "nosniff",
	"Cache-Control":                "no-store",
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
}

var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// Page is a handler that shows pools. Its methods may be called by many
// goroutines at once.
type Page struct {
	cfg  Config
	life string // tells the pages of this process from those of an earlier one

	mu      sync.Mutex
	viewers map[*viewer]struct{}
	turns   uint64     // viewers so far
	now     *collector // nil: nobody watches
	shut    bool

	turn       chan struct{} // of the collector that collects
	asking     chan struct{} // of who answers with JSON
	closed     chan struct{}
	collectors sync.WaitGroup
}

// Handler returns a page to be mounted under any path that ends in a slash,
// with or without http.StripPrefix. It costs nothing while nobody watches; while
// somebody does, one goroutine takes a snapshot of each pool for all of them.
//
// A page that is open keeps its request open, which http.Server.Shutdown waits
// for; so call srv.RegisterOnShutdown(page.Close).
func Handler(cfg Config) *Page {
	if cfg.Meters == nil {
		cfg.Meters = registered
	}
	if cfg.Every == 0 {
		cfg.Every = defaultEvery
	}
	cfg.Every = max(cfg.Every, leastEvery)
	if cfg.Limit <= 0 {
		cfg.Limit = defaultLimit
	}
	cfg.Limit = min(cfg.Limit, scanned)
	return &Page{
		cfg:     cfg,
		life:    strconv.FormatInt(time.Now().UnixNano(), 36),
		viewers: make(map[*viewer]struct{}),
		turn:    make(chan struct{}, 1),
		asking:  make(chan struct{}, 1),
		closed:  make(chan struct{}),
	}
}

// Close ends every stream and the collector, and waits for the collector, which
// may have begun a last update. The rest of the page still answers. It may be
// called more than once.
func (p *Page) Close() {
	p.mu.Lock()
	if !p.shut {
		p.shut = true
		close(p.closed)
	}
	p.rest()
	p.mu.Unlock()
	p.collectors.Wait()
}

// ServeHTTP answers GET and HEAD. A prefix that it does not know stands before
// every path, so that only the last element counts.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for name, value := range headers {
		w.Header().Set(name, value)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this page can only be looked at", http.StatusMethodNotAllowed)
		return
	}
	if foreign(r) {
		http.Error(w, "only this page itself may ask", http.StatusForbidden)
		return
	}
	switch name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]; name {
	case "":
		if to := slashed(r); r.URL.Path == "" && to != "" { // StripPrefix left nothing
			redirect(w, to)
			return
		}
		p.file(w, r, "index.html")
	case "pools.json":
		p.serveJSON(w, r, func(u *update, v view) (any, bool) { return u.plainPools(v.find), true })
	case "pool.json":
		p.serveJSON(w, r, func(u *update, v view) (any, bool) { return u.plainPool(v) })
	case "history.json":
		p.serveJSON(w, r, func(u *update, v view) (any, bool) { return u.past(v) })
	case "events":
		p.events(w, r)
	default:
		if to := slashed(r); !strings.Contains(name, ".") && to != "" {
			redirect(w, to)
			return
		}
		p.file(w, r, name)
	}
}

// foreign reports that a browser asks for another site, which could not read the
// answer, but have the work done. It may have a link to the page.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document"
	}
	return false
}

// slashed is where a page is whose slash is missing, without which its links
// lead elsewhere; else "". It goes by what the browser asked for, of which a mux
// may have cut a part.
func slashed(r *http.Request) string {
	asked, err := url.ParseRequestURI(r.RequestURI)
	if err != nil || strings.HasSuffix(asked.Path, "/") {
		return ""
	}
	to := url.URL{Path: "./" + path.Base(asked.Path) + "/", RawQuery: asked.RawQuery}
	return to.String()
}

// redirect says it as it is: http.Redirect would go by the path that was cut.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusPermanentRedirect)
}

func (p *Page) file(w http.ResponseWriter, r *http.Request, name string) {
	text, err := fs.ReadFile(files, "page/"+name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", types[path.Ext(name)])
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(text))
}

// errUnknown is what is asked of a pool that is not there.
var errUnknown = errors.New("no such pool")

func (p *Page) serveJSON(w http.ResponseWriter, r *http.Request, answer func(u *update, v view) (any, bool)) {
	v, err := parseView(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	select { // one at a time: more would only take more of the process
	case p.asking <- struct{}{}:
	case <-r.Context().Done():
		return
	}
	body, err := p.look(v, answer)
	<-p.asking
	switch {
	case errors.Is(err, errUnknown):
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	case err != nil:
		http.Error(w, "a snapshot cannot be shown: "+text.Of(err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		_, _ = io.Copy(w, bytes.NewReader(body)) // who is gone need not be told
	}
}

// look is what serveJSON answers. It contains a panic.
func (p *Page) look(v view, answer func(u *update, v view) (any, bool)) (text []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panicked: %v", r)
		}
	}()
	a, ok := answer(p.update(), v)
	if !ok {
		return nil, errUnknown
	}
	return encode(a)
}
