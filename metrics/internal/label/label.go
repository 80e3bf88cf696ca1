// Package label makes labels that every collector accepts. A label that is not UTF-8,
// or a duplicate one, can make a whole scrape or export fail.
package label

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Tally is figures by label. Labels that Clean makes equal share a figure.
type Tally map[string]int64

// Add adds n to the figure of a label.
func (t Tally) Add(label string, n int64) { t[Clean(label)] += n }

// AddAll adds all counts.
func (t Tally) AddAll(counts map[string]int64) {
	for label, n := range counts {
		t.Add(label, n)
	}
}

// Clean returns s with each byte that is not UTF-8 replaced by its Go escape, such as
// \xff.
func Clean(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && size == 1 {
			fmt.Fprintf(&b, `\x%02x`, s[0])
		} else {
			b.WriteString(s[:size])
		}
		s = s[size:]
	}
	return b.String()
}

// Names makes names clean and unique. The zero Names is ready for use.
type Names struct{ given map[string]bool }

// Unique returns name, or name#2 and so on if it has been returned before.
func (n *Names) Unique(name string) string {
	name = Clean(name)
	if n.given == nil {
		n.given = make(map[string]bool)
	}
	unique := name
	for i := 2; n.given[unique]; i++ {
		unique = fmt.Sprintf("%s#%d", name, i)
	}
	n.given[unique] = true
	return unique
}
