package sim_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/respool/respool/internal/proof/sim"
)

// The loads have the rates and hold times that they are to have.
func TestArrivals(t *testing.T) {
	const lasts = 200 * time.Second
	for name, c := range map[string]struct {
		rate sim.Rate
		hold sim.Hold
		mean float64       // arrivals in a second
		high float64       // arrivals in a second, in the first fifth of each 10 s
		held time.Duration // mean
	}{
		"steady":  {sim.Steady(100), sim.Exponential(50 * time.Millisecond), 100, 100, 50 * time.Millisecond},
		"bursts":  {sim.Bursts(50, 300, 10*time.Second, 2*time.Second), sim.Uniform(20 * time.Millisecond), 100, 300, 20 * time.Millisecond},
		"diurnal": {sim.Diurnal(100, 0.5, 10*time.Second), sim.LogNormal(10*time.Millisecond, 1), 100, 127.5, 16487 * time.Microsecond},
	} {
		t.Run(name, func(t *testing.T) {
			all := sim.Arrivals(rand.New(rand.NewPCG(1, 2)), c.rate, c.hold, lasts)
			high, held, last := 0, time.Duration(0), time.Duration(-1)
			for _, a := range all {
				if a.At <= last || a.At >= lasts || a.Hold < 1 {
					t.Fatalf("%+v after an arrival at %v", a, last)
				}
				last = a.At
				held += a.Hold
				if a.At%(10*time.Second) < 2*time.Second {
					high++
				}
			}
			near(t, "arrivals in a second", float64(len(all))/lasts.Seconds(), c.mean, 0.03)
			near(t, "arrivals in a second of the first fifth", float64(high)/(lasts/5).Seconds(), c.high, 0.05)
			near(t, "mean hold time", float64(held)/float64(len(all)), float64(c.held), 0.05)
		})
	}
}

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.Abs(got/want-1) > within {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// What is written is read again, rounded to microseconds.
func TestReadArrivals_RoundTrip(t *testing.T) {
	all := sim.Arrivals(rand.New(rand.NewPCG(3, 4)), sim.Steady(1000), sim.Exponential(time.Millisecond), time.Second)
	var text bytes.Buffer
	if err := sim.WriteArrivals(&text, "two lines\nof comment", all); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(text.String(), "# two lines\n# of comment\n") {
		t.Errorf("it begins with %.40q", text.String())
	}
	got, err := sim.ReadArrivals(&text)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(all) {
		t.Fatalf("%d arrivals were read, want %d", len(got), len(all))
	}
	for i, a := range got {
		if (a.At-all[i].At).Abs() > time.Microsecond || (a.Hold-all[i].Hold).Abs() > time.Microsecond {
			t.Fatalf("arrival %d is %+v, want %+v", i, a, all[i])
		}
	}
}

func TestReadArrivals(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []sim.Arrival
		errs []string // parts of the error
	}{
		"order":          {text: "2000 5\n\n# note\n1000 7\n", want: []sim.Arrival{{1 * time.Millisecond, 7 * time.Microsecond}, {2 * time.Millisecond, 5 * time.Microsecond}}},
		"same instant":   {text: "1 1\n1 2\n1 0", want: []sim.Arrival{{1000, 1000}, {1001, 2000}, {1002, 1}}},
		"empty":          {text: "# nothing\n", errs: []string{"no arrival"}},
		"bad lines":      {text: "1 2\nx 3\n4\n5 -6\n7 8 9\n", errs: []string{`line 2: field 1 must be a number`, `line 3: want 2 numbers, got 1 fields`, `line 4: field 2`, `line 5: want 2`}},
		"too late":       {text: "99999999999999999 1", errs: []string{"line 1: field 1 must be a number from 0 to"}},
		"only so many":   {text: strings.Repeat("?\n", 20), errs: []string{"line 10:"}},
		"a line is long": {text: strings.Repeat("1", 100_000), errs: []string{"token too long"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := sim.ReadArrivals(strings.NewReader(c.text))
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if (err != nil) != (c.errs != nil) || err != nil && !errors.Is(err, sim.ErrRecord) {
				t.Fatalf("the error is %v", err)
			}
			for _, part := range c.errs {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error is %v, want %q in it", err, part)
				}
			}
			if err != nil && strings.Contains(err.Error(), "line 11:") {
				t.Errorf("the error names too many lines: %v", err)
			}
		})
	}
}

func FuzzReadArrivals(f *testing.F) {
	f.Add("1 2\n# x\n 1\t3 \n")
	f.Add("-1 2\n\n99999999999999999999 0")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := sim.ReadArrivals(strings.NewReader(text))
		if (err == nil) == (len(all) == 0) {
			t.Fatalf("%d arrivals, and the error %v", len(all), err)
		}
		last := time.Duration(-1)
		for _, a := range all {
			if a.At <= last || a.Hold < 1 {
				t.Fatalf("%+v after an arrival at %v", a, last)
			}
			last = a.At
		}
	})
}
