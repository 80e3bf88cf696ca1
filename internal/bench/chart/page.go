package chart

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"image/color"
	"io"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Lengths, in pixels: what vg takes for points becomes one in write.
const (
	pageWidth  vg.Length = 720
	pageHeight vg.Length = 400
	margin     vg.Length = 18
	headHeight vg.Length = 68 // title and what the figures are of
)

// A page is the paper with the head of a chart on it.
type page struct {
	draw.Canvas
	out *vgsvg.Canvas
}

func newPage(height vg.Length, title, of string) page {
	out := vgsvg.NewWith(vgsvg.UseWH(pageWidth, height))
	p := page{draw.New(out), out}
	p.SetColor(paper)
	p.Fill(p.Rectangle.Path())
	p.FillText(textStyle(17, ink, true), vg.Point{X: margin, Y: height - 30}, title)
	p.FillText(textStyle(13, pale, false), vg.Point{X: margin, Y: height - 50}, of)
	return p
}

// textStyle is for text that starts, and has its base line, at the point that
// it is drawn at.
func textStyle(size font.Length, c color.Color, bold bool) draw.TextStyle {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
	if bold {
		f.Weight = xfont.WeightBold
	}
	return draw.TextStyle{Color: c, Font: f, Handler: plot.DefaultTextHandler}
}

// newPlot returns a plot with the axes as all charts have them. Their names are
// drawn apart: plot gives one on a logarithmic axis room where it does not stand.
func newPlot() *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.Width, a.Padding = rule, 1, 0
		a.Tick.Color, a.Tick.Width, a.Tick.Length = rule, 1, 5
		a.Tick.Label.Font = textStyle(12, ink, false).Font
		a.Tick.Label.Color = ink
	}
	return p
}

// family has the fonts with the widths that the text was measured with, under
// the names they have on different systems, and then anything without serifs.
const family = "font-family:'Liberation Sans',Arial,Helvetica,sans-serif"

// write finishes what vgsvg made. It names one font, which few readers have,
// makes a point of every pixel, and knows no title.
func (p page) write(w io.Writer, title string) error {
	var b bytes.Buffer
	if _, err := p.out.WriteTo(&b); err != nil {
		return fmt.Errorf("chart: %w", err)
	}
	_, body, ok := bytes.Cut(b.Bytes(), []byte(`xmlns:xlink="http://www.w3.org/1999/xlink">`))
	if !ok || !bytes.Contains(body, []byte("font-family:Liberation Sans;")) {
		return errors.New("chart: bug: vgsvg writes something else than it did")
	}
	body = bytes.ReplaceAll(body, []byte("font-family:Liberation Sans;"), []byte(family+";"))
	width, height := p.out.Size()
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]g" height="%[2]g" viewBox="0 0 %[1]g %[2]g" role="img">
<title>%s</title>%s`, width.Points(), height.Points(), html.EscapeString(title), body)
	return err
}
