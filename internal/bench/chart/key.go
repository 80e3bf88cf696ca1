package chart

import (
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const (
	keyGap    vg.Length = 19 // from one name to the next
	keyLead   vg.Length = 26 // from the end of a line to the sample of it
	keySample vg.Length = 34 // how long the sample is
	keySpace  vg.Length = 8  // from the sample to the name
)

// goalLook is that of the level to be reached.
var goalLook = look{color: ink, dashes: []vg.Length{3, 3}}

// A key is a name beside the end of a line, with a sample of the line.
type key struct {
	name string
	look look
	end  vg.Point // of the line
}

func (k key) style() draw.TextStyle { return textStyle(13, ink, k.look.strong) }

// keys returns the names in the order of the ends of their lines, from below.
func (cs curves) keys(at func(x, y float64) vg.Point) []key {
	var all []key
	for i, s := range cs.Series {
		last := s.Points[len(s.Points)-1]
		all = append(all, key{s.Name, cs.looks[i], at(last.X, last.Y)})
	}
	if cs.Goal != nil {
		xs, _ := cs.values()
		all = append(all, key{"goal " + short(*cs.Goal), goalLook, at(xs[len(xs)-1], *cs.Goal)})
	}
	slices.SortStableFunc(all, func(a, b key) int {
		switch {
		case a.end.Y < b.end.Y:
			return -1
		case a.end.Y > b.end.Y:
			return 1
		}
		return 0
	})
	return all
}

// keyRoom returns the width that the names need at the right.
func (cs curves) keyRoom() vg.Length {
	var widest vg.Length
	for _, k := range cs.keys(func(x, y float64) vg.Point { return vg.Point{} }) {
		widest = max(widest, k.style().Width(k.name))
	}
	return keyLead + keySample + keySpace + widest
}

// drawKeys draws the names right of c, each as near to the end of its line as
// the others let it. A thin stroke leads there, unless the line ended earlier:
// then it would cross what others have there.
func (cs curves) drawKeys(c *draw.Canvas, at func(x, y float64) vg.Point) {
	keys := cs.keys(at)
	want := make([]vg.Length, len(keys))
	for i, k := range keys {
		want[i] = k.end.Y
	}
	for i, y := range apart(want, keyGap, c.Min.Y, c.Max.Y) {
		k := keys[i]
		from := vg.Point{X: c.Max.X + keyLead, Y: y}
		to := vg.Point{X: from.X + keySample, Y: y}
		if k.end.X > c.Max.X-1 {
			bend := vg.Point{X: c.Max.X + 7, Y: k.end.Y}
			c.StrokeLines(k.look.thin(), []vg.Point{k.end, bend, {X: from.X - 4, Y: y}, from})
		}
		c.StrokeLines(k.look.line(), []vg.Point{from, to})
		if k.look.mark != nil {
			k.look.mark.draw(c, vg.Point{X: (from.X + to.X) / 2, Y: y}, k.look.radius(), k.look.color)
		}
		c.FillText(k.style(), vg.Point{X: to.X + keySpace, Y: y - 4.5}, k.name)
	}
}

// apart moves rising positions by as little as it can, in squares, until they
// are a gap from each other, and into the range if they fit into it.
func apart(want []vg.Length, gap, least, most vg.Length) []vg.Length {
	// With i gaps taken off the i-th, they only must not fall: neighbours that
	// do are put together at their mean, for as long as there are such.
	type run struct {
		sum vg.Length
		n   int
	}
	var runs []run
	mean := func(r run) vg.Length { return r.sum / vg.Length(r.n) }
	for i, y := range want {
		r := run{y - vg.Length(i)*gap, 1}
		for len(runs) > 0 && mean(runs[len(runs)-1]) >= mean(r) {
			before := runs[len(runs)-1]
			r = run{r.sum + before.sum, r.n + before.n}
			runs = runs[:len(runs)-1]
		}
		runs = append(runs, r)
	}
	most -= vg.Length(len(want)-1) * gap
	var out []vg.Length
	for _, r := range runs {
		y := max(min(mean(r), most), least)
		for range r.n {
			out = append(out, y+vg.Length(len(out))*gap)
		}
	}
	return out
}
