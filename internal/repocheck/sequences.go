package repocheck

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// diagrams are the documents with sequence diagrams: the first one, and its translations.
var diagrams = []string{"docs/sequences.md", "docs/sequences.ja.md"}

var (
	// declaration matches a link whose text is an identifier and whose target is a Go file.
	declaration = regexp.MustCompile("\\[`([\\w.]+)`\\]\\(([^)]+\\.go)\\)")
	// message matches a message of a sequence diagram in Mermaid, without its text.
	message = regexp.MustCompile(`^(\w+(?:--?>>|--?x)\w+):`)
	// block matches the other lines of a diagram that have a structure.
	block = regexp.MustCompile(`^(alt|else|opt|loop|end|participant \w+|Note over [\w,]+)\b`)
	// numbered matches a row of the table below a diagram.
	numbered = regexp.MustCompile(`^\| (\d+) \| (.*) \|$`)
)

// sequences is the rule that below each sequence diagram a table has a row for each of
// its messages, that each function and each test that a row links to is declared in the
// file that the link names, and that a translation has the same diagrams and links.
func sequences(tree fs.FS) []string {
	var complaints []string
	var first []string
	for i, name := range diagrams {
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return append(complaints, err.Error())
		}
		shape, bad := readDiagrams(tree, name, string(text))
		complaints = append(complaints, bad...)
		if i == 0 {
			first = shape
			continue
		}
		for n := range max(len(first), len(shape)) {
			if a, b := lineOf(first, n), lineOf(shape, n); a != b {
				complaints = append(complaints, fmt.Sprintf("%s: has %q where %s has %q", name, b, diagrams[0], a))
				break
			}
		}
	}
	return complaints
}

// lineOf returns line n; "nothing" if there are fewer.
func lineOf(lines []string, n int) string {
	if n < len(lines) {
		return lines[n]
	}
	return "nothing"
}

// readDiagrams returns what a translation must have in common with the document, line by
// line, and complaints about the document itself.
func readDiagrams(tree fs.FS, name, text string) (shape, complaints []string) {
	messages, rows, heading := 0, 0, ""
	check := func() {
		if messages != rows {
			complaints = append(complaints, fmt.Sprintf("%s: %q has %d messages and %d rows", name, heading, messages, rows))
		}
		messages, rows = 0, 0
	}
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			check()
			heading = strings.TrimLeft(line, "# ")
			shape = append(shape, strings.TrimRight(line, strings.TrimLeft(line, "#")))
			continue
		}
		if m := message.FindStringSubmatch(line); m != nil {
			messages++
			shape = append(shape, m[1])
		} else if m := block.FindString(line); m != "" {
			shape = append(shape, m)
		} else if m := numbered.FindStringSubmatch(line); m != nil {
			if rows++; m[1] != strconv.Itoa(rows) {
				complaints = append(complaints, fmt.Sprintf("%s:%d: row %s is number %d", name, n+1, m[1], rows))
			}
			shape = append(shape, m[2])
		}
		for _, m := range declaration.FindAllStringSubmatch(line, -1) {
			if file := path.Join(path.Dir(name), m[2]); !declares(tree, file, m[1]) {
				complaints = append(complaints, fmt.Sprintf("%s:%d: %s is not declared in %s", name, n+1, m[1], file))
			}
		}
	}
	check()
	if len(shape) == 0 {
		complaints = append(complaints, name+": no diagram")
	}
	return shape, complaints
}

// declares reports whether a Go file declares an identifier: a function, or Type.Method,
// either of them also behind the name of the package.
func declares(tree fs.FS, file, identifier string) bool {
	text, err := fs.ReadFile(tree, file)
	if err != nil {
		return false
	}
	f, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution)
	if err != nil {
		return false
	}
	found := exported(&source{files: []*ast.File{f}})
	return found[identifier] || found[strings.TrimPrefix(identifier, f.Name.Name+".")]
}
