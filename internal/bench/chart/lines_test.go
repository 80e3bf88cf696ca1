package chart

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"gonum.org/v1/plot/vg"
)

// Every name, of axes too, is there once; ours in bold.
func TestLinesNames(t *testing.T) {
	for name, l := range map[string]Lines{"contention": contention(), "spike": spike(), "size": size()} {
		doc := svg(t, l)
		all := words(t, doc)
		want := []string{l.Title, l.X, l.Y}
		for _, s := range l.Series {
			want = append(want, s.Name)
		}
		if l.Goal != nil {
			want = append(want, "goal "+short(*l.Goal))
		}
		for _, w := range want {
			if n := count(all, w); n != 1 {
				t.Errorf("%s: %d times %q", name, n, w)
			}
		}
		for _, e := range parse(t, doc) {
			if bold := strings.Contains(e.attrs["style"], "bold"); e.name == "text" && bold != (e.text == "respool" || e.text == l.Title) {
				t.Errorf("%s: %q bold: %v", name, e.text, bold)
			}
		}
	}
}

func TestLinesTicks(t *testing.T) {
	all := words(t, svg(t, contention()))
	for want, n := range map[string]int{"1": 1, "10": 1, "100": 2, "1k": 2, "10k": 2, "100k": 1} {
		if got := count(all, want); got != n {
			t.Errorf("%d times %q, not %d", got, want, n)
		}
	}
}

// strokes returns the paths in a colour that are lines of a width.
func strokes(t *testing.T, doc, color, width string) (paths []string, dashes []string) {
	t.Helper()
	for _, e := range parse(t, doc) {
		var col, wid, dash string
		for part := range strings.SplitSeq(e.attrs["style"], ";") {
			switch k, v, _ := strings.Cut(part, ":"); k {
			case "stroke":
				col = v
			case "stroke-width":
				wid = v
			case "stroke-dasharray":
				dash = v
			}
		}
		if e.name == "path" && col == color && wid == width {
			paths, dashes = append(paths, e.attrs["d"]), append(dashes, dash)
		}
	}
	return paths, dashes
}

// points reads the corners of a path that only goes straight.
func points(t *testing.T, d string) (all [][2]float64) {
	t.Helper()
	for part := range strings.FieldsFuncSeq(d, func(r rune) bool { return r == 'M' || r == 'L' || r == 'Z' }) {
		xs, ys, _ := strings.Cut(part, ",")
		x, err1 := strconv.ParseFloat(xs, 64)
		y, err2 := strconv.ParseFloat(ys, 64)
		if err1 != nil || err2 != nil {
			t.Fatalf("%q: %v, %v", part, err1, err2)
		}
		all = append(all, [2]float64{x, y})
	}
	return all
}

func TestSteps(t *testing.T) {
	l := Lines{Title: "t", X: "x", Y: "y", Steps: true, Series: []Series{{"respool", []Point{{X: 0, Y: 0}, {X: 1, Y: 5}, {X: 2, Y: 10}}}}}
	paths, _ := strokes(t, svg(t, l), "#D55E00", "3")
	got := points(t, paths[0])
	if len(got) != 5 {
		t.Fatalf("%d corners of two steps", len(got))
	}
	for i := 1; i < len(got); i++ {
		if across, up := got[i][0] != got[i-1][0], got[i][1] != got[i-1][1]; across != (i%2 == 1) || up == across {
			t.Errorf("corner %d: from %v to %v", i, got[i-1], got[i])
		}
	}
	l.Steps = false
	paths, _ = strokes(t, svg(t, l), "#D55E00", "3")
	if got := points(t, paths[0]); len(got) != 3 {
		t.Errorf("%d corners of a straight line", len(got))
	}
}

// The goal is one level line as wide as the plot, even far above the data.
func TestLinesGoal(t *testing.T) {
	l := size()
	level := 5000.0
	l.Goal = &level
	lines, _ := strokes(t, svg(t, l), "#24292F", "1.75")
	if len(lines) != 2 {
		t.Fatalf("%d lines of a goal", len(lines))
	}
	p := points(t, lines[0])
	if p[0][1] != p[1][1] || p[1][0]-p[0][0] < 400 || p[0][1] < 300 || p[0][1] > 400-float64(headHeight)+.01 {
		t.Errorf("the goal is at %v", p)
	}
	l.Goal = nil
	if lines, _ := strokes(t, svg(t, l), "#24292F", "1.75"); len(lines) != 0 {
		t.Error("a goal where there is none")
	}
}

// A band where neighbours have a spread, a stroke where only one has, nothing
// where none has.
func TestSpread(t *testing.T) {
	doc := svg(t, size())
	bands := 0
	for _, e := range parse(t, doc) {
		if strings.Contains(e.attrs["style"], "fill-opacity:0.149") {
			bands++
			if n := len(points(t, e.attrs["d"])); n != 12 {
				t.Errorf("a band of %d corners over six points", n)
			}
		}
	}
	if bands != 1 {
		t.Errorf("%d bands", bands)
	}
	upright := 0
	for _, e := range parse(t, doc) {
		style := e.attrs["style"]
		if e.name != "path" || !strings.Contains(style, "stroke-width:0.75") || !strings.Contains(style, "stroke-opacity:0.6") {
			continue
		}
		if p := points(t, e.attrs["d"]); len(p) == 2 && p[0][0] == p[1][0] && p[0][1] < p[1][1] {
			upright++
		}
	}
	if upright != 1 {
		t.Errorf("%d upright strokes", upright)
	}
}

// All points of a short line have marks, of a long one only the end.
func TestMarks(t *testing.T) {
	for n, want := range map[int]int{1: 2, maxMarks: maxMarks + 1, maxMarks + 1: 2} { // one more in the sample
		l := Lines{Title: "t", X: "x", Y: "y", Series: []Series{{Name: "puddle"}}}
		for i := range n {
			l.Series[0].Points = append(l.Series[0].Points, Point{X: float64(i), Y: 1})
		}
		if got := strings.Count(svg(t, l), "fill:#0072B2"); got != want {
			t.Errorf("%d points: %d marks", n, got)
		}
	}
}

// What is alike or alone still has a range.
func TestDegenerate(t *testing.T) {
	for _, v := range []float64{0, 1, -3, 1e-9, 1e15, -1e15, 1e-15} {
		for _, log := range []bool{false, true} {
			if log && v <= 0 {
				continue
			}
			for _, n := range []int{1, 3} {
				l := Lines{Title: "t", X: "x", Y: "y", LogX: log, LogY: log, Steps: n == 3, Series: []Series{{Name: "a"}}}
				for range n {
					l.Series[0].Points = append(l.Series[0].Points, Point{X: v, Y: v})
				}
				if doc := svg(t, l); strings.Contains(doc, "NaN") || strings.Contains(doc, "Inf") {
					t.Errorf("%v, log %v: %s", v, log, doc)
				}
			}
		}
	}
}

func TestApart(t *testing.T) {
	for _, c := range []struct{ in, want []vg.Length }{
		{nil, nil},
		{[]vg.Length{50}, []vg.Length{50}},
		{[]vg.Length{-5}, []vg.Length{0}},
		{[]vg.Length{150}, []vg.Length{100}},
		{[]vg.Length{10, 50, 90}, []vg.Length{10, 50, 90}},
		{[]vg.Length{50, 50}, []vg.Length{45, 55}},
		{[]vg.Length{20, 50, 50, 50}, []vg.Length{20, 40, 50, 60}},
		{[]vg.Length{0, 0, 0}, []vg.Length{0, 10, 20}},
		{[]vg.Length{100, 100}, []vg.Length{90, 100}},
		{[]vg.Length{0, 98, 99, 100}, []vg.Length{0, 80, 90, 100}},
		{[]vg.Length{40, 44, 58}, []vg.Length{37, 47, 58}},
	} {
		got := apart(c.in, 10, 0, 100)
		if len(got) != len(c.want) {
			t.Errorf("%v: %v", c.in, got)
			continue
		}
		for i, v := range got {
			if d := v - c.want[i]; d > 1e-9 || d < -1e-9 {
				t.Errorf("%v: %v, not %v", c.in, got, c.want)
				break
			}
		}
	}
}

// The names neither cover each other nor the data, nor leave the page.
func TestNamesHaveRoom(t *testing.T) {
	for name, l := range map[string]Lines{"contention": contention(), "spike": spike(), "size": size()} {
		var ys []float64
		doc := svg(t, l)
		all := parse(t, doc)
		for _, s := range l.Series {
			for _, e := range all {
				if e.name != "text" || e.text != s.Name {
					continue
				}
				x, _ := strconv.ParseFloat(e.attrs["x"], 64)
				y, _ := strconv.ParseFloat(e.attrs["y"], 64)
				ys = append(ys, y)
				hex, width := stroke(s.Name)
				paths, _ := strokes(t, doc, hex, width)
				if _, end, _, _ := box(t, paths[0]); end > x-float64(keySample+keySpace) {
					t.Errorf("%s: %q reaches %v, the name is at %v", name, s.Name, end, x)
				}
				if w := textStyle(13, ink, s.Name == "respool").Width(e.text).Points(); x+w > 720-float64(margin)+.1 {
					t.Errorf("%s: %q ends at %v", name, e.text, x+w)
				}
			}
		}
		slices.Sort(ys)
		for i := range ys[1:] {
			if ys[i+1]-ys[i] < float64(keyGap)-.1 {
				t.Errorf("%s: names at %v", name, ys)
			}
		}
	}
}
