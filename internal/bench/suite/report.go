package suite

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"
)

// A report is the whole outcome of a run.
type report struct {
	Machine  machine  `json:"machine"`
	Versions []string `json:"versions,omitempty"` // of those it was compared with
	Rounds   int      `json:"rounds"`
	Seed     uint64   `json:"seed"`
	Lines    []line   `json:"lines"`
}

// missed names the lines that do not reach their goal.
func (r report) missed() []string {
	var out []string
	for _, l := range r.Lines {
		if l.Reached {
			continue
		}
		s := fmt.Sprintf("%s, %s: %s, goal %s", l.Row, l.Metric, show(l.Ours), l.Goal)
		if l.Ratio != nil {
			s += ", ratio " + showSpread(l.Ratio)
		}
		if l.Allocs != nil {
			s += ", allocs " + show(l.Allocs)
		}
		if l.Why != "" {
			s += " (" + l.Why + ")"
		}
		if l.Err != "" {
			s += ": " + l.Err
		}
		out = append(out, s)
	}
	return out
}

// writeTable prints the machine and one line a figure: medians over the
// rounds, with the least and the most in parentheses.
func (r report) writeTable(w io.Writer) error {
	fmt.Fprintf(w, "%v\n%d rounds in turns, seed %d; median (min-max)\n\n", r.Machine, r.Rounds, r.Seed)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "row\twork\tmetric\trespool\tother\t\tratio\tallocs\tgoal\treached")
	for _, l := range r.Lines {
		reached := "yes"
		switch {
		case l.Goal == "":
			reached = ""
		case !l.Reached:
			reached = "NO"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Row, l.Work, l.Metric,
			showSpread(l.Ours), show(l.Theirs), l.Than, showSpread(l.Ratio), show(l.Allocs), l.Goal, reached)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return nil
}

func show(s *spread) string {
	if s == nil {
		return "-"
	}
	return number(s.Median)
}

func showSpread(s *spread) string {
	if s == nil {
		return "-"
	}
	if s.Min == s.Max {
		return number(s.Median)
	}
	return fmt.Sprintf("%s (%s-%s)", number(s.Median), number(s.Min), number(s.Max))
}

// number prints three digits, or all of those before the point.
func number(v float64) string {
	switch a := math.Abs(v); {
	case v == math.Trunc(v) && a < 1e15:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
}
