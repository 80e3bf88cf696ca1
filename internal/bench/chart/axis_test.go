package chart

import (
	"math"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/plot"
)

// labels returns the numbers of ticks, in one line.
func labels(ticks []plot.Tick) string {
	var all []string
	for _, t := range ticks {
		if t.Label != "" {
			all = append(all, t.Label)
		}
	}
	return strings.Join(all, " ")
}

func TestUp(t *testing.T) {
	for _, c := range []struct {
		values   []float64
		log      bool
		min, max float64
		want     string
	}{
		{[]float64{3, 97}, false, 0, 100, "0 20 40 60 80 100"},
		{[]float64{1000}, false, 0, 1000, "0 200 400 600 800 1k"},
		{[]float64{1001}, false, 0, 1200, "0 200 400 600 800 1k 1.2k"},
		{[]float64{0, 0}, false, 0, 1, "0 0.2 0.4 0.6 0.8 1"},
		{[]float64{-20, 30}, false, -20, 30, "-20 -10 0 10 20 30"},
		{[]float64{-7}, false, -8, 0, "-8 -6 -4 -2 0"},
		{[]float64{0.012}, false, 0, 0.012, "0 0.002 0.004 0.006 0.008 0.01 0.012"},
		{[]float64{14000}, false, 0, 15000, "0 2.5k 5k 7.5k 10k 12.5k 15k"},
		{[]float64{48, 75000}, true, 20, 100000, "100 1k 10k 100k"},
		{[]float64{80, 180}, true, 50, 200, "50 100 200"},
		{[]float64{100}, true, 50, 200, "50 100 200"},
		{[]float64{300}, true, 200, 500, "200 500"},
		{[]float64{0.03, 2}, true, 0.02, 2, "0.02 0.05 0.1 0.2 0.5 1 2"},
		{[]float64{1, 1e15}, true, 1, 1e15, "1 100 10k 1M 100M 10G 1T 100T"},
	} {
		s := up(c.values, c.log)
		if math.Abs(s.min-c.min) > 1e-9*math.Abs(c.min) || math.Abs(s.max-c.max) > 1e-9*c.max || labels(s.ticks) != c.want {
			t.Errorf("%v: %v to %v, %s; not %v to %v, %s", c.values, s.min, s.max, labels(s.ticks), c.min, c.max, c.want)
		}
	}
}

func TestAlong(t *testing.T) {
	for _, c := range []struct {
		values   []float64
		log      bool
		min, max float64
		want     string
	}{
		{[]float64{0, 400}, false, 0, 400, "0 50 100 150 200 250 300 350 400"},
		{[]float64{3, 61}, false, 3, 61, "10 20 30 40 50 60"},
		{[]float64{5}, false, 4, 6, "4 4.25 4.5 4.75 5 5.25 5.5 5.75 6"},
		{[]float64{8}, true, 4, 16, "8"},
		{[]float64{1, 10, 100, 1000, 10000, 100000}, true, 1, 100000, "1 10 100 1k 10k 100k"},
		{[]float64{1, 3, 8, 64}, true, 1, 64, "1 3 8 64"},
		{[]float64{1, 2, 3, 4, 5, 6, 7, 8, 50}, true, 1, 50, "1 2 5 10 20 50"},
		{[]float64{30, 30.5, 39, 39.5}, true, 30, 39.5, "30 32 34 36 38"},
	} {
		s := along(c.values, c.log)
		if s.min != c.min || s.max != c.max || labels(s.ticks) != c.want {
			t.Errorf("%v: %v to %v, %s; not %v to %v, %s", c.values, s.min, s.max, labels(s.ticks), c.min, c.max, c.want)
		}
	}
}

// Over all ranges that are let in, ticks rise, lie on the axis, are neither
// none nor too many, and have numbers of their own.
func TestTicksOverAllRanges(t *testing.T) {
	for low := 1e-15; low < 1e15; low *= 7.3 {
		for _, f := range []float64{1, 1.01, 1.7, 3, 12, 170, 1e4, 1e9} {
			high := min(low*f, 1e15)
			for _, log := range []bool{false, true} {
				s := up([]float64{low, high}, log)
				values := make([]float64, 0, len(s.ticks))
				numbers := numbered(s.ticks)
				for _, k := range s.ticks {
					values = append(values, k.Value)
				}
				slack := (s.max - s.min) * 1e-6
				if s.min > low+slack || s.max < high-slack || values[0] < s.min-slack || values[len(values)-1] > s.max+slack {
					t.Errorf("%v to %v: axis %v to %v, ticks %v", low, high, s.min, s.max, values)
				}
				if !slices.IsSorted(values) || numbers < 2 || numbers > 10 {
					t.Errorf("%v to %v: %d numbers, ticks %v", low, high, numbers, values)
				}
				all := strings.Fields(labels(s.ticks))
				slices.Sort(all)
				if len(slices.Compact(all)) != numbers {
					t.Errorf("%v to %v: numbers twice in %q", low, high, labels(s.ticks))
				}
			}
		}
	}
}

func TestRound(t *testing.T) {
	for _, c := range []struct{ v, down, up float64 }{
		{1, 1, 1}, {1.1, 1, 2}, {2, 2, 2}, {3, 2, 5}, {5, 5, 5}, {7, 5, 10}, {10, 10, 10}, {999, 500, 1000}, {0.3, 0.2, 0.5},
	} {
		if d, u := roundDown(c.v), roundUp(c.v); d != c.down || u != c.up {
			t.Errorf("%v: %v and %v, not %v and %v", c.v, d, u, c.down, c.up)
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		v            float64
		short, exact string
	}{
		{0, "0", "0"},
		{0.25, "0.25", "0.250"},
		{1.234, "1.234", "1.23"},
		{9.31, "9.31", "9.31"},
		{33.14, "33.14", "33.1"},
		{150, "150", "150"},
		{999.6, "999.6", "1000"},
		{1000, "1k", "1000"},
		{1500, "1.5k", "1500"},
		{100000, "100k", "100000"},
		{2e6, "2M", "2000000"},
		{3e9, "3G", "3000000000"},
		{-2000, "-2k", "-2000"},
		{0.1 + 0.2, "0.3", "0.300"},
	} {
		if s, e := short(c.v), exact(c.v); s != c.short || e != c.exact {
			t.Errorf("%v: %q and %q, not %q and %q", c.v, s, e, c.short, c.exact)
		}
	}
}
