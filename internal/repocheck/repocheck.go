// Package repocheck has rules for the whole repository that no compiler checks: the
// direction of imports, the requirements of the modules, and that documents match the
// code. Its tests apply every rule to the repository and to small trees that violate it.
package repocheck

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strings"
)

// module is the path of the root module. The paths of nested modules begin with it, so
// the import path of every package is module plus its directory.
const module = "github.com/respool/respool"

// A rule examines a tree with the layout of the repository and returns one complaint for
// each violation: "file:line: what is wrong".
type rule func(tree fs.FS) []string

// files returns the files of the tree for which keep returns true, in lexical order. It
// skips the directories that the go command skips, testdata and node_modules.
func files(tree fs.FS, keep func(name string) bool) ([]string, error) {
	var found []string
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skipped(d.Name()):
			return fs.SkipDir
		case !d.IsDir() && keep(name):
			found = append(found, name)
		}
		return nil
	})
	return found, err
}

func skipped(dir string) bool {
	switch dir {
	case ".":
		return false
	case "testdata", "vendor", "node_modules":
		return true
	}
	return strings.HasPrefix(dir, ".") || strings.HasPrefix(dir, "_")
}

// isCode reports whether name is a Go file that is not a test.
func isCode(name string) bool {
	return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
}

// within reports whether name is dir or below it.
func within(name, dir string) bool {
	return name == dir || strings.HasPrefix(name, dir+"/")
}

// exists reports whether the tree has a file or directory with that name.
func exists(tree fs.FS, name string) bool {
	_, err := fs.Stat(tree, name)
	return err == nil
}

// source is the parsed code of one package, without its tests.
type source struct {
	dir   string
	fset  *token.FileSet
	files []*ast.File
}

// at returns "file:line" of a position.
func (s *source) at(pos token.Pos) string {
	p := s.fset.Position(pos)
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// packages parses every package of the tree, without tests.
func packages(tree fs.FS, mode parser.Mode) ([]*source, error) {
	names, err := files(tree, isCode)
	if err != nil {
		return nil, err
	}
	var all []*source
	byDir := make(map[string]*source)
	for _, name := range names {
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return nil, err
		}
		dir := path.Dir(name)
		s := byDir[dir]
		if s == nil {
			s = &source{dir: dir, fset: token.NewFileSet()}
			byDir[dir] = s
			all = append(all, s)
		}
		f, err := parser.ParseFile(s.fset, name, text, mode|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		s.files = append(s.files, f)
	}
	return all, nil
}
