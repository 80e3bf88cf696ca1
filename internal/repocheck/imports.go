package repocheck

import (
	"fmt"
	"go/parser"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A layer is a directory and everything below it, down to the next layer. Its code may
// import the standard library, itself, internal, and what is listed here.
type layer struct {
	layers []string // other layers
	libs   []string // third-party modules, or packages of them
	all    bool     // no restriction
	nested bool     // modules nested in it may import any library
}

// layers lists the permitted imports. A library that resource, policy, wspool or metrics
// needs is added here and to rootRequires.
var layers = map[string]layer{
	"resource":       {libs: []string{"github.com/jackc/puddle/v2", "golang.org/x/sync"}},
	"policy":         {layers: []string{"resource"}, libs: []string{"github.com/cenkalti/backoff/v5"}},
	"policy/fleet":   {layers: []string{"resource", "policy"}, nested: true},
	"wspool":         {layers: []string{"resource"}, libs: []string{"github.com/gorilla/websocket", "golang.org/x/net/proxy"}},
	"wspool/cluster": {layers: []string{"wspool", "endpoint", "resource"}, libs: []string{"github.com/gorilla/websocket"}},
	"wspool/mux":     {layers: []string{"wspool", "resource"}, libs: []string{"github.com/gorilla/websocket"}},
	"endpoint":       {layers: []string{"resource"}},
	"metrics":        {layers: []string{"resource"}, nested: true},
	"examples":       {all: true},

	"internal":           {layers: []string{"resource"}},
	"internal/explore":   {layers: []string{"resource", "policy", "wspool", "wspool/mux"}, libs: []string{"github.com/gorilla/websocket"}},
	"internal/bench":     {all: true},
	"internal/proof":     {all: true},
	"internal/servers":   {all: true},
	"internal/repocheck": {},
}

// mustExist are layers that must have code: without them the rule would check nothing.
var mustExist = []string{"resource", "wspool"}

// layerOf returns the name of the innermost layer that contains dir, or "".
func layerOf(dir string) string {
	for ; dir != "."; dir = path.Dir(dir) {
		if _, ok := layers[dir]; ok {
			return dir
		}
	}
	return ""
}

// imports is the rule that imports follow the table of layers. A package of internal
// that a layer imports is checked against the entry of that layer too, so that internal
// cannot be used to bypass the table.
func imports(tree fs.FS) []string {
	all, err := packages(tree, parser.ImportsOnly)
	if err != nil {
		return []string{err.Error()}
	}
	c := importCheck{tree: tree, pkgs: make(map[string]*source)}
	for _, s := range all {
		c.pkgs[s.dir] = s
	}
	for _, name := range mustExist {
		if c.pkgs[name] == nil {
			c.complain("%s: no such package", name)
		}
	}
	for _, s := range all {
		name := layerOf(s.dir)
		if name == "" {
			c.complain("%s: package is in no layer", s.dir)
			continue
		}
		c.check(name, s, nil)
	}
	slices.Sort(c.complaints)
	return slices.Compact(c.complaints)
}

type importCheck struct {
	tree       fs.FS
	pkgs       map[string]*source // by directory
	complaints []string
}

func (c *importCheck) complain(format string, args ...any) {
	c.complaints = append(c.complaints, fmt.Sprintf(format, args...))
}

// check checks the imports of s against the entry of the named layer. via lists the
// packages of internal through which the layer imports s.
func (c *importCheck) check(name string, s *source, via []string) {
	for _, f := range s.files {
		for _, spec := range f.Imports {
			to, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				c.complain("%s: %v", s.at(spec.Pos()), err)
				continue
			}
			if !c.allowed(name, s.dir, to) {
				c.complain("%s: %s must not import %s", s.at(spec.Pos()), name, to)
			}
			dir, ours := ourDir(to)
			next := c.pkgs[dir]
			if ours && next != nil && name != "internal" && layerOf(dir) == "internal" && !slices.Contains(via, dir) {
				c.check(name, next, append(slices.Clone(via), dir))
			}
		}
	}
}

// allowed reports whether code in dir may import the path to, as part of the named
// layer.
func (c *importCheck) allowed(name, dir, to string) bool {
	l := layers[name]
	if target, ours := ourDir(to); ours {
		other := layerOf(target)
		return l.all || other == name || other == "internal" || slices.Contains(l.layers, other)
	}
	if standard(to) || l.all || l.nested && c.inNestedModule(dir) {
		return true
	}
	// Imports of internal are checked against the entry of each layer that uses them.
	return name == "internal" || slices.ContainsFunc(l.libs, func(lib string) bool { return within(to, lib) })
}

// inNestedModule reports whether dir is in a module other than the root module.
func (c *importCheck) inNestedModule(dir string) bool {
	for ; dir != "."; dir = path.Dir(dir) {
		if exists(c.tree, path.Join(dir, "go.mod")) {
			return true
		}
	}
	return false
}

// ourDir returns the directory of an import path of this repository.
func ourDir(importPath string) (dir string, ours bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// standard reports whether an import path belongs to the standard library: only there
// does the first element have no dot.
func standard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}
