package suite

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"text/template"
)

// reportText is the report with its prose: what is compared and why a goal is missed.
//
//go:embed report.md.tmpl
var reportText string

// writeReport writes REPORT.md and its plots into dir.
func (r record) writeReport(dir string) error {
	return attempt(func() {
		text := r.markdown(r.drawPlots(dir))
		check(os.WriteFile(filepath.Join(dir, "REPORT.md"), text, 0o644))
	})
}

// markdown executes the template. In it "part" is the table of the rows that match and
// were in no part before; "plot" is a link to a plot that was drawn.
func (r record) markdown(plots []string) []byte {
	shown := map[string]bool{}
	t := template.New("report").Funcs(template.FuncMap{
		"part": func(pattern string) string {
			rows := regexp.MustCompile(pattern)
			lines := slices.DeleteFunc(slices.Clone(r.Lines), func(l line) bool { return shown[l.Row] || !rows.MatchString(l.Row) })
			for _, l := range lines {
				shown[l.Row] = true
			}
			return r.table(lines)
		},
		"plot": func(name, alt string) string {
			if !slices.Contains(plots, name) {
				return ""
			}
			return fmt.Sprintf("\n![%s](plots/%s.svg)\n", alt, name)
		},
		"missed": func(rows string) []line { // those of the rows that match
			return slices.DeleteFunc(slices.Clone(r.Lines), func(l line) bool { return l.Reached || !regexp.MustCompile(rows).MatchString(l.Row) })
		},
		"goals": func() int {
			return len(slices.DeleteFunc(slices.Clone(r.Lines), func(l line) bool { return l.Goal == "" }))
		},
		"join":    func(s []string) string { return strings.Join(s, ", ") },
		"trim":    strings.TrimSpace,
		"unit":    unitOf,
		"cell":    func(s any) string { return strings.ReplaceAll(fmt.Sprint(s), "|", `\|`) },
		"percent": func(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) },
		"sub":     func(a, b int) int { return a - b },
	})
	var b bytes.Buffer
	check(must(t.Parse(reportText)).Execute(&b, r))
	return b.Bytes()
}

// table has the median of every entrant; the best of a line is bold. It is empty for no
// lines.
func (r record) table(lines []line) string {
	if len(lines) == 0 {
		return ""
	}
	rows := map[string]result{}
	for _, l := range lines {
		rows[l.Row] = r.result(l.Row)
	}
	columns := columnsOf(rows)
	var b strings.Builder
	fmt.Fprintf(&b, "| work | unit | respool | %s |\n|%s\n", strings.Join(append(slices.Clone(columns), "ratio", "goal"), " | "), strings.Repeat("---|", len(columns)+5))
	for _, l := range lines {
		x := rows[l.Row]
		values, best := medians(x, l, append([]string{x.Main}, columns...))
		cells := []string{strings.Replace(l.Work, "  ", "… ", 1), unitOf(l.Metric), l.Ours.String()}
		if best == 0 && len(values) > 1 {
			cells[2] = "**" + cells[2] + "**"
		}
		if l.Allocs != nil && l.Allocs.Median >= noAllocs {
			cells[2] += fmt.Sprintf(", %s allocs", number(l.Allocs.Median))
		}
		for i, c := range columns {
			text := ""
			if v, ok := values[c]; ok {
				text = number(v)
			}
			if best == i+1 {
				text = "**" + text + "**"
			}
			cells = append(cells, text)
		}
		ratio, goal := "", l.Goal
		if l.Ratio != nil {
			ratio = l.Ratio.String() + " of " + l.Than
		}
		if goal != "" && !l.Reached {
			goal += ", **not reached**"
		}
		for _, c := range append(cells, ratio, goal) {
			fmt.Fprintf(&b, "| %s ", strings.ReplaceAll(c, "|", `\|`))
		}
		b.WriteString("|\n")
	}
	return b.String()
}

// controls are entrants that are respool in another size: a line is compared with them,
// but they have no column.
var controls = []string{"10 idle", "one pool"}

// columnsOf are the entrants of the results beside the first of each: peers in their
// usual order, then others by name.
func columnsOf(rows map[string]result) (out []string) {
	for _, r := range rows {
		for _, name := range r.Entrants {
			if name != r.Main && len(r.Samples[name]) > 0 && !slices.Contains(out, name) && !slices.Contains(controls, name) {
				out = append(out, name)
			}
		}
	}
	var usual []string
	for _, k := range kinds() {
		usual = append(usual, k.Name)
	}
	usual = append(usual, gorillaName, tunedName, coderName)
	slices.SortFunc(out, func(a, b string) int {
		return cmp.Or(cmp.Compare(uint(slices.Index(usual, a)), uint(slices.Index(usual, b))), cmp.Compare(a, b))
	})
	return out
}

// medians are those of the entrants with the metric of l, and which of names is the
// best; -1: none.
func medians(r result, l line, names []string) (values map[string]float64, best int) {
	values, best = map[string]float64{}, -1
	var top float64
	for i, name := range names {
		s := spreadOf(r.values(name, l.Metric))
		if s == nil {
			continue
		}
		values[name] = s.Median
		if !l.Level && (best < 0 || s.Median != top && s.Median > top == l.More) {
			best, top = i, s.Median
		}
	}
	return values, best
}

// unitOf leaves out the step of a sweep, which the work names.
func unitOf(metric string) string {
	unit, _, _ := strings.Cut(metric, " at ")
	return unit
}

// writeTable prints the machine and every line: medians over the rounds, with the least
// and the most in parentheses.
func (r record) writeTable(w io.Writer) error {
	fmt.Fprintf(w, "%v\n%d rounds in turns, seed %d; median (min-max)\n\n", r.Machine, r.Rounds, r.Seed)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "row\twork\tmetric\trespool\tother\t\tratio\tallocs\tgoal\treached")
	for _, l := range r.Lines {
		reached := map[bool]string{true: "yes", false: "NO"}[l.Reached]
		if l.Goal == "" {
			reached = ""
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Row, l.Work, l.Metric, l.Ours, l.Theirs.median(), l.Than, l.Ratio, l.Allocs.median(), l.Goal, reached)
	}
	return t.Flush()
}
