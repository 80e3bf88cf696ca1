package ledgertest

// targets checks the fair target of each of a few holders that want more than there is.
func (k *kit) targets() {
	const limit = 10
	all := []*holder{k.holder("q", "a", limit), k.holder("q", "b", limit), k.holder("q", "c", limit)}
	type part struct{ want, min, priority, target int }
	for _, c := range []struct {
		what  string
		parts []part
	}{
		{"all want all: equal parts, and those that are first in the order of names get one more",
			[]part{{10, 0, 0, 4}, {10, 0, 0, 3}, {10, 0, 0, 3}}},
		{"what one does not want is divided among the others",
			[]part{{10, 0, 0, 5}, {1, 0, 0, 1}, {4, 0, 0, 4}}},
		{"there is enough for all",
			[]part{{5, 0, 0, 5}, {1, 0, 3, 1}, {4, 2, 0, 4}}},
		{"a minimum is given before parts",
			[]part{{10, 0, 0, 2}, {10, 6, 0, 6}, {10, 0, 0, 2}}},
		{"a minimum counts as far as it is wanted",
			[]part{{10, 0, 0, 4}, {3, 6, 0, 3}, {10, 0, 0, 3}}},
		{"a larger priority is satisfied first, minimums before",
			[]part{{10, 0, 0, 0}, {7, 0, 5, 7}, {10, 3, -1, 3}}},
		{"what a larger priority leaves goes to the next",
			[]part{{10, 0, 1, 3}, {7, 0, 2, 7}, {10, 0, 0, 0}}},
	} {
		// The first claims make all wants known, the second ones ask for the targets.
		for range 2 {
			for i, p := range c.parts {
				h := all[i]
				h.next.Min, h.next.Priority = p.min, p.priority
				h.claim(0, p.want)
			}
		}
		for i, p := range c.parts {
			if g := all[i].claim(0, p.want); g.Target != p.target {
				k.fatalf("%s: Target %d, want %d (%s; the holders want, with Min and Priority: %v)\n%s",
					show(all[i].next), g.Target, p.target, c.what, c.parts, showGrant(g))
			}
		}
		for _, h := range all {
			h.claim(0, 0)
		}
	}
}
