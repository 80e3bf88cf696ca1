package conformance

import "fmt"

// Count returns how many cases have that verdict on pool.
func (t Table) Count(pool string, v Verdict) (n int) {
	for _, r := range t.Rows {
		if r.Cells[pool].Verdict == v {
			n++
		}
	}
	return n
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

// String is f in a few words.
func (f Finding) String() string {
	text := map[Verdict]string{"": "?", Cannot: "-", Passes: "pass", Fails: "**fails**"}[f.Verdict]
	if f.Seen != "" {
		text += ": " + f.Seen
	}
	if f.Note != "" {
		text += " (" + f.Note + ")"
	}
	return text
}
