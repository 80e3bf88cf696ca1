package suite

import (
	"bytes"
	"image/color"
	"os"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// looks gives an entrant the same color, dash and mark in every plot; respool is the
// first. Entrants of different rows may share one.
var looks = [][]string{
	{"respool"}, {"puddle", gorillaName}, {"database/sql", coderName}, {"pgxpool", tunedName}, {"commons"},
	{"net/http"}, {"smartconnpool"}, {"go-redis"}, {"channel", "dialing"},
}

// palette is that of Okabe and Ito, which readers with any common color blindness can
// tell apart, with two more.
var palette = []color.Color{
	rgb(0xD55E00), rgb(0x0072B2), rgb(0x009E73), rgb(0x7A4EA8), rgb(0xCC79A7), rgb(0xE69F00), rgb(0x56B4E9), rgb(0x8C5A2B), rgb(0x6E6E6E),
}

func rgb(hex uint32) color.Color {
	return color.RGBA{R: uint8(hex >> 16), G: uint8(hex >> 8), B: uint8(hex), A: 0xFF}
}

func lookOf(name string) int {
	return max(0, slices.IndexFunc(looks, func(l []string) bool { return slices.Contains(l, name) }))
}

func newPlot(title, x, y string) *plot.Plot {
	plot.DefaultFont.Variant = "Sans"
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Legend.Top = true
	p.Legend.XOffs, p.Legend.Padding = vg.Points(130), vg.Points(4)
	p.Add(plotter.NewGrid())
	return p
}

// lined adds a line for an entrant, with the spread of its points if there is one.
func lined(p *plot.Plot, name string, points plotter.XYs, errs plotter.YErrors, steps bool) {
	look := lookOf(name)
	l, marks, err := plotter.NewLinePoints(points)
	check(err)
	l.Color, l.Dashes, l.Width = palette[look], plotutil.Dashes(look), vg.Points(1.5)
	marks.Color, marks.Shape, marks.Radius = palette[look], plotutil.Shape(look), vg.Points(3)
	if look == 0 {
		l.Width = vg.Points(3)
	}
	p.Add(l)
	if steps {
		l.StepStyle = plotter.PostStep
		p.Legend.Add(name, l)
		return
	}
	bars := must(plotter.NewYErrorBars(struct {
		plotter.XYer
		plotter.YErrorer
	}{points, errs}))
	bars.Color = palette[look]
	p.Add(marks, bars)
	p.Legend.Add(name, l, marks)
}

// plotSweep draws a sweep on logarithmic axes; X is linear if its range is small. A
// step at 0 has no room on a logarithmic axis.
func plotSweep(w sweep, r result) *plot.Plot {
	p := newPlot(w.title, w.axis, w.unit+"; less is better")
	wide := slices.Max(w.steps) > 100
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	if wide {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	for _, name := range r.Entrants {
		var points plotter.XYs
		var errs plotter.YErrors
		for _, at := range w.steps {
			if v := spreadOf(r.values(name, w.metric(at))); v != nil && (at > 0 || !wide) {
				points = append(points, plotter.XY{X: float64(at), Y: v.Median})
				errs = append(errs, struct{ Low, High float64 }{v.Median - v.Min, v.Max - v.Median})
			}
		}
		if len(points) > 0 {
			lined(p, name, points, errs, false)
		}
	}
	return p
}

// plotCurves draws how many callers were served by when.
func plotCurves(r result, title string) *plot.Plot {
	p := newPlot(title, "ms since all callers began", "callers served")
	for _, name := range r.Entrants {
		points := plotter.XYs{{}}
		for _, at := range r.Curves[name] {
			points = append(points, plotter.XY{X: max(0, at.AtMs), Y: float64(at.Count)})
		}
		if len(points) > 1 {
			lined(p, name, points, nil, true)
		}
	}
	return p
}

// plotBars draws a metric of some rows, with a labelled group for each row and a bar for
// each entrant; nil: no row was run.
func (r record) plotBars(title, unit, metric string, labels map[string]string) *plot.Plot {
	var rows []result
	var groups, names []string // names of all entrants with the metric
	for _, x := range r.Results {
		if labels[x.Row] == "" {
			continue
		}
		rows, groups = append(rows, x), append(groups, labels[x.Row])
		for _, name := range x.Entrants {
			if !slices.Contains(names, name) && len(x.values(name, metric)) > 0 {
				names = append(names, name)
			}
		}
	}
	if len(rows) == 0 {
		return nil
	}
	p := newPlot(title, "", unit+"; less is better")
	const width = 9
	for i, name := range names {
		values := make(plotter.Values, len(rows))
		for i, x := range rows {
			if s := spreadOf(x.values(name, metric)); s != nil {
				values[i] = s.Median
			}
		}
		b := must(plotter.NewBarChart(values, vg.Points(width)))
		b.Color, b.LineStyle.Width = palette[lookOf(name)], 0
		b.Offset = vg.Points(width * (float64(i) - float64(len(names)-1)/2))
		p.Add(b)
		p.Legend.Add(name, b)
	}
	p.NominalX(groups...)
	return p
}

// drawPlots writes the plots of the rows that were run into dir/plots, and returns the
// names of their files.
func (r record) drawPlots(dir string) (files []string) {
	plots := map[string]*plot.Plot{}
	for _, w := range sweeps(size{}) {
		x := r.result(w.row)
		w.steps = slices.DeleteFunc(w.steps, func(at int) bool { return len(x.values(x.Main, w.metric(at))) == 0 })
		if len(w.steps) > 0 {
			plots[w.row] = plotSweep(w, x)
		}
	}
	for row, work := range map[string]string{"spike-short": "2 ms", "spike-long": "2 s"} {
		if x := r.result(row); len(x.Curves) > 0 {
			plots[row] = plotCurves(x, "50 callers at once, 5 idle, a make takes 150 ms, work "+work)
		}
	}
	plots["loops"] = r.plotBars("An acquire and release", "ns", "ns/op", map[string]string{
		"alone": "one goroutine", "per-core": "one on each processor, size 64", "64-on-4": "64 goroutines on 4, yielding",
	})
	plots["memory"] = r.plotBars("Memory of an idle connection that is watched", "KiB", "KiB", map[string]string{"ws-memory": "ws", "wss-memory": "wss"})
	plots["headline"] = r.plotBars("100 speakers: latency of an utterance, p50", "ms", "p50 ms", map[string]string{"ws-headline": "ws", "wss-headline": "wss"})
	check(os.MkdirAll(filepath.Join(dir, "plots"), 0o755))
	for name, p := range plots {
		if p != nil {
			savePlot(p, filepath.Join(dir, "plots", name+".svg"))
			files = append(files, name)
		}
	}
	return files
}

// savePlot leaves room for the legend at the right.
func savePlot(p *plot.Plot, file string) {
	c := must(draw.NewFormattedCanvas(720, 400, "svg"))
	dc := draw.New(c)
	dc.SetColor(color.White)
	dc.Fill(dc.Rectangle.Path())
	p.Draw(draw.Crop(dc, 8, -145, 8, -8))
	var b bytes.Buffer
	must(c.WriteTo(&b))
	// Few readers have the font that the text was measured with, but its twins.
	const font = "font-family:Liberation Sans"
	svg := bytes.ReplaceAll(b.Bytes(), []byte(font), []byte("font-family:'Liberation Sans',Arial,Helvetica,sans-serif"))
	check(os.WriteFile(file, svg, 0o644))
}
