package chart

import (
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const (
	maxMarks           = 24 // points of a line that get marks: more would be a row of beads
	xRoom    vg.Length = 38 // for the name of the X axis
)

func (l Lines) draw() page {
	pg := newPage(pageHeight, l.Title, l.Y)
	p := newPlot()
	xs, ys := l.values()
	along(xs, l.LogX).set(&p.X)
	up(ys, l.LogY).set(&p.Y)
	p.Y.Width = 0
	if !l.LogY {
		p.Y.Tick.Length, p.Y.Padding = 0, 7 // the grid says as much
	}
	g := plotter.NewGrid()
	g.Vertical = draw.LineStyle{Color: grid, Width: 1}
	g.Horizontal = g.Vertical
	cs := newCurves(l)
	p.Add(g, cs)
	p.Draw(draw.Crop(pg.Canvas, margin, -cs.keyRoom()-margin, xRoom, -headHeight))
	return pg
}

// values returns every X, sorted, each once, and everything that the Y axis
// must reach.
func (l Lines) values() (xs, ys []float64) {
	for _, s := range l.Series {
		for _, p := range s.Points {
			xs = append(xs, p.X)
			ys = append(ys, p.Y)
			if p.spread() {
				ys = append(ys, p.Low, p.High)
			}
		}
	}
	if l.Goal != nil {
		ys = append(ys, *l.Goal)
	}
	slices.Sort(xs)
	return slices.Compact(xs), ys
}

// curves draws the data of a chart of lines, and at their ends the names.
type curves struct {
	Lines
	looks []look
	order []int // of drawing: ours last, above the others
}

func newCurves(l Lines) curves {
	var names []string
	for _, s := range l.Series {
		names = append(names, s.Name)
	}
	c := curves{Lines: l, looks: looksOf(names)}
	for i := range l.Series {
		c.order = append(c.order, i)
	}
	slices.SortStableFunc(c.order, func(a, b int) int {
		switch sa, sb := c.looks[a].strong, c.looks[b].strong; {
		case sb && !sa:
			return -1
		case sa && !sb:
			return 1
		}
		return 0
	})
	return c
}

// Plot is what package plot calls.
func (cs curves) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	at := func(px, py float64) vg.Point { return vg.Point{X: x(px), Y: y(py)} }
	for _, i := range cs.order {
		cs.drawSpread(&c, at, i)
	}
	if cs.Goal != nil {
		c.StrokeLine2(goalLook.line(), c.Min.X, y(*cs.Goal), c.Max.X, y(*cs.Goal))
	}
	for _, i := range cs.order {
		var line []vg.Point
		for _, v := range cs.Series[i].Points {
			line = append(line, at(v.X, v.Y))
		}
		c.StrokeLines(cs.looks[i].line(), cs.path(line))
		if !cs.marked() {
			line = line[len(line)-1:]
		}
		for _, v := range line {
			cs.looks[i].mark.draw(&c, v, cs.looks[i].radius(), cs.looks[i].color)
		}
	}
	name := textStyle(13, pale, false)
	name.XAlign = draw.XCenter
	c.FillText(name, vg.Point{X: c.Center().X, Y: margin}, cs.X)
	cs.drawKeys(&c, at)
}

// marked says whether all points get marks, not only the last.
func (cs curves) marked() bool {
	return !cs.Steps && !slices.ContainsFunc(cs.Series, func(s Series) bool { return len(s.Points) > maxMarks })
}

// path returns what leads through the points: straight, or in steps.
func (cs curves) path(points []vg.Point) []vg.Point {
	if !cs.Steps {
		return points
	}
	var out []vg.Point
	for i, p := range points {
		if i > 0 {
			out = append(out, vg.Point{X: p.X, Y: points[i-1].Y})
		}
		out = append(out, p)
	}
	return out
}

// drawSpread draws the band from the least to the most where neighbours have
// them, and an upright stroke where only one point has.
func (cs curves) drawSpread(c *draw.Canvas, at func(x, y float64) vg.Point, i int) {
	var low, high []vg.Point
	flush := func() {
		if len(low) == 1 {
			c.StrokeLine2(cs.looks[i].thin(), low[0].X, low[0].Y, high[0].X, high[0].Y)
		} else if len(low) > 1 {
			edge := slices.Clone(cs.path(low))
			back := slices.Clone(cs.path(high))
			slices.Reverse(back)
			c.FillPolygon(faint(cs.looks[i].color, 0x26), append(edge, back...))
		}
		low, high = nil, nil
	}
	for _, p := range cs.Series[i].Points {
		if !p.spread() {
			flush()
			continue
		}
		low, high = append(low, at(p.X, p.Low)), append(high, at(p.X, p.High))
	}
	flush()
}
