// Package live serves a web page that shows the pools of the process as they are now
// and in the last ten minutes:
//
//	http.Handle("/debug/pools/", live.Handler(live.Config{}))
//
// The overview lists all pools. The page of one pool has charts of its levels, rates and
// latencies, every resource, the leases that are held, for how long and by which code,
// the waiting callers, the endpoints over which the pool is spread, the connections that are
// shared among calls, the quotas that it shares with other processes, the policies with their
// states, the settings with those that are not the default, and the last events. Where
// something is wrong it says why, with the figures, and links to the document that says what
// to do. A panel recommends sizes for the pool, as [metrics.Advise] does. The handler serves
// everything that the page needs.
// The charts begin with the [metrics.History] that each meter keeps, and say how far back
// they go.
//
// The page shows names of pools and classes, the result of [resource.Config] Describe,
// names and lines of functions, of settings numbers and names of functions and types, and texts
// of errors, panics, events and policies. From these texts what looks like a secret is removed;
// a secret that does not look like one stays, and so do names, classes and descriptions as the
// program gave them. The page changes nothing. Restrict access
// to it as to the profiles of net/http/pprof: mount it on a port of its own, or behind a
// login. A port of localhost is not a login: through DNS rebinding, a site that is open
// in a browser on the same machine can read it. There, accept known values of Host
// alone, as the mux pattern "localhost/debug/pools/" does.
//
// Below the path of the page are
//
//	pools.json           {"time", "pools", "more"}: all pools, without lists
//	pool.json?pool=NAME  {"pool", "matched"}: one pool, with its lists
//	report.txt           a text for the ticket of a bug; report.txt?pool=NAME of one pool. Read it
//	                     before you publish it: a secret that does not look like one stays
//	events               the stream that feeds the page; its format may change
//	history.json         the histories that the charts begin with; its format may change
//	advice.json          what metrics.Advise recommends for a pool; its format may change
//
// A pool is a [metrics.Snapshot] in JSON, more is the number of pools that are left out,
// and matched has the lengths of the lists before Config.Limit cut them. pools.json
// takes find=TEXT, a part of the name. pool.json takes, for its list of resources, state
// (idle, leased, checking or invalidated), find (in the id, the state, the detail or the
// reason) and sort (id, age, idle, held or leases).
package live

import (
	"bytes"
	"context"
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

// Meter is the source of the figures of a pool, such as a *metrics.Meter. If it has a
// method History() [metrics.History] as that has, the charts begin with that history.
type Meter interface {
	// Snapshot returns lists of at most limit entries; none if limit is 0. It is
	// called concurrently. A panic in it is shown instead of the pool.
	Snapshot(limit int) metrics.Snapshot
}

// Config configures a [Page]. The zero Config shows [metrics.All], once a second.
type Config struct {
	// Meters returns the pools to show, in their order. It is called for each
	// update, concurrently. Nil means [metrics.All]. The second and later pools of
	// one name get a number. A panic in it is shown instead of the pools.
	Meters func() []Meter
	// Every is the time between two updates, at least 100 ms. Zero means a second. If
	// an update takes more than a tenth of Every, the time is longer.
	Every time.Duration
	// Docs is the address before the names of the documents to which the page links where
	// something is wrong, such as operating.md#what-an-outage-looks-like, with the schemes http
	// or https, or a path on this server. A user and password in it are removed. Empty, and
	// anything else: those of the repository on GitHub.
	Docs string
	// Limit is the number of entries that the page shows of each list of one pool, at
	// most 10,000. Zero or less means 100. Different views that are open at the same
	// time share 20,000 entries.
	Limit int
}

const (
	defaultEvery = time.Second
	leastEvery   = time.Second / 10
	defaultLimit = 100
	scanned      = 10_000 // entries that are searched for those that are shown
	maxPools     = 200    // pools in the overview
	maxViewers   = 100    // streams
	maxViews     = 32     // different views of these streams
	maxRows      = 20_000 // entries of each list, in all frames of one update together
	leastStay    = 30 * time.Second
	slowest      = 10 * time.Second
	idleShare    = 10 // updates take at most 1/idleShare of the time
)

//go:embed page
var files embed.FS

// headers are sent with every answer. No inline code runs, no text becomes HTML, nothing
// is loaded from another origin, and no other site can frame, embed or cache the page.
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

// Page is the handler. It is safe for concurrent use.
type Page struct {
	cfg  Config
	life string // unlike that of a page of an earlier process

	mu      sync.Mutex // guards the fields up to shut
	viewers map[*viewer]struct{}
	turns   uint64     // viewers so far
	now     *collector // nil: there is no viewer
	shut    bool

	advices *adviser

	turn       chan struct{} // held by the collector that runs
	asking     chan struct{} // held by the request that is answered with JSON
	closed     chan struct{}
	collectors sync.WaitGroup
}

// Handler returns a page to be mounted under any path that ends in a slash, with or
// without http.StripPrefix. It costs nothing while no page is open. While pages are open,
// one goroutine takes a snapshot of each pool for all of them.
//
// An open page keeps a request open, for which http.Server.Shutdown waits, so call
// srv.RegisterOnShutdown(page.Close).
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
	cfg.Docs = docsAt(cfg.Docs)
	return &Page{
		cfg:     cfg,
		advices: newAdviser(),
		life:    strconv.FormatInt(time.Now().UnixNano(), 36),
		viewers: make(map[*viewer]struct{}),
		turn:    make(chan struct{}, 1),
		asking:  make(chan struct{}, 1),
		closed:  make(chan struct{}),
	}
}

// docsURL is where the documents of the repository are.
const docsURL = "https://github.com/respool/respool/blob/main/docs/"

// docsAt returns the address before the name of a document: base, or docsURL unless base is
// an address of http or https or a path. A link to it must not run a script.
func docsAt(base string) string {
	u, err := url.Parse(base)
	if base == "" || err != nil || u.Opaque != "" || u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https" {
		return docsURL
	}
	if u.User != nil { // every viewer gets the address
		u.User = nil
		base = u.String()
	}
	if !strings.HasSuffix(base, "/") {
		base += "/"
	}
	return base
}

// Close ends every stream and the collector, and waits for the collector, which may be
// in its last update. Other requests are still answered, but of advice.json only those for
// an advice that was computed lately; the others fail with the status 503. Calling Close
// again does nothing.
func (p *Page) Close() {
	p.mu.Lock()
	if !p.shut {
		p.shut = true
		close(p.closed)
	}
	p.stopLocked()
	p.mu.Unlock()
	p.collectors.Wait()
}

// ServeHTTP answers GET and HEAD. The page may be mounted anywhere, so only the last element of
// the path counts. Snapshots in JSON are answered one at a time; a request waits for its turn
// until its context ends. The stream of an open page lasts until the client leaves or Close is
// called.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for name, value := range headers {
		w.Header().Set(name, value)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this page is read-only", http.StatusMethodNotAllowed)
		return
	}
	if foreign(r) {
		http.Error(w, "cross-site request", http.StatusForbidden)
		return
	}
	switch name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]; name {
	case "":
		if to := slashed(r); r.URL.Path == "" && to != "" { // StripPrefix removed everything
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
	case "advice.json":
		p.serveAdvice(w, r)
	case "report.txt":
		p.serveReport(w, r)
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

// foreign reports whether another site made a browser send the request. That site
// cannot read the answer but would cost the work. A link to the page is allowed.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document"
	}
	return false
}

// slashed returns the address of the page if its slash is missing, without which
// relative links fail, and "" otherwise. It uses the RequestURI, as a mux may have cut a part of
// the path.
func slashed(r *http.Request) string {
	asked, err := url.ParseRequestURI(r.RequestURI)
	if err != nil || strings.HasSuffix(asked.Path, "/") {
		return ""
	}
	to := url.URL{Path: "./" + path.Base(asked.Path) + "/", RawQuery: asked.RawQuery}
	return to.String()
}

// redirect sends the address as it is; http.Redirect would resolve it against the path
// that a mux has cut.
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

// errUnknown answers a request for a pool that does not exist.
var errUnknown = errors.New("no such pool")

func (p *Page) serveJSON(w http.ResponseWriter, r *http.Request, answer func(u *update, v view) (any, bool)) {
	v, err := parseView(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var body []byte
	err = p.inTurn(r, func(u *update) (err error) {
		a, ok := answer(u, v)
		if !ok {
			return errUnknown
		}
		body, err = encode(a)
		return err
	})
	if err != nil {
		failed(w, err)
		return
	}
	write(w, r, "application/json; charset=utf-8", body)
}

// inTurn calls f with a new update, one request at a time, to bound the load. It contains a
// panic, and returns an error without calling f if the request has ended.
func (p *Page) inTurn(r *http.Request, f func(u *update) error) (err error) {
	select {
	case p.asking <- struct{}{}:
	case <-r.Context().Done():
		return r.Context().Err()
	}
	defer func() {
		<-p.asking
		if r := recover(); r != nil {
			err = fmt.Errorf("panicked: %v", r)
		}
	}()
	return f(p.update())
}

// failed answers a request that failed with err.
func failed(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errUnknown):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, errClosed), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		w.Header().Set("Retry-After", "5")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		http.Error(w, "a snapshot cannot be shown: "+text.Of(err), http.StatusInternalServerError)
	}
}

// write answers with a body.
func write(w http.ResponseWriter, r *http.Request, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		_, _ = io.Copy(w, bytes.NewReader(body)) // the client may have gone
	}
}
