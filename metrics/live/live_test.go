package live

import (
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"
)

// get is one answer of h, and its text.
func get(t testing.TB, h http.Handler, method, target string) (*http.Response, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	text, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(text)
}

// mounts are ways to mount a page, with the path of the page in each.
func mounts(p *Page) map[string]http.Handler {
	strip := func(pattern, prefix string) http.Handler {
		mux := http.NewServeMux()
		mux.Handle(pattern, http.StripPrefix(prefix, p))
		return mux
	}
	plain := http.NewServeMux()
	plain.Handle("/debug/pools/", p)
	return map[string]http.Handler{
		"/debug/pools/":       plain,
		"/stripped/pools/":    strip("/stripped/pools/", "/stripped/pools"),
		"/without/slash/":     strip("/without/slash/", "/without/slash/"),
		"/":                   p,
		"/a/b/c/d%20e/pools/": p,
	}
}

func TestRoutes(t *testing.T) {
	types := map[string]string{
		"": "text/html", "?pool=speech": "text/html", "live.js": "text/javascript", "one.js": "text/javascript",
		"live.css": "text/css", "icon.svg": "image/svg+xml", "pools.json": "application/json", "pool.json?pool=speech": "application/json",
		"history.json": "application/json", "history.json?pool=speech": "application/json",
	}
	p := pageOf(t, sample())
	for prefix, h := range mounts(p) {
		for target, want := range types {
			r, text := get(t, h, "GET", prefix+target)
			if r.StatusCode != 200 || !strings.HasPrefix(r.Header.Get("Content-Type"), want) || text == "" {
				t.Errorf("%s: %s, %q, %d bytes", prefix+target, r.Status, r.Header.Get("Content-Type"), len(text))
			}
			head, none := get(t, h, "HEAD", prefix+target)
			same := strings.Contains(target, ".json") || head.Header.Get("Content-Length") == r.Header.Get("Content-Length")
			if head.StatusCode != 200 || none != "" || !same {
				t.Errorf("HEAD %s: %s, %d bytes, length %q not %q", prefix+target, head.Status, len(none),
					head.Header.Get("Content-Length"), r.Header.Get("Content-Length"))
			}
		}
		for _, target := range []string{"nothing.js", "main_test.go", "..%2flive.go", "page.go"} {
			if r, _ := get(t, h, "GET", prefix+target); r.StatusCode != 404 {
				t.Errorf("%s: %s", prefix+target, r.Status)
			}
		}
	}
}

// A request without the slash is redirected to the page, and nowhere else.
func TestSlash(t *testing.T) {
	p := pageOf(t)
	stripped := http.StripPrefix("/debug/pools", p)
	for _, c := range []struct {
		h      http.Handler
		target string
		want   string
	}{
		{p, "/debug/pools", "/debug/pools/"},
		{p, "/pools", "/pools/"},
		{stripped, "/debug/pools", "/debug/pools/"},
		{p, "//evil", "//evil/"},
		{p, "/x/http:evil", "/x/http:evil/"},
		{p, "/x/%2f%2fevil", "/x/evil/"},
		{p, "/debug/pools?pool=a%2Fb%20%3Cc%3E", "/debug/pools/?pool=a%2Fb%20%3Cc%3E"},
		{p, "/d%20%5Ce%3Ff/?g", ""},
		{p, "/x/d%20%5C%3F?g", "/x/d%20%5C%3F/?g"},
	} {
		r := httptest.NewRequest("GET", "http://here"+c.target, nil)
		r.RequestURI = c.target
		w := httptest.NewRecorder()
		c.h.ServeHTTP(w, r)
		if c.want == "" { // it has a slash
			if w.Code != http.StatusOK {
				t.Errorf("%s: %d", c.target, w.Code)
			}
			continue
		}
		to, err := r.URL.Parse(w.Header().Get("Location"))
		if err != nil || w.Code != http.StatusPermanentRedirect || to.Host != "here" || to.RequestURI() != c.want {
			t.Errorf("%s: %d to %v, %v; want %s", c.target, w.Code, to, err, c.want)
		}
	}
}

func TestMethods(t *testing.T) {
	p := pageOf(t, sample())
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "BREW"} {
		for _, target := range []string{"/p/", "/p/events", "/p/pools.json", "/p/history.json", "/p/live.js"} {
			r, _ := get(t, p, method, target)
			if r.StatusCode != 405 || r.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %s, allows %q", method, target, r.Status, r.Header.Get("Allow"))
			}
		}
	}
}

func TestHeaders(t *testing.T) {
	const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
		"frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
	p := pageOf(t, sample())
	for _, c := range [][2]string{
		{"GET", "/p/"}, {"GET", "/p/live.js"}, {"GET", "/p/pools.json"}, {"HEAD", "/p/events"}, {"GET", "/p/none.js"},
		{"POST", "/p/"}, {"GET", "/p/pool.json?pool=none"}, {"GET", "/p/history.json"}, {"GET", "/p/history.json?pool=none"}, {"GET", "/p/pool.json?sort=none"},
	} {
		r, _ := get(t, p, c[0], c[1])
		for name, want := range map[string]string{
			"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
			"Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin", "Access-Control-Allow-Origin": "",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%v: %s is %q", c, name, got)
			}
		}
	}
}

// What a browser asks for another site's sake is refused before it costs
// anything; a link to the page works from everywhere.
func TestForeign(t *testing.T) {
	f := sample()
	p := pageOf(t, f)
	for _, c := range []struct {
		site, mode, dest string
		want             int
	}{
		{"", "", "", 200},
		{"none", "navigate", "document", 200},
		{"same-origin", "cors", "empty", 200},
		{"same-origin", "no-cors", "script", 200},
		{"cross-site", "navigate", "document", 200},
		{"same-site", "navigate", "document", 200},
		{"cross-site", "navigate", "iframe", 403},
		{"cross-site", "no-cors", "image", 403},
		{"cross-site", "cors", "empty", 403},
		{"same-site", "cors", "empty", 403},
	} {
		for _, target := range []string{"/p/", "/p/live.js", "/p/pools.json"} {
			r := httptest.NewRequest("GET", target, nil)
			for name, value := range map[string]string{"Sec-Fetch-Site": c.site, "Sec-Fetch-Mode": c.mode, "Sec-Fetch-Dest": c.dest} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
			_, before := f.times()
			w := httptest.NewRecorder()
			p.ServeHTTP(w, r)
			if _, after := f.times(); w.Code != c.want || c.want == 403 && after != before {
				t.Errorf("%v: %s is answered %d, and asks %d times", c, target, w.Code, after-before)
			}
		}
	}
}

// With a host in the pattern of the mux no other name leads to the page.
func TestHost(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("localhost/debug/pools/", pageOf(t, sample()))
	for host, want := range map[string]int{"localhost:6060": 200, "localhost": 200, "rebound.example:6060": 404, "rebound.example": 404} {
		if r, _ := get(t, mux, "GET", "http://"+host+"/debug/pools/pools.json"); r.StatusCode != want {
			t.Errorf("%s is answered %s", host, r.Status)
		}
	}
}

// The policy forbids what is inline, and a page cannot do without what is
// missing: so no file has the one, and the other is there.
func TestFiles(t *testing.T) {
	inline := regexp.MustCompile(`(?i)\son\w+=|\sstyle=|<style|javascript:|<script[^>]*>[^<]`)
	link := regexp.MustCompile(`(?:src|href)="([^"#]*)"|from "([^"]+)"|url\(([^)]*)\)`)
	unsafe := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\("style"|srcdoc|DOMParser`)
	all, err := fs.ReadDir(files, "page")
	if err != nil || len(all) < 5 {
		t.Fatalf("%d files, %v", len(all), err)
	}
	for _, f := range all {
		text, err := fs.ReadFile(files, "page/"+f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if found := inline.Find(text); found != nil && path.Ext(f.Name()) == ".html" {
			t.Errorf("%s: %q is inline", f.Name(), found)
		}
		if found := unsafe.Find(text); found != nil {
			t.Errorf("%s: %q", f.Name(), found)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			target := m[1] + m[2] + m[3]
			if name := path.Base(target); target == "./" || name == "pools.json" || name == "report.txt" {
				continue
			}
			if u, err := url.Parse(target); err != nil || u.IsAbs() || u.Host != "" || path.IsAbs(target) {
				t.Errorf("%s: %q is not relative", f.Name(), target)
			} else if _, err := fs.Stat(files, path.Join("page", target)); err != nil {
				t.Errorf("%s: %v", f.Name(), err)
			}
		}
	}
}

// decoded is the JSON of one pool, or of all.
func decoded(t testing.TB, h http.Handler, target string) map[string]any {
	t.Helper()
	r, text := get(t, h, "GET", target)
	if r.StatusCode != 200 {
		t.Fatalf("%s: %s: %s", target, r.Status, text)
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%s: %v in %s", target, err, text)
	}
	return m
}

func TestBadQuery(t *testing.T) {
	p := pageOf(t, sample())
	for _, path := range []string{"/p/pool.json", "/p/pools.json", "/p/events"} {
		r, text := get(t, p, "GET", path+"?pool="+strings.Repeat("x", 1000)+"&state=odd&sort=size&find="+strings.Repeat("x", 101))
		if r.StatusCode != 400 {
			t.Errorf("%s: %s", path, r.Status)
		}
		for _, want := range []string{"pool has", "state must be", "sort must be", "find is"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not said: %s", path, want, text)
			}
		}
	}
	for _, target := range []string{"/p/pool.json", "/p/pool.json?pool=other"} {
		if r, text := get(t, p, "GET", target); r.StatusCode != 404 || !strings.Contains(text, errUnknown.Error()) {
			t.Errorf("%s: %s: %s", target, r.Status, text)
		}
	}
}

// Whatever the numbers in it are, a Config can be used.
func TestConfig(t *testing.T) {
	for _, c := range []struct{ in, want Config }{
		{Config{}, Config{Every: defaultEvery, Limit: defaultLimit}},
		{Config{Every: 1, Limit: -1}, Config{Every: leastEvery, Limit: defaultLimit}},
		{Config{Every: -1, Limit: 1e9}, Config{Every: leastEvery, Limit: scanned}},
		{Config{Every: 5 * defaultEvery, Limit: 7}, Config{Every: 5 * defaultEvery, Limit: 7}},
	} {
		p := Handler(c.in)
		if p.cfg.Every != c.want.Every || p.cfg.Limit != c.want.Limit || p.cfg.Meters == nil {
			t.Errorf("%+v became %+v", c.in, p.cfg)
		}
		p.cfg.Meters()
	}
}
