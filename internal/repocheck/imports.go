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

// A room is one part of the project: a directory and what lies below it, down
// to the next room. Its code may import the standard library, itself, internal,
// and what is named here.
type room struct {
	rooms  []string // other rooms
	libs   []string // modules of others, or packages of theirs
	all    bool     // anything, of ours and of others
	nested bool     // modules nested in it may import any library
}

// rooms says which way imports run. A library that resource, policy, wspool or
// metrics needs is added here and to rootRequires.
var rooms = map[string]room{
	"resource": {libs: []string{"github.com/jackc/puddle/v2", "golang.org/x/sync"}},
	"policy":   {rooms: []string{"resource"}, libs: []string{"github.com/cenkalti/backoff/v5"}},
	"wspool":   {rooms: []string{"resource"}, libs: []string{"github.com/gorilla/websocket", "golang.org/x/net/proxy"}},
	"metrics":  {rooms: []string{"resource"}, nested: true},
	"examples": {all: true},

	"internal":           {rooms: []string{"resource"}},
	"internal/bench":     {all: true},
	"internal/proof":     {all: true},
	"internal/servers":   {all: true},
	"internal/repocheck": {},
}

// mustExist are the rooms without which there would be nothing to check.
var mustExist = []string{"resource", "wspool"}

// roomOf returns the name of the innermost room that dir lies in, or "".
func roomOf(dir string) string {
	for ; dir != "."; dir = path.Dir(dir) {
		if _, ok := rooms[dir]; ok {
			return dir
		}
	}
	return ""
}

// imports is the rule that imports run only as the table of rooms says. What a
// room imports from internal is held to that room's own line, so that nothing
// comes in through the back door.
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
		name := roomOf(s.dir)
		if name == "" {
			c.complain("%s: a package in no room", s.dir)
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

// check holds the imports of s against the line of the room called name. via
// are the packages of internal through which the room came to s.
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
			if ours && next != nil && name != "internal" && roomOf(dir) == "internal" && !slices.Contains(via, dir) {
				c.check(name, next, append(slices.Clone(via), dir))
			}
		}
	}
}

// allowed says whether code in dir may import the path to, as part of the room
// called name.
func (c *importCheck) allowed(name, dir, to string) bool {
	r := rooms[name]
	if target, ours := ourDir(to); ours {
		other := roomOf(target)
		return r.all || other == name || other == "internal" || slices.Contains(r.rooms, other)
	}
	if standard(to) || r.all || r.nested && c.inNestedModule(dir) {
		return true
	}
	// What a room imports from internal is checked with that room's name too.
	return name == "internal" || slices.ContainsFunc(r.libs, func(lib string) bool { return within(to, lib) })
}

// inNestedModule says whether dir lies in a module other than the root's.
func (c *importCheck) inNestedModule(dir string) bool {
	for ; dir != "."; dir = path.Dir(dir) {
		if exists(c.tree, path.Join(dir, "go.mod")) {
			return true
		}
	}
	return false
}

// ourDir returns the directory of an import path of ours.
func ourDir(importPath string) (dir string, ours bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// standard says whether an import path is the standard library's: only there
// has the first element no dot.
func standard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}
