package main

import (
	_ "embed"
	"fmt"
	"strings"
)

// accepted has the mutants that change nothing that a test could notice, and why.
//
//go:embed equivalent.txt
var accepted string

// equivalents maps the keys of accepted mutants to the reason.
type equivalents map[string]string

// parseEquivalents parses a text of entries, separated by empty lines. An entry is the key
// of a mutant, as a report prints it, followed by the reason on indented lines. Lines that
// begin with # are comments.
func parseEquivalents(text string) (equivalents, error) {
	all := make(equivalents)
	var key, reason []string
	end := func(line int) error {
		defer func() { key, reason = nil, nil }()
		k := strings.Join(key, "\n")
		switch {
		case len(key) == 0 && len(reason) == 0:
			return nil
		case len(key) < 2 || len(reason) == 0:
			return fmt.Errorf("line %d: an entry has a function, a change and a reason, got %q", line, append(key, reason...))
		case all[k] != "":
			return fmt.Errorf("line %d: second entry for %q", line, k)
		}
		all[k] = strings.Join(reason, " ")
		return nil
	}
	n := 0
	for line := range strings.Lines(text + "\n") {
		n++
		line = strings.TrimRight(line, "\r\n")
		switch {
		case line == "":
			if err := end(n); err != nil {
				return nil, err
			}
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "  "):
			reason = append(reason, strings.TrimSpace(line))
		case len(reason) > 0:
			return nil, fmt.Errorf("line %d: an empty line must end the entry, got %q", n, line)
		default:
			key = append(key, line)
		}
	}
	return all, end(n)
}
