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

// guides are the texts for users whose names are looked up.
var guides = []string{"README.md", settings}

// settings is the text that says what the settings of other pools are here.
const settings = "docs/coming-from.md"

// name finds the exported names that a text has of a package, with a member or
// without: resource.New, resource.Config.MaxSize.
var name = regexp.MustCompile(`\b([a-z]+)\.([A-Z]\w*)(?:\[[^\]]*\])?(?:\.([A-Z]\w*))?`)

// names is the rule that every name of ours in the guides exists, and that each
// row of the tables of settings has one in its second column.
func names(tree fs.FS) []string {
	all, err := packages(tree, 0)
	if err != nil {
		return []string{err.Error()}
	}
	known := make(map[string]map[string]bool)
	for _, s := range all {
		if slices.ContainsFunc(documentedRooms, func(r string) bool { return within(s.dir, r) }) {
			known[path.Base(s.dir)] = exported(s)
		}
	}
	var complaints []string
	for _, guide := range guides {
		text, err := fs.ReadFile(tree, guide)
		if err != nil {
			return append(complaints, err.Error())
		}
		for n, line := range strings.Split(string(text), "\n") {
			for _, m := range name.FindAllStringSubmatch(line, -1) {
				ours, is := known[m[1]]
				if full := strings.TrimSuffix(m[2]+"."+m[3], "."); is && !ours[full] {
					complaints = append(complaints, fmt.Sprintf("%s:%d: %s.%s does not exist", guide, n+1, m[1], full))
				}
			}
			if guide == settings && isRow(line) && !hasName(line, known) {
				complaints = append(complaints, fmt.Sprintf("%s:%d: the second column has no name of ours", guide, n+1))
			}
		}
	}
	return complaints
}

// isRow reports whether a line is a row of a table below its head: with code in
// its first column.
func isRow(line string) bool {
	return strings.HasPrefix(line, "| ") && !strings.HasSuffix(line, "| here | differs |")
}

// hasName reports whether the second column of a row has a name of ours.
func hasName(row string, known map[string]map[string]bool) bool {
	columns := strings.Split(row, "|")
	if len(columns) < 3 {
		return false
	}
	m := name.FindStringSubmatch(columns[2])
	return m != nil && known[m[1]] != nil
}

// exported returns the exported names of a package: functions, types, constants,
// variables, and as Type.Member methods and fields.
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
