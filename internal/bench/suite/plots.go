package suite

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/respool/respool/internal/bench/chart"
)

// A drawing is a plot that is not drawn yet.
type drawing struct {
	name string // of its file
	part string // the title of the part that it belongs to
	alt  string
	svg  func(w io.Writer) error
}

// drawings are the plots of the rows that were run.
func drawings(results []result, lines []line) (out []drawing) {
	byRow := map[string]result{}
	for _, r := range results {
		byRow[r.Row] = r
	}
	for _, w := range sweeps() {
		if r, ok := byRow[w.row]; ok {
			out = append(out, w.drawing(r))
		}
	}
	for _, x := range []struct{ row, title string }{
		{"spike-short", "50 callers at once, 5 idle, a make takes 150 ms, work 2 ms"},
		{"spike-long", "50 callers at once, 5 idle, a make takes 150 ms, work 2 s"},
	} {
		if r, ok := byRow[x.row]; ok && len(r.Curves) > 0 {
			out = append(out, timelineDrawing(r, x.title))
		}
	}
	bars := func(name, part, title, x, alt string, rows []named, metric string) {
		if b := barsOf(byRow, lines, rows, metric); len(b) > 0 {
			c := chart.Bars{Title: title, X: x, Groups: b}
			out = append(out, drawing{name, part, alt, c.SVG})
		}
	}
	bars("loops.svg", "Acquire and release", "An acquire and release", "ns; less is better",
		"Bars: nanoseconds of an acquire and release, by pool", []named{{"alone", "one goroutine"}, {"per-core", "one on each processor, size 64"}, {"64-on-4", "64 goroutines on 4, yielding"}}, "ns/op")
	bars("memory.svg", "One WebSocket", "Memory of an idle connection that is watched", "KiB; less is better",
		"Bars: KiB of memory of an idle WebSocket connection, by library", []named{{"ws-memory", "ws"}, {"wss-memory", "wss"}}, "KiB")
	bars("headline.svg", "The users' claim", "100 speakers: latency of an utterance, p50", "ms; less is better",
		"Bars: milliseconds until an utterance is answered, with a pool and with a dial for each", []named{{"ws-headline", "ws"}, {"wss-headline", "wss"}}, "p50 ms")
	return out
}

// drawing is the plot of a sweep. Axes are logarithmic where there is a lot between
// the ends, and a place at 0 then is left out.
func (w sweep) drawing(r result) drawing {
	places := w.places(r)
	wide := len(places) > 0 && places[len(places)-1] > 100
	l := chart.Lines{Title: w.title, X: w.axis, Y: w.unit + "; less is better", LogX: wide, LogY: true}
	for _, name := range r.Entrants {
		s := chart.Series{Name: name}
		for _, at := range places {
			v := spreadOf(metricOf(r.Samples[name], w.metric(at)))
			if v != nil && (at > 0 || !wide) {
				s.Points = append(s.Points, chart.Point{X: float64(at), Y: v.Median, Low: v.Min, High: v.Max})
			}
		}
		if len(s.Points) > 0 {
			l.Series = append(l.Series, s)
		}
	}
	return drawing{w.row + ".svg", "Scaling", fmt.Sprintf("Lines: %s by %s, for each pool", w.unit, w.axis), l.SVG}
}

// places are those that were measured.
func (w sweep) places(r result) (out []int) {
	for _, at := range w.at(fullSize()) {
		if len(metricOf(r.Samples[r.Main], w.metric(at))) > 0 {
			out = append(out, at)
		}
	}
	return out
}

// timelineDrawing shows how many were served by when.
func timelineDrawing(r result, title string) drawing {
	l := chart.Lines{Title: title, X: "ms since all asked", Y: "callers served", Steps: true}
	for _, name := range r.Entrants {
		s := chart.Series{Name: name, Points: []chart.Point{{}}}
		for _, p := range r.Curves[name] {
			if x := max(0, p.AtMs); x == s.Points[len(s.Points)-1].X {
				s.Points[len(s.Points)-1].Y = float64(p.Count)
			} else {
				s.Points = append(s.Points, chart.Point{X: x, Y: float64(p.Count)})
			}
		}
		if len(s.Points) > 1 {
			l.Series = append(l.Series, s)
		}
	}
	return drawing{r.Row + ".svg", "Bursts, outages, crowds", "Steps: how many of 50 callers were served by when, for each pool", l.SVG}
}

// named is a row, and what it is called in a plot.
type named struct{ row, name string }

// barsOf has a group for each row, with a bar for each entrant.
func barsOf(byRow map[string]result, lines []line, rows []named, metric string) (out []chart.Group) {
	for _, x := range rows {
		r, ok := byRow[x.row]
		if !ok {
			continue
		}
		g := chart.Group{Name: x.name}
		for _, e := range r.Entrants {
			v := spreadOf(metricOf(r.Samples[e], metric))
			if v == nil || v.Min < 0 {
				continue
			}
			b := chart.Bar{Name: e, Value: v.Median, Low: v.Min, High: v.Max}
			if e == r.Main {
				b.Goal = goalOf(lines, x.row, metric)
			}
			g.Values = append(g.Values, b)
		}
		if len(g.Values) > 0 {
			out = append(out, g)
		}
	}
	return out
}

// goalOf is what a figure has to reach; 0: nothing that can be drawn, because it is
// a ratio, say.
func goalOf(lines []line, row, metric string) float64 {
	for _, l := range lines {
		if l.Row == row && l.Metric == metric && !strings.HasPrefix(l.Goal, "ratio") {
			return l.Bound
		}
	}
	return 0
}

// draw writes the drawings into dir/plots, and returns where.
func draw(dir string, all []drawing) (out []plotted, err error) {
	const sub = "plots"
	if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
		return nil, err
	}
	for _, d := range all {
		var b bytes.Buffer
		if err := d.svg(&b); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, sub, d.name), b.Bytes(), 0o644); err != nil {
			return nil, err
		}
		out = append(out, plotted{file: sub + "/" + d.name, alt: d.alt, title: d.part})
	}
	return out, nil
}
