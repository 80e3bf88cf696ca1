package suite

import (
	"context"
	"fmt"
	"io"

	"github.com/respool/respool/internal/bench/museum"
	"github.com/respool/respool/internal/bench/peer"
)

// tour goes through the museum of published defects with all kinds.
func tour(ctx context.Context, kinds []peer.Kind, progress io.Writer) (*museum.Table, error) {
	t, err := museum.Tour(ctx, kinds, progress)
	if err != nil {
		return nil, fmt.Errorf("museum: %w", err)
	}
	return &t, nil
}

// failed names what name fails in the museum.
func failed(t *museum.Table, name string) (out []string) {
	if t == nil {
		return nil
	}
	for _, r := range t.Rows {
		if f := r.Cells[name]; f.Verdict == museum.Fails {
			out = append(out, fmt.Sprintf("museum, %s: %s (%s)", r.Name, r.What, f.Seen))
		}
	}
	return out
}

// writeMuseum writes how many exhibits each pool passes, and the table.
func writeMuseum(w io.Writer, t museum.Table) error {
	fmt.Fprint(w, "| pool | passes | fails | has nothing of the kind |\n|---|---|---|---|\n")
	for _, name := range t.Pools {
		n := map[museum.Verdict]int{}
		for _, r := range t.Rows {
			if f, ok := r.Cells[name]; ok {
				n[f.Verdict]++
			}
		}
		fmt.Fprintf(w, "| %s | %d | %d | %d |\n", name, n[museum.Passes], n[museum.Fails], n[museum.Cannot])
	}
	fmt.Fprintln(w)
	return t.WriteMarkdown(w)
}
