package repocheck

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// promises is the document that states each invariant for users.
const promises = "docs/guarantees.md"

// promiseParts are what a section of promises says, each in a paragraph or a list that
// begins with these words.
var promiseParts = []string{"You may rely on", "Conditions", "Not promised", "Tests"}

// promiseHeading is the heading of the section of one invariant.
var promiseHeading = regexp.MustCompile(`^## (I\d+)\b`)

// guarantees is the rule that promises has one section for each invariant of architecture,
// in the same order and with all its parts; that each test that it links to is declared
// in the file of the link; and that at least one test of the section carries the number.
func guarantees(tree fs.FS) []string {
	text, err := fs.ReadFile(tree, architecture)
	if err != nil {
		return []string{err.Error()}
	}
	var want, got []string
	for _, m := range invariantRow.FindAllSubmatch(text, -1) {
		want = append(want, string(m[1]))
	}
	text, err = fs.ReadFile(tree, promises)
	if err != nil {
		return []string{err.Error()}
	}
	var complaints []string
	complain := func(format string, args ...any) {
		complaints = append(complaints, fmt.Sprintf(promises+format, args...))
	}
	var section promise
	end := func() {
		if section.number != "" {
			for _, missing := range section.missing() {
				complain(": %s: %s", section.number, missing)
			}
		}
		section = promise{}
	}
	for n, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "## ") {
			end()
		}
		if m := promiseHeading.FindStringSubmatch(line); m != nil {
			got = append(got, m[1])
			section.number = m[1]
		}
		section.text += line + "\n"
		for _, m := range declaration.FindAllStringSubmatch(line, -1) {
			section.links = append(section.links, m[1])
			if file := path.Join(path.Dir(promises), m[2]); !declares(tree, file, m[1]) {
				complain(":%d: %s is not declared in %s", n+1, m[1], file)
			}
		}
	}
	end()
	if !slices.Equal(got, want) {
		complain(": has sections of %v, want those of the invariants, %v", got, want)
	}
	return complaints
}

// promise is the section of one invariant.
type promise struct {
	number string
	text   string
	links  []string // the tests that it names
}

// missing says what the section lacks.
func (p *promise) missing() (all []string) {
	for _, part := range promiseParts {
		if !strings.Contains(p.text, "\n**"+part) {
			all = append(all, fmt.Sprintf("no part begins with **%s", part))
		}
	}
	if !slices.ContainsFunc(p.links, func(test string) bool { return strings.HasPrefix(test, "Test"+p.number+"_") }) {
		all = append(all, "no test with the number of the invariant is linked")
	}
	return all
}
