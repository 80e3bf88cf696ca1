package chart

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type drawer interface{ SVG(w io.Writer) error }

var pools = []string{"respool", "puddle", "channel", "database/sql", "commons", "net/http", "smartconnpool"}

// contention is seven pools on two logarithmic axes, with spreads.
func contention() Lines {
	l := Lines{
		Title: "Acquire and Release under contention", X: "goroutines, 8 resources", Y: "ns per lease; band: least to most",
		LogX: true, LogY: true,
	}
	first := []float64{112, 165, 48, 520, 410, 890, 95}
	slope := []float64{.06, .33, .12, .42, .5, .45, .05}
	for i, p := range pools {
		s := Series{Name: p}
		for k, x := range []float64{1, 10, 100, 1000, 10000} {
			y := first[i] * math.Pow(x, slope[i]) * (1 + .1*math.Sin(float64(i*k)))
			s.Points = append(s.Points, Point{x, y, y * .85, y * 1.2})
		}
		l.Series = append(l.Series, s)
	}
	return l
}

// spike is a timeline with a goal. One series ends before the others.
func spike() Lines {
	goal := 1000.0
	l := Lines{Title: "A spike of 1,000 callers", X: "ms after the first call", Y: "callers served", Steps: true, Goal: &goal}
	for i, p := range pools[:6] {
		s := Series{Name: p}
		for ms := 0.0; ms <= 400 && (i != 3 || ms < 250); ms += 4 {
			y := math.Floor(1000 * (1 - math.Exp(-ms/(30+40*float64(i)))))
			s.Points = append(s.Points, Point{ms, y, math.Floor(y * .95), min(1000, math.Ceil(y*1.03))})
		}
		l.Series = append(l.Series, s)
	}
	return l
}

// size has a logarithmic X axis only, and spreads here and there.
func size() Lines {
	goal := 150.0
	l := Lines{Title: "Cost against the size of the pool", X: "resources", Y: "ns per lease", LogX: true, Goal: &goal}
	for i, p := range pools[:5] {
		s := Series{Name: p}
		for k, x := range []float64{1, 10, 100, 1000, 10000, 100000} {
			v := Point{X: x, Y: 100*float64(i+1) + 10*float64(k)}
			if i == 0 && k == 2 || i == 3 {
				v.Low, v.High = v.Y*.93, v.Y*1.1
			}
			s.Points = append(s.Points, v)
		}
		l.Series = append(l.Series, s)
	}
	return l
}

// memory is bars in two groups, with goals short of the value, beyond it, and
// where the figure would stand.
func memory() Bars {
	return Bars{Title: "Memory per idle WebSocket connection", X: "KiB per connection; whiskers: least to most", Groups: []Group{
		{"10,000 connections", []Bar{
			{"respool", 9.31, 9.2, 9.6, 10}, {"gorilla, bare", 9.02, 8.9, 9.1, 0}, {"net/http", 33.1, 31, 36, 0},
		}},
		{"100,000 connections", []Bar{
			{"respool", 9.05, 9, 9.1, 39}, {"gorilla, bare", 8.87, 0, 0, 0}, {"net/http", 32.6, 32, 33, 30},
		}},
	}}
}

func samples() map[string]drawer {
	return map[string]drawer{"contention": contention(), "spike": spike(), "size": size(), "memory": memory()}
}

func svg(t *testing.T, d drawer) string {
	t.Helper()
	var b strings.Builder
	if err := d.SVG(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// An element is what the tests look at of one in the SVG.
type element struct {
	name  string
	attrs map[string]string
	text  string
}

// parse reads all of an SVG, so that whatever is not well-formed fails.
func parse(t *testing.T, doc string) []*element {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(doc))
	var all, open []*element
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			e := &element{name: tok.Name.Local, attrs: make(map[string]string)}
			for _, a := range tok.Attr {
				e.attrs[a.Name.Local] = a.Value
			}
			all, open = append(all, e), append(open, e)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				open[len(open)-1].text += string(tok)
			}
		}
	}
	return all
}

// words returns the text that is drawn.
func words(t *testing.T, doc string) []string {
	t.Helper()
	var all []string
	for _, e := range parse(t, doc) {
		if e.name == "text" {
			all = append(all, e.text)
		}
	}
	return all
}

func count[T comparable](all []T, want T) (n int) {
	for _, v := range all {
		if v == want {
			n++
		}
	}
	return n
}

// CHART_DIR names a directory that the samples are written to, to look at them.
func TestSamples(t *testing.T) {
	for name, d := range samples() {
		doc := svg(t, d)
		if again := svg(t, samples()[name]); again != doc {
			t.Errorf("%s: not the same twice", name)
		}
		all := parse(t, doc)
		if e := all[0]; e.name != "svg" || e.attrs["width"] != "720" || e.attrs["role"] != "img" {
			t.Errorf("%s: starts with %+v", name, e)
		}
		for _, bad := range []string{"NaN", "Inf", "xlink"} {
			if strings.Contains(doc, bad) {
				t.Errorf("%s: has %s", name, bad)
			}
		}
		if dir := os.Getenv("CHART_DIR"); dir != "" {
			if err := os.WriteFile(filepath.Join(dir, name+".svg"), []byte(doc), 0o644); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestPage(t *testing.T) {
	for name, d := range samples() {
		doc := svg(t, d)
		all := parse(t, doc)
		if e := all[1]; e.name != "title" || !strings.Contains(doc, ">"+e.text+"</text>") {
			t.Errorf("%s: the title is %+v, and is not drawn", name, e)
		}
		// What a dark theme has behind the picture does not show through.
		width, height := all[0].attrs["width"], all[0].attrs["height"]
		for _, e := range all {
			if e.name != "path" {
				continue
			}
			if want := "M0,0L" + width + ",0L" + width + "," + height + "L0," + height + "Z"; e.attrs["d"] != want || e.attrs["style"] != "fill:#FFFFFF" {
				t.Errorf("%s: first %+v, no paper", name, e)
			}
			break
		}
		for _, e := range all {
			if e.name != "text" {
				continue
			}
			style := e.attrs["style"]
			if !strings.Contains(style, ",sans-serif;") || strings.Contains(style, "family:Liberation") {
				t.Errorf("%s: %q in a font that not all have: %s", name, e.text, style)
			}
			if !strings.Contains(style, "size:12px") && !strings.Contains(style, "size:13px") && !strings.Contains(style, "size:17px") {
				t.Errorf("%s: %q in a size of its own: %s", name, e.text, style)
			}
		}
	}
}

func TestTextIsEscaped(t *testing.T) {
	l := size()
	l.Title, l.X, l.Y = `<a> & "b"`, "'µs'", "x < y"
	l.Series[0].Name = "a&b"
	doc := svg(t, l)
	if e := parse(t, doc)[1]; e.text != l.Title {
		t.Errorf("title %q", e.text)
	}
	for _, s := range []string{l.Title, l.X, l.Y, "a&b"} {
		if count(words(t, doc), s) != 1 {
			t.Errorf("no %q", s)
		}
	}
}

var errWriter = errors.New("disk full")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errWriter }

func TestWriterFails(t *testing.T) {
	for name, d := range samples() {
		if err := d.SVG(fullDisk{}); !errors.Is(err, errWriter) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
