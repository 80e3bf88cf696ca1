package main

import (
	"bytes"
	"fmt"
	"image/color"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/respool/respool/internal/proof/sim"
)

// palette is that of Okabe and Ito, which readers with any common color blindness can tell
// apart. The last lines of a diagram are those of this module, and the first color is strong.
var palette = []color.Color{
	rgb(0x6E6E6E), rgb(0xD55E00), rgb(0x0072B2), rgb(0x009E73), rgb(0xCC79A7),
}

func rgb(hex uint32) color.Color {
	return color.RGBA{R: uint8(hex >> 16), G: uint8(hex >> 8), B: uint8(hex), A: 0xFF}
}

// diagram writes a diagram.
func diagram(c sim.Curve, dir, name string) error {
	plot.DefaultFont.Variant = "Sans"
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.Title, c.X, c.Y
	p.Legend.Top = true
	p.Legend.XOffs, p.Legend.Padding = vg.Points(150), vg.Points(4)
	if p.Y.Min = 0; c.Log {
		p.Y.Min, p.Y.Scale, p.Y.Tick.Marker = 1, plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	p.Add(plotter.NewGrid())
	for i, l := range c.Lines {
		points := make(plotter.XYs, len(l.X))
		for i := range points {
			points[i].X, points[i].Y = l.X[i], l.Y[i]
			if c.Log {
				points[i].Y = max(1, l.Y[i])
			}
		}
		if len(points) == 0 {
			continue
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", name, l.Name, err)
		}
		line.Color, line.Dashes, line.Width = palette[i%len(palette)], plotutil.Dashes(i), vg.Points(2)
		p.Add(line)
		p.Legend.Add(l.Name, line)
	}
	p.Y.Max = max(p.Y.Max*1.05, 2*p.Y.Min, 0.001)
	canvas, err := draw.NewFormattedCanvas(720, 300, "svg")
	if err != nil {
		return err
	}
	dc := draw.New(canvas)
	dc.SetColor(color.White)
	dc.Fill(dc.Rectangle.Path())
	p.Draw(draw.Crop(dc, 8, -165, 8, -8)) // the legend is at the right
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return err
	}
	// Few readers have the font that the text was measured with, but its twins.
	const font = "font-family:Liberation Sans"
	svg := bytes.ReplaceAll(b.Bytes(), []byte(font), []byte("font-family:'Liberation Sans',Arial,Helvetica,sans-serif"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".svg"), svg, 0o644)
}
