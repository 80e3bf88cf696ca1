package repocheck

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// examplesShown is the rule that each package that users import has an example with an
// Output comment, which the tests run and pkg.go.dev shows beside the documentation.
func examplesShown(tree fs.FS) []string {
	all, err := packages(tree, parser.PackageClauseOnly)
	if err != nil {
		return []string{err.Error()}
	}
	tests, err := files(tree, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
	if err != nil {
		return []string{err.Error()}
	}
	shown := make(map[string]bool)
	for _, name := range tests {
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return []string{err.Error()}
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return []string{err.Error()}
		}
		if runsExample(f) {
			shown[path.Dir(name)] = true
		}
	}
	var complaints []string
	for _, s := range all {
		if imported(s) && !shown[s.dir] {
			complaints = append(complaints, fmt.Sprintf("%s: no example of the package has an Output comment", s.dir))
		}
	}
	return complaints
}

// imported reports whether users may import a package.
func imported(s *source) bool {
	if s.dir == "." || slices.Contains(strings.Split(s.dir, "/"), "internal") || within(s.dir, "examples") {
		return false
	}
	return s.files[0].Name.Name != "main"
}

// runsExample reports whether a file has an example that the tests run.
func runsExample(f *ast.File) bool {
	return slices.ContainsFunc(doc.Examples(f), func(e *doc.Example) bool { return e.Output != "" || e.EmptyOutput })
}
