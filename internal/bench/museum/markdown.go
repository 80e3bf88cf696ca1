package museum

import (
	"cmp"
	"fmt"
	"io"
	"strings"
)

// WriteMarkdown prints t: an exhibit a row, a pool a column, and below it what a
// cell has no room for.
func (t Table) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| what must hold | " + strings.Join(t.Pools, " | ") + " |\n")
	b.WriteString("|---|" + strings.Repeat("---|", len(t.Pools)) + "\n")
	var notes []string
	for _, r := range t.Rows {
		fmt.Fprintf(&b, "| `%s` %s", r.Name, escape(r.What))
		fmt.Fprintf(&b, " (%s)", cmp.Or(strings.Join(r.Issues, ", "), "found in the code"))
		for _, pool := range t.Pools {
			f, ok := r.Cells[pool]
			b.WriteString(" | " + cell(f, ok))
			if f.Note != "" {
				notes = append(notes, fmt.Sprintf("%s, `%s`: %s", pool, r.Name, f.Note))
				fmt.Fprintf(&b, " <sup>%d</sup>", len(notes))
			}
		}
		b.WriteString(" |\n")
	}
	if len(notes) > 0 {
		b.WriteString("\n")
	}
	for i, n := range notes {
		fmt.Fprintf(&b, "%d. %s\n", i+1, n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Published returns how many of the rows are of defects that have an issue; the
// others were found in the code.
func (t Table) Published() (n int) {
	for _, r := range t.Rows {
		if len(r.Issues) > 0 {
			n++
		}
	}
	return n
}

// cell is f in a few words.
func cell(f Finding, found bool) string {
	text := "?"
	switch {
	case !found:
		return text
	case f.Verdict == Cannot:
		return "-"
	case f.Verdict == Passes:
		text = "pass"
	case f.Verdict == Fails:
		text = "**fails**"
	}
	if f.Seen == "" {
		return text
	}
	return text + ": " + escape(f.Seen)
}

// escape keeps s within its cell.
func escape(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
