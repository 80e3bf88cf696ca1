package repocheck

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// documentedRooms are what users import.
var documentedRooms = []string{"resource", "wspool", "policy", "metrics"}

// documented is the rule that every exported identifier that users can reach
// has a comment: types, functions, methods, fields, interface methods,
// constants and variables, and the package itself. A comment above or behind
// counts; for constants and variables one above the group does too.
//
// What other comments already say need not be said again: an embedded field is
// documented by its type, Error() string and String() string by package fmt,
// and the only method of an interface by the interface's comment if that names it.
func documented(tree fs.FS) []string {
	all, err := packages(tree, parser.ParseComments)
	if err != nil {
		return []string{err.Error()}
	}
	var complaints []string
	for _, name := range mustExist {
		if !slices.ContainsFunc(all, func(s *source) bool { return s.dir == name }) {
			complaints = append(complaints, name+": no such package")
		}
	}
	for _, s := range all {
		reachable := slices.ContainsFunc(documentedRooms, func(r string) bool { return within(s.dir, r) })
		if !reachable || slices.Contains(strings.Split(s.dir, "/"), "internal") || s.files[0].Name.Name == "main" {
			continue
		}
		c := docCheck{source: s}
		c.check()
		complaints = append(complaints, c.complaints...)
	}
	return complaints
}

type docCheck struct {
	*source
	complaints []string
}

// want complains that the exported name at n is undocumented unless one of the
// comments has text. Directives such as //go:generate are not text.
func (c *docCheck) want(name string, n ast.Node, comments ...*ast.CommentGroup) {
	for _, g := range comments {
		if g.Text() != "" {
			return
		}
	}
	c.complaints = append(c.complaints, fmt.Sprintf("%s: %s has no comment", c.at(n.Pos()), name))
}

func (c *docCheck) check() {
	var about []*ast.CommentGroup
	for _, f := range c.files {
		about = append(about, f.Doc)
	}
	c.want("package "+c.files[0].Name.Name, c.files[0], about...)
	for _, f := range c.files {
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				c.function(d)
			case *ast.GenDecl:
				c.group(d)
			}
		}
	}
}

func (c *docCheck) function(d *ast.FuncDecl) {
	name := d.Name.Name
	if d.Recv != nil {
		base := receiver(d.Recv.List[0].Type)
		if !ast.IsExported(base) {
			return
		}
		name = base + "." + name
	}
	if d.Name.IsExported() && !fmtCalls(d) {
		c.want(name, d, d.Doc)
	}
}

// fmtCalls says whether d is a method Error() string or String() string.
func fmtCalls(d *ast.FuncDecl) bool {
	if d.Recv == nil || d.Name.Name != "Error" && d.Name.Name != "String" {
		return false
	}
	in, out := d.Type.Params.List, d.Type.Results
	if len(in) != 0 || out.NumFields() != 1 {
		return false
	}
	x, ok := out.List[0].Type.(*ast.Ident)
	return ok && x.Name == "string"
}

// receiver returns the name of a receiver's type: T of T, *T and *T[K].
func receiver(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.StarExpr:
		return receiver(x.X)
	case *ast.ParenExpr:
		return receiver(x.X)
	case *ast.IndexExpr:
		return receiver(x.X)
	case *ast.IndexListExpr:
		return receiver(x.X)
	}
	return ""
}

func (c *docCheck) group(d *ast.GenDecl) {
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if !spec.Name.IsExported() {
				continue
			}
			comments := []*ast.CommentGroup{spec.Doc, spec.Comment}
			if d.Lparen == token.NoPos {
				comments = append(comments, d.Doc)
			}
			c.want(spec.Name.Name, spec, comments...)
			if !soleMethod(spec.Type, comments) {
				c.members(spec.Name.Name, spec.Type)
			}
		case *ast.ValueSpec:
			c.named("", spec.Names, spec, d.Doc, spec.Doc, spec.Comment)
		}
	}
}

// soleMethod says whether x is an interface of one method that one of the
// comments names.
func soleMethod(x ast.Expr, comments []*ast.CommentGroup) bool {
	i, ok := x.(*ast.InterfaceType)
	if !ok || len(i.Methods.List) != 1 || len(i.Methods.List[0].Names) != 1 {
		return false
	}
	word := regexp.MustCompile(`\b` + i.Methods.List[0].Names[0].Name + `\b`)
	return slices.ContainsFunc(comments, func(g *ast.CommentGroup) bool { return word.MatchString(g.Text()) })
}

// members checks the fields and methods that a type spells out, at any depth.
func (c *docCheck) members(of string, x ast.Expr) {
	ast.Inspect(x, func(n ast.Node) bool {
		var list *ast.FieldList
		switch n := n.(type) {
		case *ast.StructType:
			list = n.Fields
		case *ast.InterfaceType:
			list = n.Methods
		default:
			return true
		}
		for _, f := range list.List {
			c.named(of+".", f.Names, f, f.Doc, f.Comment)
		}
		return true
	})
}

// named wants a comment if one of the names that share it is exported.
func (c *docCheck) named(prefix string, names []*ast.Ident, n ast.Node, comments ...*ast.CommentGroup) {
	for _, name := range names {
		if name.IsExported() {
			c.want(prefix+name.Name, n, comments...)
		}
	}
}
