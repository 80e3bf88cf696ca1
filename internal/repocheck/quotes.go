package repocheck

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// origin matches the line before a Go block that says which code the block quotes: a
// file of the repository, and a declaration in it.
//
//	<!-- from wspool/example_test.go ExamplePool_Do -->
var origin = regexp.MustCompile(`^<!-- from (\S+\.go)(?: (\w+(?:\.\w+)?))? -->$`)

// outputComment matches the comment that makes go test run an example and compare.
var outputComment = regexp.MustCompile(`(?im)^\s*(?:unordered )?output:`)

// quotes is the rule that each Go block of the documents is a quotation from code that
// is compiled and that a test runs: below the line with its origin stand consecutive
// lines of that declaration or file, with any indentation. The READMEs have a rule of
// their own.
func quotes(tree fs.FS) []string {
	names, err := files(tree, func(name string) bool { return path.Ext(name) == ".md" })
	if err != nil {
		return []string{err.Error()}
	}
	if len(names) == 0 {
		return []string{"no Markdown file"}
	}
	var complaints []string
	for _, name := range names {
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return []string{err.Error()}
		}
		blocks := codeBlocks(string(text))
		for _, b := range blocks {
			if b.lang == "" && isGo(b.text) {
				complaints = append(complaints, fmt.Sprintf("%s:%d: a block of Go code does not begin with ```go", name, b.line))
			}
		}
		if name == "README.md" || slices.ContainsFunc(translations, func(pair [2]string) bool { return pair[1] == name }) {
			continue
		}
		complaints = append(complaints, quoteComplaints(tree, name, strings.Split(string(text), "\n"), blocks)...)
	}
	return complaints
}

// quoteComplaints examines the Go blocks of one document, and the lines with origins.
func quoteComplaints(tree fs.FS, name string, lines []string, blocks []codeBlock) (complaints []string) {
	complain := func(line int, format string, args ...any) {
		complaints = append(complaints, fmt.Sprintf("%s:%d: %s", name, line, fmt.Sprintf(format, args...)))
	}
	used := make(map[int]bool) // the lines with the origin of a block
	for _, b := range blocks {
		if b.lang != "go" {
			continue
		}
		before := b.line - 1 // its number, from 1
		var m []string
		if before > 0 {
			m = origin.FindStringSubmatch(lines[before-1])
		}
		if m == nil {
			complain(b.line, "the line before a Go block must be <!-- from FILE.go DECLARATION -->")
			continue
		}
		used[before] = true
		code, err := quoted(tree, m[1], m[2])
		if err != nil {
			complain(before, "%v", err)
			continue
		}
		if n := firstAbsent(code, b.text); n >= 0 {
			complain(b.line+1+n, "differs from %s", strings.TrimSpace(m[1]+" "+m[2]))
		}
	}
	for n, line := range lines {
		if strings.HasPrefix(line, "<!-- from ") && !used[n+1] {
			complain(n+1, "no Go block follows this origin")
		}
	}
	return complaints
}

// quoted returns the code of a declaration, comments included, or of a whole file if
// declaration is empty. It fails if no test would notice that the code no longer works.
func quoted(tree fs.FS, file, declaration string) (string, error) {
	text, err := fs.ReadFile(tree, file)
	if err != nil {
		return "", err
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return "", err
	}
	for _, group := range f.Comments {
		for _, c := range group.List {
			if c.Pos() < f.Package && strings.HasPrefix(c.Text, "//go:build ") {
				return "", fmt.Errorf("%s is not compiled everywhere: %s", file, c.Text)
			}
		}
	}
	isTest := strings.HasSuffix(file, "_test.go")
	if !isTest {
		tests, err := fs.Glob(tree, path.Join(path.Dir(file), "*_test.go"))
		if err != nil {
			return "", err
		}
		if len(tests) == 0 {
			return "", fmt.Errorf("%s has no test", path.Dir(file))
		}
	}
	if declaration == "" {
		if isTest {
			return "", fmt.Errorf("%s is a test: name the declaration", file)
		}
		return string(text), nil
	}
	for _, d := range f.Decls {
		if !declaresName(d, declaration) {
			continue
		}
		begin, end := d.Pos(), d.End()
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Doc != nil {
				begin = d.Doc.Pos()
			}
			if isTest && strings.HasPrefix(declaration, "Example") && !hasOutput(f, d) {
				return "", fmt.Errorf("%s has no Output comment, so go test does not run it", declaration)
			}
		case *ast.GenDecl:
			if d.Doc != nil {
				begin = d.Doc.Pos()
			}
		}
		return string(text[fset.Position(begin).Offset:fset.Position(end).Offset]), nil
	}
	return "", fmt.Errorf("%s is not declared in %s", declaration, file)
}

// declaresName reports whether d declares name: a function, a type, a constant or
// variable, or a method as Type.Method.
func declaresName(d ast.Decl, name string) bool {
	if d, ok := d.(*ast.FuncDecl); ok && d.Recv != nil {
		return receiver(d.Recv.List[0].Type)+"."+d.Name.Name == name
	}
	return exported(&source{files: []*ast.File{{Decls: []ast.Decl{d}}}})[name]
}

// hasOutput reports whether a comment in the body of the function has the expected output.
func hasOutput(f *ast.File, d *ast.FuncDecl) bool {
	return slices.ContainsFunc(f.Comments, func(c *ast.CommentGroup) bool {
		return d.Body != nil && c.Pos() > d.Body.Lbrace && c.End() <= d.Body.Rbrace && outputComment.MatchString(c.Text())
	})
}

// firstAbsent returns the index of the line at which a block leaves the code that it
// quotes, or -1 if its lines stand in the code, one after the other. Indentation and
// blanks at the ends of lines do not count.
func firstAbsent(code, block string) int {
	in, want := dedent(code), dedent(block)
	if strings.TrimSpace(want) == "" {
		return 0
	}
	if strings.Contains(in, want) {
		return -1
	}
	n := 0
	for end := 1; strings.Contains(in, want[:end]); n++ {
		end += strings.IndexByte(want[end:], '\n') + 1
	}
	return n - 1
}

// isGo reports whether a text is Go code: a file, declarations or statements.
func isGo(text string) bool {
	if strings.TrimSpace(text) == "" {
		return false
	}
	for _, frame := range [][2]string{{"", ""}, {"package p\n", ""}, {"package p\nfunc _() {\n", "\n}"}} {
		if _, err := parser.ParseFile(token.NewFileSet(), "", frame[0]+text+frame[1], parser.SkipObjectResolution); err == nil {
			return true
		}
	}
	return false
}
