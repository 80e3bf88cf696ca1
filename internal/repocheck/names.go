package repocheck

import (
	"fmt"
	"go/ast"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// publicPackages are the packages that users import, and the packages below them.
var publicPackages = []string{"resource", "wspool", "policy", "metrics", "endpoint"}

// isGuide reports whether name is a document for users, whose identifiers are checked.
func isGuide(name string) bool {
	return name == "README.md" || within(name, "docs") && path.Ext(name) == ".md"
}

// settingsHeader is the end of the header of a table that maps the names of another
// package, or its habits, to ours.
const settingsHeader = "| here | differs |"

// name matches an exported identifier of a package, with or without a member:
// resource.New, resource.Config.MaxSize.
var name = regexp.MustCompile(`\b([a-z]+)\.([A-Z]\w*)(?:\[[^\]]*\])?(?:\.([A-Z]\w*))?`)

// names is the rule that every identifier of ours in the guides exists, and that each row
// of a table with a settingsHeader has one in its second column.
func names(tree fs.FS) []string {
	all, err := packages(tree, 0)
	if err != nil {
		return []string{err.Error()}
	}
	known := make(map[string]map[string]bool)
	for _, s := range all {
		if slices.ContainsFunc(publicPackages, func(r string) bool { return within(s.dir, r) }) {
			known[path.Base(s.dir)] = exported(s)
		}
	}
	guides, err := files(tree, isGuide)
	if err != nil {
		return []string{err.Error()}
	}
	if len(guides) == 0 {
		return []string{"no guide"}
	}
	var complaints []string
	for _, guide := range guides {
		text, err := fs.ReadFile(tree, guide)
		if err != nil {
			return append(complaints, err.Error())
		}
		lines := strings.Split(string(text), "\n")
		for _, b := range codeBlocks(string(text)) {
			if b.lang == "go" { // a compiler knows better, as of a variable with the name of a package
				clear(lines[b.line : b.line+strings.Count(b.text, "\n")])
			}
		}
		mapped := false // the line is in a table with a settingsHeader
		for n, line := range lines {
			for _, m := range name.FindAllStringSubmatch(line, -1) {
				ours, is := known[m[1]]
				if full := strings.TrimSuffix(m[2]+"."+m[3], "."); is && !ours[full] {
					complaints = append(complaints, fmt.Sprintf("%s:%d: %s.%s does not exist", guide, n+1, m[1], full))
				}
			}
			switch {
			case strings.HasSuffix(line, settingsHeader):
				mapped = true
			case !strings.HasPrefix(line, "|"):
				mapped = false
			case mapped && strings.HasPrefix(line, "| ") && !hasName(line, known):
				complaints = append(complaints, fmt.Sprintf("%s:%d: the second column has no identifier of ours", guide, n+1))
			}
		}
	}
	return complaints
}

// hasName reports whether the second column of a row has an identifier of ours.
func hasName(row string, known map[string]map[string]bool) bool {
	columns := strings.Split(row, "|")
	if len(columns) < 3 {
		return false
	}
	m := name.FindStringSubmatch(columns[2])
	return m != nil && known[m[1]] != nil
}

// exported returns the identifiers of a package: functions, types, constants and
// variables, and methods and fields as Type.Member.
func exported(s *source) map[string]bool {
	found := make(map[string]bool)
	for _, f := range s.files {
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv != nil {
					found[receiver(d.Recv.List[0].Type)+"."+d.Name.Name] = true
				} else {
					found[d.Name.Name] = true
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					addSpec(found, spec)
				}
			}
		}
	}
	return found
}

func addSpec(found map[string]bool, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.ValueSpec:
		for _, n := range spec.Names {
			found[n.Name] = true
		}
	case *ast.TypeSpec:
		found[spec.Name.Name] = true
		var members *ast.FieldList
		switch t := spec.Type.(type) {
		case *ast.StructType:
			members = t.Fields
		case *ast.InterfaceType:
			members = t.Methods
		default:
			return
		}
		for _, m := range members.List {
			for _, n := range m.Names {
				found[spec.Name.Name+"."+n.Name] = true
			}
		}
	}
}

// receiver returns the type name of a receiver: T for T, *T and *T[K].
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
