package live

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestView(t *testing.T) {
	f := sample()
	for query, want := range map[string]string{
		"":                          "[1 2 3 4] of 4",
		"state=leased":              "[3 4] of 2",
		"state=idle":                "[1] of 1",
		"state=checking":            "[2] of 1",
		"state=invalidated":         "[3] of 1",
		"sort=held":                 "[4 3 1 2] of 4",
		"sort=idle":                 "[2 1 3 4] of 4",
		"sort=age":                  "[1 2 3 4] of 4",
		"sort=leases":               "[4 3 2 1] of 4",
		"find=RTT":                  "[1] of 1",
		"find=going":                "[3] of 1",
		"find=3":                    "[3] of 1",
		"find=leased&sort=held":     "[4 3] of 2",
		"find=leased&state=idle":    "[] of 0",
		"find=none&state=":          "[] of 0",
		"find=%3Cimg%20src%3Dx%3E&": "[] of 0",
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		v, err := parseView(q)
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		before := slices.Clone(f.s.Resources)
		shown, matched := v.resources(f.s.Resources, 100)
		ids := []uint64{}
		for _, r := range shown {
			ids = append(ids, r.ID)
		}
		if got := fmt.Sprintf("%v of %d", ids, matched); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
		if cut, all := v.resources(f.s.Resources, 1); len(cut) != min(1, matched) || all != matched {
			t.Errorf("%s: %d of %d with a limit of 1", query, len(cut), all)
		}
		for i := range before {
			if before[i].ID != f.s.Resources[i].ID {
				t.Fatalf("%s: what all views share was moved", query)
			}
		}
	}
}

// What a URL in an error's text has of secrets is shown nowhere.
func TestSecrets(t *testing.T) {
	f := sample()
	cause := &url.Error{Op: "Get", URL: "wss://user:hunter2@example.com/rpc?token=hunter2#hunter2", Err: errors.New("refused")}
	f.s.LastMake, f.s.Resources[0].Invalidated = cause, cause
	p := pageOf(t, f)
	for _, target := range []string{"/p/pools.json", "/p/pool.json?pool=" + url.QueryEscape(f.s.Name)} {
		r, text := get(t, p, "GET", target)
		if r.StatusCode != 200 || strings.Contains(text, "hunter2") || !strings.Contains(text, "example.com") {
			t.Errorf("%s: %d %s", target, r.StatusCode, text)
		}
	}
	v, err := parseView(url.Values{"pool": {f.s.Name}})
	if err != nil {
		t.Fatal(err)
	}
	if text := string(p.update().pool(v)); strings.Contains(text, "hunter2") || !strings.Contains(text, "example.com") {
		t.Errorf("the page: %s", text)
	}
}
