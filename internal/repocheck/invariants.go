package repocheck

import (
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

const architecture = "ARCHITECTURE.md"

var (
	// invariantRow is a row of the table of invariants in architecture.
	invariantRow = regexp.MustCompile(`(?m)^\| (I\d+) \| `)
	// invariantTest is a test that holds an invariant.
	invariantTest = regexp.MustCompile(`(?m)^func Test(I\d+)_`)
	// invariantLine is where a comment states an invariant.
	invariantLine = regexp.MustCompile(`(?m)^//\s+(I\d+)\s`)
)

// invariants is the rule that each invariant is stated once in the code, has one
// row in architecture, and has a test that carries its number.
func invariants(tree fs.FS) []string {
	text, err := fs.ReadFile(tree, architecture)
	if err != nil {
		return []string{err.Error()}
	}
	names, err := files(tree, func(name string) bool { return strings.HasSuffix(name, ".go") })
	if err != nil {
		return []string{err.Error()}
	}
	count := func(into map[string]int, pattern *regexp.Regexp, text []byte) {
		for _, m := range pattern.FindAllSubmatch(text, -1) {
			into[string(m[1])]++
		}
	}
	rows, tests, lines := map[string]int{}, map[string]int{}, map[string]int{}
	count(rows, invariantRow, text)
	for _, name := range names {
		code, err := fs.ReadFile(tree, name)
		if err != nil {
			return []string{err.Error()}
		}
		if isCode(name) {
			count(lines, invariantLine, code)
		} else {
			count(tests, invariantTest, code)
		}
	}
	var complaints []string
	for number := range union(rows, tests, lines) {
		if rows[number] != 1 {
			complaints = append(complaints, fmt.Sprintf("%s: %d rows of %s, want 1", architecture, rows[number], number))
		}
		if lines[number] != 1 {
			complaints = append(complaints, fmt.Sprintf("%s: stated %d times in the code, want once", number, lines[number]))
		}
		if tests[number] == 0 {
			complaints = append(complaints, fmt.Sprintf("%s: no test carries its number", number))
		}
	}
	slices.Sort(complaints)
	return complaints
}

// union has the keys of all maps.
func union(maps ...map[string]int) map[string]bool {
	all := map[string]bool{}
	for _, m := range maps {
		for key := range m {
			all[key] = true
		}
	}
	return all
}
