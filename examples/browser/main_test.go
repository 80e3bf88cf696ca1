package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/respool/respool/internal/outside"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// With a real browser, every file is a screenshot of its page, and the limit of tabs is
// respected.
func TestRun(t *testing.T) {
	chrome := outside.Program(t, programs, "chromium")
	const n, tabs = 12, 3
	dir := t.TempDir()
	var said bytes.Buffer
	if err := run(t.Context(), &said, options{chrome: chrome, out: dir, tabs: tabs, pages: n}); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("page-%02d.png", i)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(text, []byte("\x89PNG\r\n\x1a\n")) {
			t.Fatalf("page %d is no PNG: %.20q", i, text)
		}
		shot, err := png.Decode(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if size := shot.Bounds().Size(); size.X != width || size.Y != height {
			t.Errorf("page %d measures %v", i, size)
		}
		r, g, b, _ := shot.At(width/2, height/2).RGBA()
		if got := fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8); got != colour(i) {
			t.Errorf("page %d is %s, want %s", i, got, colour(i))
		}
	}
	var opened, lent, commands, most, dialled int
	_, last, _ := strings.Cut(said.String(), "\n")
	if _, err := fmt.Sscanf(last, "%d tabs were opened and lent %d times\n%d commands, up to %d at once; connections dialled: %d\n",
		&opened, &lent, &commands, &most, &dialled); err != nil {
		t.Fatalf("the program said %q: %v", &said, err)
	}
	if opened < 1 || opened > tabs || lent != n {
		t.Errorf("the program said %q, of %d tabs and %d pages", &said, tabs, n)
	}
	// A tab is opened with 5 commands, and a screenshot takes 2.
	if commands < 5*opened+2*n || most < 1 || most > tabs || dialled != 1 {
		t.Errorf("the program said %q, want one connection for %d tabs", &said, tabs)
	}
}

// If the browser ends while a page loads, the screenshot fails at once.
func TestBrowserEnds(t *testing.T) {
	chrome := outside.Program(t, programs, "chromium")
	loading := make(chan struct{}, 1)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html>")
		w.(http.Flusher).Flush()
		loading <- struct{}{}
		<-r.Context().Done() // the page is never complete
	}))
	defer site.Close()
	b, err := launch(t.Context(), chrome)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	tabs, err := newTabs(b.url, 1)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() { failed <- tabs.take(t.Context(), site.URL, filepath.Join(t.TempDir(), "never.png")) }()
	select {
	case <-loading:
		b.cmd.Process.Kill()
		err = <-failed
	case err = <-failed:
	}
	if err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("take: %v, want that the connection was lost", err)
	}
	if err := tabs.close(); err != nil {
		t.Error(err)
	}
}

func TestColours(t *testing.T) {
	seen := map[string]bool{}
	for n := range 1000 {
		if c := colour(n); seen[c] {
			t.Errorf("two pages are %s", c)
		}
		seen[colour(n)] = true
	}
}

// Without a browser the error says what to do.
func TestNoBrowser(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := run(t.Context(), new(bytes.Buffer), options{out: t.TempDir(), tabs: 1, pages: 1})
	if err == nil || !strings.Contains(err.Error(), "-chrome") {
		t.Errorf("run: %v", err)
	}
}
