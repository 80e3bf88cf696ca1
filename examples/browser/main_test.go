package main

import (
	"bytes"
	"fmt"
	"image/png"
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
	opened, lent := 0, 0
	_, last, _ := strings.Cut(said.String(), "\n")
	if _, err := fmt.Sscanf(last, "%d tabs were opened and lent %d times\n", &opened, &lent); err != nil {
		t.Fatalf("the program said %q: %v", &said, err)
	}
	if opened < 1 || opened > tabs || lent != n {
		t.Errorf("the program said %q, of %d tabs and %d pages", &said, tabs, n)
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
