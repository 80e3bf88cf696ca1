package suite

import (
	"cmp"
	"math"
	"slices"
)

// A line is one figure of the table: what was found, and whether that is the
// goal.
type line struct {
	Row     string  `json:"row"`
	Work    string  `json:"work"`
	Metric  string  `json:"metric"`
	Ours    *spread `json:"ours,omitempty"`
	Theirs  *spread `json:"theirs,omitempty"` // of the entrant compared with
	Than    string  `json:"than,omitempty"`   // its name; with several, the best of most rounds
	Ratio   *spread `json:"ratio,omitempty"`  // ours / theirs, round by round
	Allocs  *spread `json:"allocs,omitempty"`
	Goal    string  `json:"goal,omitempty"`
	Bound   float64 `json:"bound,omitempty"`
	Reached bool    `json:"reached"`       // true as well where there is no goal
	Why     string  `json:"why,omitempty"` // why not, as far as that is known
	Err     string  `json:"error,omitempty"`
	More    bool    `json:"more,omitempty"`  // more of it is better
	Level   bool    `json:"level,omitempty"` // neither more nor less of it is better
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
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	return &spread{Median: (s[(n-1)/2] + s[n/2]) / 2, Min: s[0], Max: s[n-1]}
}

// judgeAll holds the results against the goals of the rows that were run.
func judgeAll(all []goal, results []result) []line {
	var out []line
	for _, g := range all {
		for _, r := range results {
			if r.Row == g.row {
				out = append(out, judge(g, r))
			}
		}
	}
	return out
}

// judge makes one line. A goal is not reached if there is an error of ours, or of
// whom it is compared with.
func judge(g goal, r result) line {
	ours := metricOf(r.Samples[r.Main], g.metric)
	theirs, than := against(g, r)
	n := min(len(ours), len(theirs))
	ratios := make([]float64, n)
	for i := range n {
		ratios[i] = ours[i] / theirs[i]
	}
	l := line{
		Row: g.row, Work: g.work, Metric: g.metric, Than: than,
		Ours: spreadOf(ours), Theirs: spreadOf(theirs), Ratio: spreadOf(ratios),
		Goal: g.String(), Bound: g.bound, Err: cmp.Or(r.Errs[r.Main], r.Errs[g.than]), More: g.more || g.rule == atLeast || g.rule == ratioAtLeast, Level: g.level,
	}
	l.Allocs = spreadOf(metricOf(r.Samples[r.Main], "allocs/op"))
	l.Reached = l.Err == "" && g.reached(l)
	if g.allocs && (l.Allocs == nil || !(l.Allocs.Median <= noAllocs)) {
		l.Reached = false
	}
	if !l.Reached {
		l.Why = g.why
	}
	return l
}

// reached is false where the figure is missing or not a number.
func (g goal) reached(l line) bool {
	s := l.Ours
	if g.rule == ratioAtMost || g.rule == ratioAtLeast {
		s = l.Ratio
	}
	if s == nil {
		return false
	}
	switch g.rule {
	case told:
		return true
	case ratioAtMost, atMost:
		return s.Median <= g.bound
	case ratioAtLeast, atLeast:
		return s.Median >= g.bound
	case neverOver:
		return s.Max <= g.bound
	case always:
		return s.Min == g.bound && s.Max == g.bound
	}
	return false
}

// metricOf is one metric of every sample that has it.
func metricOf(samples []sample, metric string) []float64 {
	var out []float64
	for _, s := range samples {
		if v, ok := s[metric]; ok {
			out = append(out, v)
		}
	}
	return out
}

// against returns what ours is compared with, round by round: the entrant
// that the goal names, or the best of the others in that round.
func against(g goal, r result) ([]float64, string) {
	if g.than != "" {
		return metricOf(r.Samples[g.than], g.metric), g.than
	}
	var best []float64
	wins := map[string]int{}
	for round := 0; ; round++ {
		top, who := math.NaN(), ""
		for name, samples := range r.Samples {
			if name == r.Main || round >= len(samples) {
				continue
			}
			v, ok := samples[round][g.metric]
			if ok && (who == "" || v > top == g.more && v != top) {
				top, who = v, name
			}
		}
		if who == "" {
			break
		}
		best = append(best, top)
		wins[who]++
	}
	name := ""
	for who, n := range wins {
		if name == "" || n > wins[name] || n == wins[name] && who < name {
			name = who
		}
	}
	return best, name
}
