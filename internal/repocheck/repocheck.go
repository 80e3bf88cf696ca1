// Package repocheck checks the rules that the whole repository keeps and no
// compiler knows: which way imports run, that exported things are documented,
// that the README shows the program that is compiled, and the like. Its tests
// run every rule over the repository, and over small made-up trees that break it.
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

// module is the path of the root module. The nested modules lie below it, so
// that the import path of a package is module and its directory.
const module = "github.com/respool/respool"

// A rule looks at a tree, the root of the repository at its top, and returns
// one complaint for each place that breaks it: "file:line: what is wrong".
type rule func(tree fs.FS) []string

// files returns the files of the tree for which keep is true, in lexical
// order. Directories that the go command passes over are passed over, and so
// are testdata and node_modules.
func files(tree fs.FS, keep func(name string) bool) ([]string, error) {
	var found []string
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && passedOver(d.Name()):
			return fs.SkipDir
		case !d.IsDir() && keep(name):
			found = append(found, name)
		}
		return nil
	})
	return found, err
}

func passedOver(dir string) bool {
	switch dir {
	case ".":
		return false
	case "testdata", "vendor", "node_modules":
		return true
	}
	return strings.HasPrefix(dir, ".") || strings.HasPrefix(dir, "_")
}

// isCode says whether name is a Go file that is no test.
func isCode(name string) bool {
	return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
}

// within says whether name is dir or lies below it.
func within(name, dir string) bool {
	return name == dir || strings.HasPrefix(name, dir+"/")
}

// exists says whether the tree has a file or directory of that name.
func exists(tree fs.FS, name string) bool {
	_, err := fs.Stat(tree, name)
	return err == nil
}

// source is the parsed code of one package, tests left out.
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

// packages parses every package of the tree.
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
