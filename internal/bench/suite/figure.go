package suite

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/gonum/stat"
)

// A rule says how the samples of a figure are compared with its goal.
type rule string

const (
	noGoal       rule = ""
	ratioAtMost  rule = "ratio <=" // the median over the rounds of ours / theirs
	ratioAtLeast rule = "ratio >=" // the same
	atMost       rule = "<="       // the median of ours
	atLeast      rule = ">="       // the median of ours
	neverOver    rule = "never >"  // the largest of ours
	always       rule = "always"   // each of ours equals the bound
)

// A figure is one line of the report: a metric of a row, and its goal.
type figure struct {
	work   string // in words; indented: it belongs to the line above
	metric string
	rule   rule
	bound  float64
	than   string // the entrant compared with; "": the best of the others
	more   bool   // more is better
	level  bool   // neither more nor less is better
	allocs bool   // it must allocate nothing, amortized
}

// noAllocs is what counts as no allocation per operation: the runtime and the
// timing itself allocate now and then.
const noAllocs = 0.01

// goal is how the report shows the goal.
func (f figure) goal() string {
	if f.rule == noGoal {
		return ""
	}
	s := string(f.rule) + " " + number(f.bound)
	if f.allocs {
		s += ", 0 allocs"
	}
	return s
}

// A line is a figure with what was measured, and whether it reaches its goal.
type line struct {
	Row     string  `json:"row"`
	Work    string  `json:"work"`
	Metric  string  `json:"metric"`
	Ours    *spread `json:"ours,omitempty"`
	Theirs  *spread `json:"theirs,omitempty"` // of the entrant compared with
	Than    string  `json:"than,omitempty"`   // its name
	Ratio   *spread `json:"ratio,omitempty"`  // ours / theirs, round by round
	Allocs  *spread `json:"allocs,omitempty"`
	Goal    string  `json:"goal,omitempty"`
	Bound   float64 `json:"bound,omitempty"`
	Reached bool    `json:"reached"` // also where there is no goal
	Err     string  `json:"error,omitempty"`
	More    bool    `json:"more,omitempty"`  // more is better
	Level   bool    `json:"level,omitempty"` // neither is
}

// A spread is a number over the rounds.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf returns nil for no values.
func spreadOf(v []float64) *spread {
	if len(v) == 0 {
		return nil
	}
	return &spread{Median: quantile(v, 0.5), Min: slices.Min(v), Max: slices.Max(v)}
}

// quantile returns the smallest value that a share p of them does not exceed.
func quantile(v []float64, p float64) float64 {
	return stat.Quantile(p, stat.Empirical, slices.Sorted(slices.Values(v)), nil)
}

// judgeAll makes the lines of the rows that were run.
func judgeAll(all []row, results []result) (out []line) {
	for _, r := range all {
		if res := (record{Results: results}).result(r.name); res.Row != "" {
			for _, f := range r.figures {
				out = append(out, judge(f, res))
			}
		}
	}
	return out
}

// judge makes one line. A goal is not reached after an error of ours or of the
// entrant compared with, nor if its figure is missing or not a number.
func judge(f figure, r result) line {
	than := f.than
	if than == "" {
		than = bestPeer(f, r)
	}
	ours, theirs := r.values(r.Main, f.metric), r.values(than, f.metric)
	ratios := make([]float64, min(len(ours), len(theirs)))
	for i := range ratios {
		ratios[i] = ours[i] / theirs[i]
	}
	l := line{
		Row: r.Row, Work: f.work, Metric: f.metric, Than: than,
		Ours: spreadOf(ours), Theirs: spreadOf(theirs), Ratio: spreadOf(ratios), Allocs: spreadOf(r.values(r.Main, "allocs/op")),
		Goal: f.goal(), Bound: f.bound, Level: f.level, More: f.more || f.rule == atLeast || f.rule == ratioAtLeast,
	}
	for _, name := range []string{f.than, r.Main} {
		if err := r.Errs[name]; err != "" {
			l.Err = err
		}
	}
	l.Reached = l.Err == "" && f.reached(l) && (!f.allocs || l.Allocs != nil && l.Allocs.Median <= noAllocs)
	return l
}

func (f figure) reached(l line) bool {
	s := l.Ours
	if f.rule == ratioAtMost || f.rule == ratioAtLeast {
		s = l.Ratio
	}
	if s == nil {
		return false
	}
	switch f.rule {
	case noGoal:
		return true
	case ratioAtMost, atMost:
		return s.Median <= f.bound
	case ratioAtLeast, atLeast:
		return s.Median >= f.bound
	case neverOver:
		return s.Max <= f.bound
	case always:
		return s.Min == f.bound && s.Max == f.bound
	}
	return false
}

// bestPeer is the entrant, other than the first, with the best median; "": none has the
// metric.
func bestPeer(f figure, r result) string {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(r.Samples)), func(name string) bool { return name == r.Main })
	if _, best := medians(r, line{Metric: f.metric, More: f.more}, names); best >= 0 {
		return names[best]
	}
	return ""
}

// missed names the lines that do not reach their goal.
func missed(lines []line) (out []string) {
	for _, l := range lines {
		if !l.Reached {
			s := fmt.Sprintf("%s, %s: %s, goal %s, ratio %s, allocs %s", l.Row, l.Metric, l.Ours, l.Goal, l.Ratio, l.Allocs)
			if l.Err != "" {
				s += ": " + l.Err
			}
			out = append(out, s)
		}
	}
	return out
}

// String is the median, and the least and the most in parentheses.
func (s *spread) String() string {
	switch {
	case s == nil:
		return "-"
	case s.Min == s.Max:
		return number(s.Median)
	}
	return fmt.Sprintf("%s (%s-%s)", number(s.Median), number(s.Min), number(s.Max))
}

func (s *spread) median() string {
	if s == nil {
		return "-"
	}
	return number(s.Median)
}

// number prints three digits, or all of those before the decimal point.
func number(v float64) string {
	digits := 3
	switch a := math.Abs(v); {
	case v == math.Trunc(v), a >= 100:
		digits = 0
	case a >= 10:
		digits = 1
	case a >= 1:
		digits = 2
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}
