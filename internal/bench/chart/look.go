package chart

import (
	"hash/fnv"
	"image/color"
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A look is how a pool is drawn. Colour alone would not do: some readers see
// no difference between some of them, and lines cross.
type look struct {
	color  color.NRGBA
	dashes []vg.Length // nil: solid
	mark   mark
	strong bool // ours: thicker, and above the others
}

// The colours are those of Okabe and Ito, which stay apart for readers with any
// of the common colour blindnesses, without yellow, which is lost on white. The
// channel, which is no pool to choose, is grey. Clients
// of WebSockets stand beside us and each other alone, and look like pools.
var looks = map[string]look{
	"respool":       {rgb(0xD55E00), nil, regular(24, 0), true},
	"puddle":        {rgb(0x0072B2), []vg.Length{8, 3}, regular(4, math.Pi/4), false},
	"channel":       {rgb(0x6E6E6E), []vg.Length{2, 2.5}, plus, false},
	"database/sql":  {rgb(0x009E73), []vg.Length{9, 3, 2, 3}, regular(3, math.Pi/2), false},
	"commons":       {rgb(0xCC79A7), []vg.Length{5, 3}, regular(4, 0), false},
	"net/http":      {rgb(0xE69F00), []vg.Length{6, 2, 2, 2, 2, 2}, regular(3, -math.Pi/2), false},
	"smartconnpool": {rgb(0x56B4E9), []vg.Length{14, 3}, star, false},
	"pgxpool":       {rgb(0x7A4EA8), []vg.Length{11, 3, 4, 3}, regular(5, math.Pi/2), false},
	"go-redis":      {rgb(0x8C5A2B), []vg.Length{3, 2}, regular(24, 0), false},
	"gorilla":       {rgb(0x0072B2), []vg.Length{8, 3}, regular(4, math.Pi/4), false},
	"coder":         {rgb(0x009E73), []vg.Length{9, 3, 2, 3}, regular(3, math.Pi/2), false},
	"dialling":      {rgb(0x6E6E6E), []vg.Length{2, 2.5}, plus, false},
}

// spare are for names that are not in looks.
var spare = []look{
	{rgb(0x000000), []vg.Length{4, 2}, regular(3, 0), false},
	{rgb(0x8A3B6B), []vg.Length{5, 2}, regular(6, 0), false},
	{rgb(0x7F7A00), []vg.Length{7, 2, 3, 2}, regular(4, 0), false},
}

// looksOf returns the looks of the names in one chart. A name without a look of
// its own gets one by its hash, so usually the same in every chart, but never
// that of another name beside it while there is one left.
func looksOf(names []string) []look {
	taken := make([]int, len(spare))
	out := make([]look, len(names))
	for i, n := range names {
		if l, ok := looks[n]; ok {
			out[i] = l
			continue
		}
		h := fnv.New32a()
		h.Write([]byte(n))
		first := int(h.Sum32() % uint32(len(spare)))
		best := first
		for k := range spare {
			if at := (first + k) % len(spare); taken[at] < taken[best] {
				best = at
			}
		}
		taken[best]++
		out[i] = spare[best]
	}
	return out
}

func (l look) line() draw.LineStyle {
	s := draw.LineStyle{Color: l.color, Width: 1.75, Dashes: l.dashes}
	if l.strong {
		s.Width = 3
	}
	return s
}

// thin is the line without its dashes, for what leads from it to its name.
func (l look) thin() draw.LineStyle {
	return draw.LineStyle{Color: faint(l.color, 0x99), Width: 0.75}
}

func (l look) radius() vg.Length {
	if l.strong {
		return 4.5
	}
	return 4
}

// A mark is a polygon about the origin.
type mark []vg.Point

var (
	plus = mark{
		{X: -.3, Y: 1}, {X: .3, Y: 1}, {X: .3, Y: .3}, {X: 1, Y: .3}, {X: 1, Y: -.3}, {X: .3, Y: -.3},
		{X: .3, Y: -1}, {X: -.3, Y: -1}, {X: -.3, Y: -.3}, {X: -1, Y: -.3}, {X: -1, Y: .3}, {X: -.3, Y: .3},
	}
	star = spikes(5)
)

// regular returns a polygon of n equal sides, the first corner at the angle
// turn, of about the same area whatever n.
func regular(n int, turn float64) mark {
	step := 2 * math.Pi / float64(n)
	r := math.Sqrt(math.Pi * 0.85 / (float64(n) / 2 * math.Sin(step)))
	m := make(mark, n)
	for i := range m {
		sin, cos := math.Sincos(turn + float64(i)*step)
		m[i] = vg.Point{X: vg.Length(r * cos), Y: vg.Length(r * sin)}
	}
	return m
}

// spikes returns a star.
func spikes(n int) mark {
	m := regular(2*n, math.Pi/2)
	for i := range m {
		f := vg.Length(1.3)
		if i%2 == 1 {
			f = 0.55
		}
		m[i] = vg.Point{X: m[i].X * f, Y: m[i].Y * f}
	}
	return m
}

// draw puts the mark at a point, with a thin rim of paper, so that it stands
// out from what lies below.
func (m mark) draw(c *draw.Canvas, at vg.Point, r vg.Length, col color.Color) {
	var p vg.Path
	for i, v := range m {
		to := vg.Point{X: at.X + v.X*r, Y: at.Y + v.Y*r}
		if i == 0 {
			p.Move(to)
		} else {
			p.Line(to)
		}
	}
	p.Close()
	c.SetColor(col)
	c.Fill(p)
	c.SetLineStyle(draw.LineStyle{Color: paper, Width: 0.75})
	c.Stroke(p)
}

var (
	paper = rgb(0xFFFFFF)
	ink   = rgb(0x24292F)
	pale  = rgb(0x57606A) // text of lesser weight
	rule  = rgb(0x8C959F) // axes
	grid  = rgb(0xE4E7EB)
)

func rgb(hex uint32) color.NRGBA {
	return color.NRGBA{R: uint8(hex >> 16), G: uint8(hex >> 8), B: uint8(hex), A: 0xFF}
}

func faint(c color.NRGBA, alpha uint8) color.NRGBA {
	c.A = alpha
	return c
}
