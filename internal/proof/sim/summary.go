package sim

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// Text returns the table, aligned for a terminal, and the goals that were not met.
func (r *Result) Text() string {
	var s strings.Builder
	instead := ""
	if own := r.Scene.Clients; own > 0 && own != r.Clients {
		instead = fmt.Sprintf(" instead of %d", own)
	}
	fmt.Fprintf(&s, "%s, %d clients%s: %s\n", r.Scene.Name, r.Clients, instead, r.Scene.Promise)
	w := tabwriter.NewWriter(&s, 0, 0, 2, ' ', 0)
	for _, row := range r.Table {
		fmt.Fprintf(w, "  %s\n", strings.Join(row, "\t"))
	}
	w.Flush()
	for _, text := range r.Failed() {
		fmt.Fprintf(&s, "  NOT MET: %s\n", text)
	}
	return s.String()
}

// SummaryHead is the head of the table that has a [Result.Summary] for each scene, in Markdown.
const SummaryHead = "| scene | without | with |\n|---|---|---|\n"

// Summary returns the row of a scene in the table of all, in Markdown.
func (r *Result) Summary() string {
	return fmt.Sprintf("| `%s`: %s | %s | %s |\n", r.Scene.Name, r.Scene.Promise, r.Without, r.With)
}
