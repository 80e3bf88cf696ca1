// Package chart draws the plots of a report as SVG: [Lines] over a size or the
// time, and [Bars] to compare single figures. A pool has the same colour, dash
// and mark in every one of them, and the same chart is the same bytes, so that
// a report that did not change shows no difference.
//
// The drawings are made for a page on GitHub. They bring their own white paper,
// which a dark theme leaves alone, and text in whatever font like Arial the
// reader has. What is measured, and what a chart should say, is left to others.
package chart

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Point is one figure. Low and High are the least and the most of the rounds
// that it is the median of, drawn as a faint band; both zero: there is none.
type Point struct{ X, Y, Low, High float64 }

func (p Point) spread() bool { return p.Low != 0 || p.High != 0 }

// A Series is a line with a name, usually a pool's. X must not fall from one
// point to the next. What could not be measured is left out.
type Series struct {
	Name   string
	Points []Point
}

// Lines is a chart of figures over a size or the time. The names of the series
// stand at the right, each beside the end of its line.
type Lines struct {
	Title      string
	X, Y       string   // what the axes are of, with the unit
	LogX, LogY bool     // logarithmic axes: everything must be above zero
	Series     []Series // at least one, of different names
	Steps      bool     // Y holds until the next X: a timeline
	Goal       *float64 // a level to be reached; nil: none
}

// A Bar is one figure of a [Group], zero or more, with Low and High as in
// [Point]. Goal is where a mark is drawn; zero: nowhere.
type Bar struct {
	Name             string
	Value, Low, High float64
	Goal             float64
}

// A Group is bars that are compared. The name stands above them and may be
// empty.
type Group struct {
	Name   string
	Values []Bar // at least one, of different names
}

// Bars is a chart of single figures. The bars lie, so that their names have
// room, and the chart is as high as they need.
type Bars struct {
	Title  string
	X      string // what the bars are of, with the unit
	Groups []Group
}

// SVG writes the chart. When something in it cannot be drawn, nothing is
// written, and the error says what and where.
func (l Lines) SVG(w io.Writer) error {
	if err := l.check(); err != nil {
		return fmt.Errorf("chart: %q: %w", l.Title, err)
	}
	return l.draw().write(w, l.Title)
}

// SVG writes the chart, or nothing, as [Lines.SVG] does.
func (b Bars) SVG(w io.Writer) error {
	if err := b.check(); err != nil {
		return fmt.Errorf("chart: %q: %w", b.Title, err)
	}
	return b.draw().write(w, b.Title)
}

func (l Lines) check() error {
	if err := texts(l.Title, l.X, l.Y); err != nil {
		return err
	}
	if len(l.Series) == 0 {
		return errors.New("no series")
	}
	if l.Goal != nil {
		if err := figure(*l.Goal, l.LogY); err != nil {
			return fmt.Errorf("the goal %w", err)
		}
	}
	seen := make(map[string]bool)
	for _, s := range l.Series {
		if err := name(s.Name, seen); err != nil {
			return fmt.Errorf("series %w", err)
		}
		if len(s.Points) == 0 {
			return fmt.Errorf("series %q has no points", s.Name)
		}
		for i, p := range s.Points {
			if err := l.checkPoint(p); err != nil {
				return fmt.Errorf("series %q, point %d: %w", s.Name, i, err)
			}
			if i > 0 && p.X < s.Points[i-1].X {
				return fmt.Errorf("series %q, point %d: X falls from %v to %v", s.Name, i, s.Points[i-1].X, p.X)
			}
		}
	}
	return nil
}

func (l Lines) checkPoint(p Point) error {
	if err := figure(p.X, l.LogX); err != nil {
		return fmt.Errorf("its X %w", err)
	}
	if err := figure(p.Y, l.LogY); err != nil {
		return fmt.Errorf("its Y %w", err)
	}
	if !p.spread() {
		return nil
	}
	return spread(p.Low, p.Y, p.High, l.LogY)
}

func (b Bars) check() error {
	if err := texts(b.Title, b.X); err != nil {
		return err
	}
	if len(b.Groups) == 0 {
		return errors.New("no groups")
	}
	for _, g := range b.Groups {
		if err := texts("-" + g.Name); err != nil {
			return err
		}
		if len(g.Values) == 0 {
			return fmt.Errorf("group %q has no bars", g.Name)
		}
		seen := make(map[string]bool)
		for _, v := range g.Values {
			if err := name(v.Name, seen); err != nil {
				return fmt.Errorf("group %q: bar %w", g.Name, err)
			}
			if err := v.check(); err != nil {
				return fmt.Errorf("group %q, bar %q: %w", g.Name, v.Name, err)
			}
		}
	}
	return nil
}

func (b Bar) check() error {
	for _, v := range []float64{b.Value, b.Low, b.High, b.Goal} {
		if err := figure(v, false); err != nil {
			return fmt.Errorf("a value %w", err)
		}
		if v < 0 {
			return fmt.Errorf("%v is below zero, where no bar starts", v)
		}
	}
	if b.Low == 0 && b.High == 0 {
		return nil
	}
	return spread(b.Low, b.Value, b.High, false)
}

// figure says why v has no place on an axis.
func figure(v float64, log bool) error {
	switch {
	case math.IsNaN(v), math.IsInf(v, 0):
		return fmt.Errorf("is %v", v)
	case log && v <= 0:
		return fmt.Errorf("is %v, on a logarithmic axis", v)
	case math.Abs(v) > 1e15:
		return fmt.Errorf("is %v, too much to draw", v)
	case v != 0 && math.Abs(v) < 1e-15:
		return fmt.Errorf("is %v, too little to draw", v)
	}
	return nil
}

func spread(low, v, high float64, log bool) error {
	for _, v := range []float64{low, high} {
		if err := figure(v, log); err != nil {
			return fmt.Errorf("the spread %w", err)
		}
	}
	if low > v || v > high {
		return fmt.Errorf("%v is not in the spread of %v to %v", v, low, high)
	}
	return nil
}

// name complains about a name that is empty or that was seen.
func name(s string, seen map[string]bool) error {
	if err := texts(s); err != nil {
		return err
	}
	if seen[s] {
		return fmt.Errorf("%q is there twice", s)
	}
	seen[s] = true
	return nil
}

// texts complains about what would be no text in XML, or none at all.
func texts(all ...string) error {
	for _, s := range all {
		switch {
		case strings.TrimSpace(s) == "":
			return errors.New("without a name")
		case !utf8.ValidString(s), strings.ContainsFunc(s, func(r rune) bool {
			return unicode.IsControl(r) || r == 0xFFFE || r == 0xFFFF
		}):
			return errors.New("text that cannot be drawn: " + strconv.Quote(s))
		}
	}
	return nil
}
