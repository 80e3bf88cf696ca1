package chart

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
)

// A scale is the range of an axis, what is between its ends, and the ticks.
type scale struct {
	min, max float64
	log      bool
	ticks    []plot.Tick
}

func (s scale) set(a *plot.Axis) {
	a.Min, a.Max = s.min, s.max
	a.Tick.Marker = plot.ConstantTicks(s.ticks)
	if s.log {
		a.Scale = plot.LogScale{}
	}
}

// along is the scale of an X axis: as far as the values go and no further. On a
// logarithmic axis the ticks are the values themselves if there are few, as
// these are the sizes that were measured.
func along(values []float64, log bool) scale {
	s := scale{log: log}
	s.min, s.max = ends(values)
	if s.min == s.max {
		s.min, s.max = s.min-1, s.max+1
		if log {
			s.min, s.max = values[0]/2, values[0]*2
		}
	}
	switch {
	case !log:
		s.ticks = linearTicks(s.min, s.max, 8)
	case sparse(values, s.min, s.max):
		for _, v := range values {
			s.ticks = append(s.ticks, plot.Tick{Value: v, Label: short(v)})
		}
	default:
		s.ticks = logTicks(s.min, s.max)
		if numbered(s.ticks) < 2 {
			s.ticks = linearTicks(s.min, s.max, 6)
		}
	}
	return s
}

func numbered(ticks []plot.Tick) (n int) {
	for _, t := range ticks {
		if !t.IsMinor() {
			n++
		}
	}
	return n
}

// sparse says whether sorted values have room for their numbers on a
// logarithmic axis.
func sparse(values []float64, least, most float64) bool {
	for i, v := range values {
		if i > 0 && math.Log(v/values[i-1])/math.Log(most/least) < 0.08 {
			return false
		}
	}
	return true
}

// up is the scale of the values themselves: from zero, or from below if some
// are, to a round number; on a logarithmic axis from one to another.
func up(values []float64, log bool) scale {
	s := scale{log: log}
	s.min, s.max = ends(values)
	if log {
		s.min, s.max = roundDown(s.min), roundUp(s.max)
		if s.min == s.max {
			s.min, s.max = roundDown(s.min*0.9), roundUp(s.max*1.1)
		}
		s.ticks = logTicks(s.min, s.max)
		return s
	}
	s.min, s.max = min(s.min, 0), max(s.max, 0)
	if s.min == s.max {
		s.max = 1
	}
	step := niceStep(s.min, s.max, 6)
	s.min, s.max = math.Floor(s.min/step)*step, math.Ceil(s.max/step-1e-9)*step
	s.ticks = linearTicks(s.min, s.max, 6)
	return s
}

func ends(values []float64) (least, most float64) {
	least, most = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		least, most = min(least, v), max(most, v)
	}
	return least, most
}

// niceStep returns a step of 1, 2, 2.5 or 5 times a power of ten, of which at
// most n fit into the range.
func niceStep(least, most float64, n int) float64 {
	raw := (most - least) / float64(n)
	ten := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 2.5, 5} {
		if m*ten >= raw*(1-1e-9) {
			return m * ten
		}
	}
	return 10 * ten
}

func linearTicks(least, most float64, n int) []plot.Tick {
	step := niceStep(least, most, n)
	var ticks []plot.Tick
	first := math.Ceil(least/step - 1e-9)
	for i := 0; i <= n; i++ {
		v := (first + float64(i)) * step
		if v > most+step*1e-9 {
			break
		}
		ticks = append(ticks, plot.Tick{Value: v, Label: short(v)})
	}
	return ticks
}

// logTicks are at 1 to 9 times the powers of ten. The powers have numbers, or
// some of them if they are many; 2 and 5 times too if they are few.
func logTicks(least, most float64) []plot.Tick {
	first, last := int(math.Floor(math.Log10(least))), int(math.Ceil(math.Log10(most)))
	few := math.Log10(most/least) < 2.2
	every := (last-first)/9 + 1
	var ticks []plot.Tick
	for e := first; e <= last; e++ {
		for m := 1.0; m <= 9; m++ {
			t := plot.Tick{Value: m * math.Pow10(e)}
			if t.Value < least*(1-1e-9) || t.Value > most*(1+1e-9) || m > 1 && every > 1 {
				continue
			}
			if m == 1 && (e-first)%every == 0 || few && (m == 2 || m == 5) {
				t.Label = short(t.Value)
			}
			ticks = append(ticks, t)
		}
	}
	return ticks
}

// roundUp returns the next of 1, 2, 5, 10, … that is not less than v.
func roundUp(v float64) float64 {
	e := int(math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if r := m * math.Pow10(e); r >= v*(1-1e-9) {
			return r
		}
	}
	return math.Pow10(e + 1)
}

func roundDown(v float64) float64 {
	e := int(math.Floor(math.Log10(v)))
	for _, m := range []float64{5, 2} {
		if r := m * math.Pow10(e); r <= v*(1+1e-9) {
			return r
		}
	}
	return math.Pow10(e)
}

// short prints the number of a tick: 0.5, 10, 1.5k, 2M.
func short(v float64) string {
	unit := ""
	for _, u := range []struct {
		of   float64
		name string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(v) >= u.of*(1-1e-9) {
			v, unit = v/u.of, u.name
			break
		}
	}
	return strconv.FormatFloat(v, 'g', 6, 64) + unit
}

// exact prints a figure as the tables of the report do: three digits, or all of
// those before the point.
func exact(v float64) string {
	a, digits := math.Abs(v), 3
	switch {
	case v == math.Trunc(v), a >= 100:
		digits = 0
	case a >= 10:
		digits = 1
	case a >= 1:
		digits = 2
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}
