package chart

import (
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const (
	rowHeight   vg.Length = 23
	barHeight   vg.Length = 14
	groupHeight vg.Length = 26 // of the name of a group
	groupGap    vg.Length = 10 // above that, from the second on
	barFoot     vg.Length = 50 // the axis
	valueSpace  vg.Length = 7  // from a bar to its figure
	nameSpace   vg.Length = 12 // from a name to its bar
)

func (b Bars) draw() page {
	rows, height := b.rows()
	pg := newPage(headHeight+height+barFoot, b.Title, b.X)
	p := newPlot()
	up(b.values(), false).set(&p.X)
	p.X.Tick.Length = 0
	p.X.Width = 0
	p.Y.Min, p.Y.Max = 0, height.Points()
	p.HideY()
	g := plotter.NewGrid()
	g.Vertical = draw.LineStyle{Color: grid, Width: 1}
	g.Horizontal.Color = nil
	p.Add(g, rows)
	left, right := rows.room(p.X.Max)
	p.Draw(draw.Crop(pg.Canvas, margin+left, -margin-right, margin, -headHeight))
	return pg
}

// values returns everything that the axis must reach.
func (b Bars) values() []float64 {
	var all []float64
	for _, g := range b.Groups {
		for _, v := range g.Values {
			all = append(all, v.Value, v.High, v.Goal)
		}
	}
	return all
}

// A row is the name of a group, or a bar.
type row struct {
	Bar
	look  look
	group bool
	y     vg.Length // of its middle, from the top
}

type rows []row

// rows lays the chart out.
func (b Bars) rows() (all rows, height vg.Length) {
	for i, g := range b.Groups {
		if i > 0 {
			height += groupGap
		}
		if g.Name != "" {
			all = append(all, row{Bar: Bar{Name: g.Name}, group: true, y: height + groupHeight/2})
			height += groupHeight
		}
		var names []string
		for _, v := range g.Values {
			names = append(names, v.Name)
		}
		for j, l := range looksOf(names) {
			all = append(all, row{Bar: g.Values[j], look: l, y: height + rowHeight/2})
			height += rowHeight
		}
	}
	return all, height
}

func (r row) style() draw.TextStyle { return textStyle(13, ink, r.look.strong || r.group) }

func (r row) goalText() string {
	return "goal " + exact(r.Goal)
}

// textWidth is that of the figure, and of the goal behind it.
func (r row) textWidth() vg.Length {
	w := r.style().Width(exact(r.Value))
	if r.Goal != 0 {
		w += valueSpace + textStyle(12, pale, false).Width(r.goalText())
	}
	return w
}

// room returns the widths of the names at the left, and of what the figures
// need right of an axis that ends at most.
func (rs rows) room(most float64) (left, right vg.Length) {
	for _, r := range rs {
		if !r.group {
			left = max(left, r.style().Width(r.Name)+nameSpace)
		}
	}
	total := pageWidth - 2*margin - left
	axis := total
	for _, r := range rs {
		if end := max(r.Value, r.High, r.Goal) / most; end > 0 {
			axis = min(axis, (total-r.textWidth()-valueSpace)/vg.Length(end))
		}
	}
	return left, total - axis
}

// Plot is what package plot calls.
func (rs rows) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	c.StrokeLine2(draw.LineStyle{Color: rule, Width: 1}, c.Min.X, c.Min.Y, c.Min.X, c.Max.Y)
	for _, r := range rs {
		y := c.Max.Y - r.y
		if r.group {
			// The grid ends where a group does.
			top, foot := y+groupHeight/2+groupGap, y-groupHeight/2+3
			c.FillPolygon(paper, []vg.Point{{X: 0, Y: foot}, {X: pageWidth, Y: foot}, {X: pageWidth, Y: top}, {X: 0, Y: top}})
			c.FillText(r.style(), vg.Point{X: margin, Y: y - 5}, r.Name)
			continue
		}
		r.draw(&c, x, y)
	}
}

func (r row) draw(c *draw.Canvas, x func(float64) vg.Length, y vg.Length) {
	name := r.style()
	name.XAlign = draw.XRight
	c.FillText(name, vg.Point{X: c.Min.X - nameSpace, Y: y - 4.5}, r.Name)

	half := barHeight / 2
	c.FillPolygon(r.look.color, []vg.Point{
		{X: x(0), Y: y - half}, {X: x(r.Value), Y: y - half}, {X: x(r.Value), Y: y + half}, {X: x(0), Y: y + half},
	})
	end := x(r.Value)
	if r.Low != 0 || r.High != 0 {
		s := draw.LineStyle{Color: ink, Width: 1}
		c.StrokeLine2(s, x(r.Low), y, x(r.High), y)
		c.StrokeLine2(s, x(r.Low), y-3, x(r.Low), y+3)
		c.StrokeLine2(s, x(r.High), y-3, x(r.High), y+3)
		end = max(end, x(r.High))
	}
	at := end + valueSpace
	if r.Goal != 0 {
		g := x(r.Goal)
		c.StrokeLine2(draw.LineStyle{Color: paper, Width: 5}, g, y-half-3, g, y+half+3)
		c.StrokeLine2(draw.LineStyle{Color: ink, Width: 2.5}, g, y-half-3, g, y+half+3)
		if g > end-valueSpace && g < at+r.textWidth()+valueSpace {
			at = g + valueSpace
		}
	}
	c.FillText(r.style(), vg.Point{X: at, Y: y - 4.5}, exact(r.Value))
	if r.Goal != 0 {
		c.FillText(textStyle(12, pale, false), vg.Point{X: at + r.style().Width(exact(r.Value)) + valueSpace, Y: y - 4.5}, r.goalText())
	}
}
