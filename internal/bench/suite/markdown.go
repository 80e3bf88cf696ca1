package suite

import (
	"bufio"
	"cmp"
	_ "embed"
	"fmt"
	"io"
	"strings"
)

// reading is what was found when the profiles were read. It is written by hand,
// and true of the figures that it names.
//
//go:embed reading.md
var reading string

// A book is all that the report shows.
type book struct {
	record
	plots []plotted
}

const museumText = "Defects that were published of one pool or another, with the numbers of their issues, or found in the code of one, " +
	"are replayed on all of them: by real operations, each in a process of its own. The list was begun from those of puddle, " +
	"which is below ours, and so has most to show of it; several are faces of one cause. Read the rows, not the sums."

// A plotted is a picture beside the report.
type plotted struct {
	file  string
	alt   string // what one sees
	title string // of the part that it belongs to
}

// writeMarkdown writes the report.
func (b book) writeMarkdown(out io.Writer) error {
	w := bufio.NewWriter(out)
	b.front(w)
	b.misses(w)
	if bad := b.unmeasured(); len(bad) > 0 {
		fmt.Fprintf(w, "\n## Not measured\n\n")
		for _, s := range bad {
			fmt.Fprintf(w, "* %s\n", s)
		}
	}
	all := parts()
	for i, p := range all {
		var results []result
		var lines []line
		for _, r := range b.Results {
			if partOfRow(all, r.Row) == i {
				results = append(results, r)
			}
		}
		for _, l := range b.Lines {
			if partOfRow(all, l.Row) == i {
				lines = append(lines, l)
			}
		}
		if len(lines) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n## %s\n\n%s\n\n", p.title, p.text)
		b.table(w, lines, results)
		for _, x := range b.plots {
			if x.title == p.title {
				fmt.Fprintf(w, "\n![%s](%s)\n", x.alt, x.file)
			}
		}
	}
	if b.Museum != nil {
		fmt.Fprintf(w, "\n## The museum of defects\n\n%s\n\n", museumText)
		if err := writeMuseum(w, *b.Museum); err != nil {
			return err
		}
	}
	if len(b.Profiles) > 0 {
		b.where(w)
	}
	return w.Flush()
}

func (b book) front(w io.Writer) {
	reached, goals := 0, 0
	for _, l := range b.Lines {
		if l.Goal != "" {
			goals++
			if l.Reached {
				reached++
			}
		}
	}
	fmt.Fprintf(w, "# respool beside its peers\n\n")
	fmt.Fprintf(w, "This file is written by `go run ./internal/bench`, and with smartconnpool and go-redis by\n"+
		"`GOWORK=off go run -C internal/bench/smart . -report ..`; run it to have yours.\n\n")
	fmt.Fprintf(w, "%v. %d rounds in turns, seed %d; medians, in parentheses the least and the most of the rounds. "+
		"Who comes first changes from round to round.\n", b.Machine, b.Rounds, b.Seed)
	fmt.Fprintf(w, "Ratios are ours to theirs, taken round by round: nanoseconds drift with the machine, ratios much less.\n\n")
	if len(b.Versions) > 0 {
		fmt.Fprintf(w, "Beside %s.\n\n", strings.Join(b.Versions, ", "))
	}
	fmt.Fprintf(w, "**%d of %d goals are reached.** The best of a line is bold, whoever it is.\n", reached, goals)
}

// misses names the goals that are not reached, and why.
func (b book) misses(w io.Writer) {
	var missed []line
	for _, l := range b.Lines {
		if !l.Reached {
			missed = append(missed, l)
		}
	}
	if len(missed) == 0 {
		return
	}
	fmt.Fprintf(w, "\n## Not reached\n\n| row | found | goal | why |\n|---|---|---|---|\n")
	for _, l := range missed {
		found := showSpread(l.Ours) + " " + unitOf(l.Metric)
		if l.Ratio != nil {
			found += ", ratio " + showSpread(l.Ratio)
		}
		why := cmp.Or(l.Why, "not found out")
		if l.Err != "" {
			why = "error: " + l.Err
		}
		fmt.Fprintf(w, "| `%s` %s | %s | %s | %s |\n", l.Row, strings.TrimSpace(l.Work), cell(found), cell(l.Goal), cell(why))
	}
}

// table shows the medians of all entrants.
func (b book) table(w io.Writer, lines []line, results []result) {
	cols := columns(results)
	fmt.Fprint(w, "| work | unit | respool |")
	for _, c := range cols {
		fmt.Fprintf(w, " %s |", c)
	}
	fmt.Fprint(w, " ratio | goal |\n|---|---|---|"+strings.Repeat("---|", len(cols)+2)+"\n")
	byRow := map[string]result{}
	for _, r := range results {
		byRow[r.Row] = r
	}
	for _, l := range lines {
		r := byRow[l.Row]
		values, best := medians(r, l, cols)
		ours := showSpread(l.Ours)
		if best == 0 && len(values) > 1 {
			ours = "**" + ours + "**"
		}
		if l.Allocs != nil && l.Allocs.Median >= noAllocs {
			ours += fmt.Sprintf(", %s allocs", number(l.Allocs.Median))
		}
		fmt.Fprintf(w, "| %s | %s | %s |", cell(workOf(l)), cell(unitOf(l.Metric)), ours)
		for i, c := range cols {
			v, ok := values[c]
			switch {
			case !ok:
				fmt.Fprint(w, " |")
			case best == i+1:
				fmt.Fprintf(w, " **%s** |", number(v))
			default:
				fmt.Fprintf(w, " %s |", number(v))
			}
		}
		ratio := ""
		if l.Ratio != nil {
			ratio = showSpread(l.Ratio) + " of " + l.Than
		}
		goal := l.Goal
		if goal != "" && !l.Reached {
			goal += ", **not reached**"
		}
		fmt.Fprintf(w, " %s | %s |\n", cell(ratio), cell(goal))
	}
}

// medians are those of the entrants that have the metric, and which is the best:
// 0 is ours, then those of cols; -1: nobody is.
func medians(r result, l line, cols []string) (values map[string]float64, best int) {
	values = map[string]float64{}
	best = -1
	var top float64
	for i, name := range append([]string{r.Main}, cols...) {
		s := spreadOf(metricOf(r.Samples[name], l.Metric))
		if s == nil {
			continue
		}
		values[name] = s.Median
		if best < 0 || s.Median != top && s.Median > top == l.More {
			best, top = i, s.Median
		}
	}
	if l.Level {
		best = -1
	}
	return values, best
}

// workOf sets what belongs to the line above apart.
func workOf(l line) string {
	if rest, ok := strings.CutPrefix(l.Work, "  "); ok {
		return "… " + rest
	}
	return l.Work
}

// unitOf leaves out the place of a sweep, which the work names.
func unitOf(metric string) string {
	unit, _, _ := strings.Cut(metric, " at ")
	return unit
}

// cell keeps a text within its cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// where says where the time goes.
func (b book) where(w io.Writer) {
	fmt.Fprintf(w, "\n## Where the time goes\n\n%s", reading)
	for _, p := range b.Profiles {
		fmt.Fprintf(w, "\n### %s\n\n%d samples of this process.\n\n| whose code | share | | function | share |\n|---|---|---|---|---|\n", p.Work, p.Samples)
		for i := range max(len(p.Parts), len(p.Spots)) {
			var left, right string
			if i < len(p.Parts) && p.Parts[i].Share >= 0.005 {
				left = fmt.Sprintf("%s | %.0f %%", cell(p.Parts[i].Where), 100*p.Parts[i].Share)
			} else {
				left = " | "
			}
			if i < len(p.Spots) {
				right = fmt.Sprintf("`%s` | %.0f %%", cell(p.Spots[i].Where), 100*p.Spots[i].Share)
			} else {
				right = " | "
			}
			if left == " | " && right == " | " {
				break
			}
			fmt.Fprintf(w, "| %s | | %s |\n", left, right)
		}
		if len(p.Allocs) == 0 {
			fmt.Fprintf(w, "\nIt allocates nothing.\n")
			continue
		}
		fmt.Fprintf(w, "\n| allocates | times | bytes |\n|---|---|---|\n")
		for _, a := range p.Allocs {
			fmt.Fprintf(w, "| `%s` | %.2f | %.0f |\n", cell(a.Where), a.PerOp, a.Bytes)
		}
	}
}
