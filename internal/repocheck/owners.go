package repocheck

import (
	"fmt"
	"go/ast"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// ownership says how the inside of a package is built: a coordinator, and the
// components that own its fields and return decisions to it.
type ownership struct {
	dir          string
	coordinators []string // the types that components must not know
	methods      int      // how many methods the first of them may have
	components   []string

	// records are plain data that components pass on although it leads to a
	// coordinator. They may not follow it there: see links.
	records []string
	links   []string // the fields of records that lead to a coordinator
}

// ownerships is the table of packages that are built so.
var ownerships = []ownership{
	{
		dir:          "resource",
		coordinators: []string{"Pool"},
		methods:      90,
		components: []string{
			"alarm", "askMutex", "callList", "capacity", "clock", "counters", "destroyEnds", "guard", "handOff",
			"health", "idleList", "idleSet", "inspector", "life", "maker", "multiWait", "policies", "reaper", "registry", "anyCounts", "sampler",
			"timing", "tracer", "userCalls", "waitCounts", "waitOrder", "waitQueue",
		},
		records: []string{"entry", "Lease"},
		links:   []string{"pool"},
	},
	{
		dir:          "wspool",
		coordinators: []string{"link", "Pool", "Manager", "hub", "registry"},
		methods:      40,
		components: []string{
			"addressBook", "alarms", "answerConn", "counts", "deadline", "dialGate", "dialTicket", "dialTrace", "dirtiness",
			"ending", "foreignCache", "handshakes", "heartbeat", "holder", "keepalive", "leaseState", "messageRate", "monitor", "monitored",
			"patience", "quarantine", "reclaims", "roster", "secrets", "tlsSessions", "watchState",
		},
	},
	{
		dir:          "wspool/mux",
		coordinators: []string{"conn", "Client", "Stream"},
		methods:      50,
		components:   []string{"inbox", "outbox", "replays", "ring", "slots", "streamBuffer", "waiter"},
		records:      []string{"call"},
		links:        []string{"stream"},
	},
	{
		dir:          "endpoint",
		coordinators: []string{"Set", "poller", "merge"},
		methods:      50,
		components:   []string{"known", "live", "lookup", "member", "merged", "roster", "schedule"},
	},
	{
		dir:          "wspool/cluster",
		coordinators: []string{"Cluster", "node", "use"},
		methods:      50,
		components:   []string{"moveCounts", "rebalancer"},
	},
}

// owners is the rule that a component neither takes nor holds a coordinator, nor
// anything that leads to one, and that no components depend on each other in a circle.
// A component depends on another if its fields, or the signatures or bodies of its
// methods, name it. The coordinator has a bounded number of methods.
func owners(tree fs.FS) []string { return ownersOf(tree, ownerships) }

func ownersOf(tree fs.FS, table []ownership) []string {
	all, err := packages(tree, 0)
	if err != nil {
		return []string{err.Error()}
	}
	var complaints []string
	for _, o := range table {
		i := slices.IndexFunc(all, func(s *source) bool { return s.dir == o.dir })
		if i < 0 {
			complaints = append(complaints, o.dir+": no such package")
			continue
		}
		c := newOwnerCheck(all[i], o)
		c.check()
		complaints = append(complaints, c.complaints...)
	}
	return complaints
}

type ownerCheck struct {
	*source
	ownership
	types      map[string]*ast.TypeSpec
	methods    map[string][]*ast.FuncDecl // by receiver
	tied       map[string]bool            // types that lead to a coordinator, records left out
	complaints []string
}

func newOwnerCheck(s *source, o ownership) *ownerCheck {
	c := &ownerCheck{source: s, ownership: o, types: make(map[string]*ast.TypeSpec), methods: make(map[string][]*ast.FuncDecl)}
	for _, f := range s.files {
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv != nil {
					name := receiver(d.Recv.List[0].Type)
					c.methods[name] = append(c.methods[name], d)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if t, ok := spec.(*ast.TypeSpec); ok {
						c.types[t.Name.Name] = t
					}
				}
			}
		}
	}
	c.tied = c.leading(o.coordinators)
	return c
}

// leading returns the given types and those whose definitions name one of them.
func (c *ownerCheck) leading(to []string) map[string]bool {
	found := make(map[string]bool)
	for _, name := range to {
		found[name] = true
	}
	for grown := true; grown; {
		grown = false
		for name, t := range c.types {
			if found[name] || slices.Contains(c.records, name) {
				continue
			}
			for _, n := range c.named(t.Type) {
				if found[n.Name] {
					found[name], grown = true, true
				}
			}
		}
	}
	return found
}

func (c *ownerCheck) complain(format string, args ...any) {
	c.complaints = append(c.complaints, fmt.Sprintf(format, args...))
}

func (c *ownerCheck) check() {
	if first := c.coordinators[0]; len(c.methods[first]) > c.ownership.methods {
		c.complain("%s: %s has %d methods, over %d", c.ownership.dir, first, len(c.methods[first]), c.ownership.methods)
	}
	graph := make(map[string][]string)
	for _, name := range c.components {
		t := c.types[name]
		if t == nil {
			c.complain("%s: no component %s", c.ownership.dir, name)
			continue
		}
		graph[name] = c.component(name, t)
	}
	for _, name := range c.components {
		if circle := findCircle(graph, name); circle != nil {
			c.complain("%s: components in a circle: %s", c.ownership.dir, strings.Join(circle, ", "))
			break // the others are likely the same one
		}
	}
}

// component checks one component and returns those that it depends on.
func (c *ownerCheck) component(name string, t *ast.TypeSpec) []string {
	uses := make(map[string]bool)
	note := func(idents []*ast.Ident) {
		for _, id := range idents {
			switch {
			case c.tied[id.Name]:
				c.complain("%s: component %s must not know %s", c.at(id.Pos()), name, id.Name)
			case id.Name != name && slices.Contains(c.components, id.Name):
				uses[id.Name] = true
			}
		}
	}
	note(c.named(t.Type))
	for _, m := range c.methods[name] {
		note(c.named(m.Type))
		if m.Body == nil {
			continue
		}
		note(c.namedInBody(m.Body))
		ast.Inspect(m.Body, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && slices.Contains(c.links, s.Sel.Name) && !c.isOwn(m, s) {
				c.complain("%s: component %s must not follow %s", c.at(s.Sel.Pos()), name, s.Sel.Name)
			}
			return true
		})
	}
	return slices.Sorted(maps.Keys(uses))
}

// isOwn reports whether s selects a field of the receiver itself, which may have the
// name of a link.
func (c *ownerCheck) isOwn(m *ast.FuncDecl, s *ast.SelectorExpr) bool {
	x, ok := s.X.(*ast.Ident)
	names := m.Recv.List[0].Names
	return ok && len(names) == 1 && x.Name == names[0].Name
}

// named returns the types of the package that a type expression names.
func (c *ownerCheck) named(x ast.Node) (found []*ast.Ident) {
	ast.Inspect(x, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field: // not its names
			found = append(found, c.named(n.Type)...)
			return false
		case *ast.SelectorExpr: // of another package
			return false
		case *ast.Ident:
			if c.types[n.Name] != nil {
				found = append(found, n)
			}
		}
		return true
	})
	return found
}

// namedInBody returns the types of the package that the statements of a function name
// where only types stand, so that a variable of the same name is none.
func (c *ownerCheck) namedInBody(body ast.Node) (found []*ast.Ident) {
	add := func(x ast.Expr) {
		if x != nil {
			found = append(found, c.named(x)...)
		}
	}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			add(n.Type)
		case *ast.ValueSpec:
			add(n.Type)
		case *ast.TypeAssertExpr:
			add(n.Type)
		case *ast.FuncLit:
			add(n.Type)
		case *ast.CallExpr:
			switch f := n.Fun.(type) {
			case *ast.ParenExpr: // a conversion
				add(f.X)
			case *ast.Ident:
				if f.Name == "new" || f.Name == "make" {
					add(n.Args[0])
				} else {
					add(f)
				}
			case *ast.IndexExpr:
				if _, ok := f.X.(*ast.Ident); ok {
					add(f.X)
				}
			}
		}
		return true
	})
	return found
}

// findCircle returns the names on a way from name back to itself, nil if there is none.
func findCircle(graph map[string][]string, name string) []string {
	seen := make(map[string]bool)
	var way func(at string) []string
	way = func(at string) []string {
		for _, next := range graph[at] {
			if next == name {
				return []string{at, next}
			}
			if !seen[next] {
				seen[next] = true
				if rest := way(next); rest != nil {
					return append([]string{at}, rest...)
				}
			}
		}
		return nil
	}
	return way(name)
}
