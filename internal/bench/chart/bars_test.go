package chart

import (
	"strconv"
	"strings"
	"testing"
)

func TestBarsNames(t *testing.T) {
	b := memory()
	all := words(t, svg(t, b))
	for want, n := range map[string]int{
		b.Title: 1, b.X: 1, "10,000 connections": 1, "100,000 connections": 1,
		"respool": 2, "gorilla, bare": 2, "net/http": 2,
		"9.31": 1, "33.1": 1, "8.87": 1, "goal 10": 1, "goal 39": 1, "goal 30": 1, "0": 1, "10": 1, "40": 1,
	} {
		if got := count(all, want); got != n {
			t.Errorf("%d times %q, not %d", got, want, n)
		}
	}
}

// box returns the sides of a path.
func box(t *testing.T, d string) (left, right, low, high float64) {
	t.Helper()
	for i, p := range points(t, d) {
		if i == 0 {
			left, right, low, high = p[0], p[0], p[1], p[1]
		}
		left, right, low, high = min(left, p[0]), max(right, p[0]), min(low, p[1]), max(high, p[1])
	}
	return left, right, low, high
}

// fills returns the paths filled with a colour.
func fills(t *testing.T, doc, color string) (paths []string) {
	t.Helper()
	for _, e := range parse(t, doc) {
		if e.name == "path" && e.attrs["style"] == "fill:"+color {
			paths = append(paths, e.attrs["d"])
		}
	}
	return paths
}

// Bars start at zero and are as long as the values, and each goal is a mark
// across its bar, at its own place on the same axis.
func TestBarsAreToScale(t *testing.T) {
	doc := svg(t, memory())
	ours, theirs := fills(t, doc, "#D55E00"), fills(t, doc, "#E69F00")
	if len(ours) != 2 || len(theirs) != 2 {
		t.Fatalf("%d and %d bars", len(ours), len(theirs))
	}
	zero, end, low, high := box(t, ours[0])
	unit := (end - zero) / 9.31
	if z, e, _, _ := box(t, theirs[0]); z != zero || (e-z)/unit < 33.05 || (e-z)/unit > 33.15 {
		t.Errorf("33.1 is drawn as %v", (e-z)/unit)
	}
	goals, _ := strokes(t, doc, "#24292F", "2.5")
	if len(goals) != 3 {
		t.Fatalf("%d goals", len(goals))
	}
	for i, want := range []float64{10, 39, 30} {
		left, right, foot, top := box(t, goals[i])
		if at := (left - zero) / unit; left != right || at < want-.05 || at > want+.05 {
			t.Errorf("goal %v is at %v", want, at)
		}
		if i == 0 && (foot >= low || top <= high) {
			t.Errorf("goal from %v to %v, the bar from %v to %v", foot, top, low, high)
		}
	}
}

// A whisker is a stroke and its two ends; a bar without a spread has none.
func TestWhiskers(t *testing.T) {
	paths, _ := strokes(t, svg(t, memory()), "#24292F", "") // 1 is what SVG has without a word
	if len(paths) != 5*3 {
		t.Errorf("%d strokes for 5 whiskers", len(paths))
	}
}

// A figure stands right of its bar, its whisker and, where that is near, its
// goal, and ends on the page.
func TestFiguresAreClear(t *testing.T) {
	doc := svg(t, memory())
	all := parse(t, doc)
	at := func(text string) (x, y float64) {
		t.Helper()
		for _, e := range all {
			if e.name == "text" && e.text == text {
				x, _ = strconv.ParseFloat(e.attrs["x"], 64)
				y, _ = strconv.ParseFloat(e.attrs["y"], 64)
				return x, y
			}
		}
		t.Fatalf("no %q", text)
		return 0, 0
	}
	goals, _ := strokes(t, doc, "#24292F", "2.5")
	near, _, _, _ := box(t, goals[0])
	far, _, _, _ := box(t, goals[1])
	if x, _ := at("9.31"); x <= near {
		t.Errorf("9.31 at %v, its goal at %v", x, near)
	}
	if x, _ := at("9.05"); x >= far {
		t.Errorf("9.05 at %v, its goal at %v", x, far)
	}
	value, y1 := at("32.6")
	goal, y2 := at("goal 30")
	if y1-y2 > .5 || y2-y1 > .5 || goal < value+20 {
		t.Errorf("32.6 at %v, %v, its goal at %v, %v", value, y1, goal, y2)
	}
	if end := goal + textStyle(12, pale, false).Width("goal 30").Points(); end > 720-float64(margin)+.1 {
		t.Errorf("goal 30 ends at %v", end)
	}
}

// However long the names and figures are, they end on the page.
func TestLongFigures(t *testing.T) {
	b := Bars{Title: "t", X: "x", Groups: []Group{{"", []Bar{{"a rather long name of a pool, in full", 123456789, 0, 0, 123456789}}}}}
	for _, e := range parse(t, svg(t, b)) {
		if e.name != "text" {
			continue
		}
		x, err := strconv.ParseFloat(e.attrs["x"], 64)
		if err != nil {
			t.Fatal(err)
		}
		if w := textStyle(12, pale, false).Width(e.text).Points(); x < float64(margin)-.1 || x+w > 720 {
			t.Errorf("%q from %v to %v", e.text, x, x+w)
		}
	}
}

// The page grows with the bars. All zero is drawn too, and a group's name may
// be left out.
func TestBarsHeight(t *testing.T) {
	height := func(b Bars) float64 {
		t.Helper()
		h, err := strconv.ParseFloat(parse(t, svg(t, b))[0].attrs["height"], 64)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	one := Bars{Title: "t", X: "x", Groups: []Group{{"", []Bar{{Name: "respool"}}}}}
	if doc := svg(t, one); strings.Contains(doc, "NaN") {
		t.Error(doc)
	}
	named := Bars{Title: "t", X: "x", Groups: []Group{{"g", []Bar{{Name: "respool"}}}}}
	two := Bars{Title: "t", X: "x", Groups: []Group{{"", []Bar{{Name: "respool"}, {Name: "puddle"}}}}}
	h := height(one)
	if d := height(two) - h; d != float64(rowHeight) {
		t.Errorf("%v more for a bar", d)
	}
	if d := height(named) - h; d != float64(groupHeight) {
		t.Errorf("%v more for a name", d)
	}
}
