package conformance

import (
	"cmp"
	"fmt"
	"strings"
)

// Markdown returns how many cases each pool passes, then t with a row for each case,
// and footnotes.
func (t Table) Markdown() string {
	var b strings.Builder
	b.WriteString("| pool | passes | fails | has no such operation |\n|---|---|---|---|\n")
	for _, pool := range t.Pools {
		n := map[Verdict]int{}
		for _, r := range t.Rows {
			n[r.Cells[pool].Verdict]++
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d |\n", pool, n[Passes], n[Fails], n[Cannot])
	}
	fmt.Fprintf(&b, "\n| what must hold | %s |\n|---|%s\n", strings.Join(t.Pools, " | "), strings.Repeat("---|", len(t.Pools)))
	var notes strings.Builder
	count := 0
	for _, r := range t.Rows {
		fmt.Fprintf(&b, "| `%s` %s (%s)", r.Name, escape(r.What), cmp.Or(strings.Join(r.Issues, ", "), "found in the code"))
		for _, pool := range t.Pools {
			f := r.Cells[pool]
			b.WriteString(" | " + f.cell())
			if f.Note != "" {
				count++
				fmt.Fprintf(&notes, "%d. %s, `%s`: %s\n", count, pool, r.Name, f.Note)
				fmt.Fprintf(&b, " <sup>%d</sup>", count)
			}
		}
		b.WriteString(" |\n")
	}
	if count > 0 {
		b.WriteString("\n" + notes.String())
	}
	return b.String()
}

// Failed returns what pool fails, a sentence for each case.
func (t Table) Failed(pool string) (out []string) {
	for _, r := range t.Rows {
		if f := r.Cells[pool]; f.Verdict == Fails {
			out = append(out, fmt.Sprintf("conformance, %s: %s (%s)", r.Name, r.What, f.Seen))
		}
	}
	return out
}

// cell is f in a few words.
func (f Finding) cell() string {
	text := map[Verdict]string{"": "?", Cannot: "-", Passes: "pass", Fails: "**fails**"}[f.Verdict]
	if f.Seen == "" {
		return text
	}
	return text + ": " + escape(f.Seen)
}

// escape keeps s within its cell.
func escape(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
