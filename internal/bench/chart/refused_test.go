package chart

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

// Each case spoils what can be drawn in one place.
func TestLinesRefused(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		want  string
		spoil func(l *Lines)
	}{
		{`chart: "": without a name`, func(l *Lines) { l.Title = "" }},
		{"without a name", func(l *Lines) { l.X = " " }},
		{"without a name", func(l *Lines) { l.Y = "" }},
		{`cannot be drawn: "a\nb"`, func(l *Lines) { l.X = "a\nb" }},
		{`cannot be drawn: "\xff"`, func(l *Lines) { l.Y = "\xff" }},
		{"cannot be drawn", func(l *Lines) { l.Y = "\ufffe" }},
		{"no series", func(l *Lines) { l.Series = nil }},
		{`series "puddle" has no points`, func(l *Lines) { l.Series[1].Points = nil }},
		{"series without a name", func(l *Lines) { l.Series[1].Name = "" }},
		{`series "puddle" is there twice`, func(l *Lines) { l.Series[0].Name = "puddle" }},
		{`series "puddle", point 2: its X is NaN`, func(l *Lines) { l.Series[1].Points[2].X = nan }},
		{`point 2: its Y is +Inf`, func(l *Lines) { l.Series[1].Points[2].Y = inf }},
		{`point 2: its Y is -Inf`, func(l *Lines) { l.Series[1].Points[2].Y = -inf }},
		{`point 2: its Y is 1e+16, too much`, func(l *Lines) { l.Series[1].Points[2].Y = 1e16 }},
		{`point 2: its Y is 1e-300, too little`, func(l *Lines) { l.Series[1].Points[2].Y = 1e-300 }},
		{`point 0: its X is 0, on a logarithmic axis`, func(l *Lines) { l.Series[1].Points[0].X = 0 }},
		{`point 0: its Y is -1, on a logarithmic axis`, func(l *Lines) { l.Series[1].Points[0].Y = -1 }},
		{`point 0: the spread is 0, on a logarithmic axis`, func(l *Lines) { l.Series[1].Points[0].Low = 0 }},
		{`point 0: the spread is NaN`, func(l *Lines) { l.Series[1].Points[0].High = nan }},
		{`is not in the spread of`, func(l *Lines) { l.Series[1].Points[0].High = 1 }},
		{`is not in the spread of`, func(l *Lines) { l.Series[1].Points[0].Low = 1e6 }},
		{`point 3: X falls from 100 to 9`, func(l *Lines) { l.Series[1].Points[3].X = 9 }},
		{`the goal is 0, on a logarithmic axis`, func(l *Lines) { l.Goal = new(float64) }},
		{`the goal is NaN`, func(l *Lines) { l.Goal = &nan; l.LogY = false }},
	} {
		l := contention()
		c.spoil(&l)
		refused(t, l, c.want)
	}
}

func TestBarsRefused(t *testing.T) {
	for _, c := range []struct {
		want  string
		spoil func(b *Bars)
	}{
		{"without a name", func(b *Bars) { b.Title = "" }},
		{"without a name", func(b *Bars) { b.X = "" }},
		{"no groups", func(b *Bars) { b.Groups = nil }},
		{`group "10,000 connections" has no bars`, func(b *Bars) { b.Groups[0].Values = nil }},
		{"cannot be drawn", func(b *Bars) { b.Groups[0].Name = "\x00" }},
		{"bar without a name", func(b *Bars) { b.Groups[0].Values[1].Name = "" }},
		{`bar "respool" is there twice`, func(b *Bars) { b.Groups[0].Values[1].Name = "respool" }},
		{`bar "respool": a value is NaN`, func(b *Bars) { b.Groups[0].Values[0].Value = math.NaN() }},
		{`a value is 5e-324, too little`, func(b *Bars) { b.Groups[0].Values[0].Goal = 5e-324 }},
		{`a value is +Inf`, func(b *Bars) { b.Groups[0].Values[0].Goal = math.Inf(1) }},
		{`-1 is below zero`, func(b *Bars) { b.Groups[0].Values[0].Low = -1 }},
		{`9.31 is not in the spread of 9.2 to 9.3`, func(b *Bars) { b.Groups[0].Values[0].High = 9.3 }},
	} {
		b := memory()
		c.spoil(&b)
		refused(t, b, c.want)
	}
}

func refused(t *testing.T, d drawer, want string) {
	t.Helper()
	var b bytes.Buffer
	err := d.SVG(&b)
	if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "chart: ") {
		t.Errorf("%v, not %s", err, want)
	}
	if b.Len() > 0 {
		t.Errorf("%s: %d bytes written all the same", want, b.Len())
	}
}
