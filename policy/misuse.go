package policy

import (
	"fmt"
	"strings"
)

// misuse collects what is wrong with the arguments of a constructor.
type misuse []string

// unless notes a complaint if ok is false.
func (m *misuse) unless(ok bool, format string, args ...any) {
	if !ok {
		*m = append(*m, fmt.Sprintf(format, args...))
	}
}

// report panics in the name of a constructor if there was a complaint.
func (m misuse) report(who string) {
	if len(m) > 0 {
		panic("policy: " + who + ": " + strings.Join(m, "; "))
	}
}
