package live

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
)

// Behind a proxy that has it under another path, all of the page is there, and
// events come when they happen.
func TestProxy(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/debug/pools/", pageOf(t, sample()))
	inner := httptest.NewServer(mux)
	t.Cleanup(inner.Close) // after the streams have ended
	to, err := url.Parse(inner.URL + "/debug/")
	if err != nil {
		t.Fatal(err)
	}
	outer := httptest.NewServer(http.StripPrefix("/ops/a b", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}))
	t.Cleanup(outer.Close)
	ask := func(target string) *http.Response {
		t.Helper()
		r, err := outer.Client().Get(outer.URL + "/ops/a%20b/pools" + target)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Body.Close() })
		if r.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", target, r.Status)
		}
		return r
	}
	for _, target := range []string{"/", "/?pool=speech", "/live.js", "/live.css", "/pools.json", "/pool.json?pool=speech"} {
		ask(target)
	}
	in := bufio.NewScanner(ask("/events?pool=speech").Body)
	in.Buffer(nil, 1<<20)
	var events []string
	for len(events) < 4 && in.Scan() {
		if name, ok := strings.CutPrefix(in.Text(), "event: "); ok {
			events = append(events, name)
		}
	}
	if got := strings.Join(events, " "); got != "pools pool pools pool" {
		t.Errorf("the events are %q, %v", got, in.Err())
	}
}
