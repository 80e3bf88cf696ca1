package chart

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A pool has one colour and one dash, whatever it stands beside, and ours the
// thickest line, drawn after all others.
func TestLooksAreStable(t *testing.T) {
	for i, p := range pools {
		look := looks[p]
		hex, width := stroke(p)
		var dash []string
		for _, d := range look.dashes {
			dash = append(dash, strconv.FormatFloat(d.Points(), 'g', -1, 64))
		}
		for _, among := range []Lines{contention(), {Title: "t", X: "x", Y: "y", Series: contention().Series[i : i+1]}} {
			paths, dashes := strokes(t, svg(t, among), hex, width)
			if len(paths) != 2 { // the line and the sample
				t.Fatalf("%s: %d lines of its colour", p, len(paths))
			}
			for _, d := range dashes {
				if d != strings.Join(dash, ",") {
					t.Errorf("%s: dashes %q", p, d)
				}
			}
		}
		if b := svg(t, Bars{Title: "t", X: "x", Groups: []Group{{"", []Bar{{Name: p, Value: 1}}}}}); !strings.Contains(b, "fill:"+hex) {
			t.Errorf("%s: no bar of its colour", p)
		}
	}
}

// stroke returns the colour and the width of a pool's line.
func stroke(pool string) (hex, width string) {
	c := looks[pool].color
	hex = fmt.Sprintf("#%02X%02X%02X", c.R, c.G, c.B)
	if pool == "respool" {
		return hex, "3"
	}
	return hex, "1.75"
}

func TestOursIsAbove(t *testing.T) {
	doc := svg(t, contention())
	ours, _ := strokes(t, doc, "#D55E00", "3")
	last, _ := strokes(t, doc, "#56B4E9", "1.75")
	if strings.Index(doc, ours[0]) < strings.Index(doc, last[0]) {
		t.Error("respool's line is drawn before smartconnpool's")
	}
}

// In a chart of pools, and in one of clients, every look differs from every other
// in colour, and in dash or mark.
func TestLooksDiffer(t *testing.T) {
	all := append([]string{"pgxpool", "go-redis"}, pools...)
	clients := []string{"respool", "gorilla", "coder", "dialling"}
	if len(looks) != len(all)+len(clients)-1 {
		t.Errorf("%d looks for %d pools and %d clients", len(looks), len(all), len(clients))
	}
	for _, names := range [][]string{all, clients} {
		seen := slices.Clone(spare)
		for _, n := range names {
			seen = append(seen, looks[n])
		}
		for i, a := range seen {
			if a.mark == nil {
				t.Errorf("%v: no mark", a.color)
			}
			for _, b := range seen[:i] {
				if a.color == b.color || slices.Equal(a.dashes, b.dashes) {
					t.Errorf("%v and %v", a, b)
				}
			}
		}
	}
}

// Names without a look of their own share none while there are enough, and the
// same name alone has the same one each time.
func TestSpareLooks(t *testing.T) {
	names := []string{"asked", "puddle", "served", "lost", "late", "more"}
	got := looksOf(names)
	if got[1].color != looks["puddle"].color {
		t.Errorf("puddle is %v", got[1].color)
	}
	seen := make(map[string]bool)
	for _, i := range []int{0, 2, 3, 4} {
		seen[fmt.Sprint(got[i].color)] = true
	}
	if len(seen) != len(spare) {
		t.Errorf("%d colours for %d names", len(seen), len(spare))
	}
	if a, b := looksOf([]string{"served"}), looksOf([]string{"respool", "served"}); a[0].color != b[1].color {
		t.Errorf("served: %v, then %v", a[0].color, b[1].color)
	}
}
