package prometheus

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// tally is values by label. Labels that become one by being cleaned share a
// value: Prometheus refuses a whole scrape that has a metric twice.
type tally map[string]float64

func (t tally) add(label string, n int64) { t[clean(label)] += float64(n) }

func (t tally) addAll(counts map[string]int64) {
	for label, n := range counts {
		t.add(label, n)
	}
}

// clean makes s a valid value of a label: each byte that is not UTF-8 becomes
// what Go would write for it, such as \xff. Prometheus refuses a whole scrape
// for one such byte.
func clean(s string) string {
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

// free returns name, or name#2 and so on if it is taken, and takes it.
func free(name string, taken map[string]bool) string {
	unique := name
	for n := 2; taken[unique]; n++ {
		unique = fmt.Sprintf("%s#%d", name, n)
	}
	taken[unique] = true
	return unique
}
