package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Most mutants are compiled together: into one program, in which the environment variable
// switchVariable turns one of them on. That takes far less time than one program for each. Mutants
// that cannot be expressed so, such as those of constants, get a program of their own.
//
// A mutant has up to two forms. The first wraps the changed expression or statement itself. If there
// is none, or the compiler rejects it because of a type, the second one has the condition or the
// statement around the change twice, as it was and as it is changed.

// switchVariable has the number of the mutant that is on.
const switchVariable = "RESPOOL_MUTANT"

// switchFile is the file that is added to the package under test.
const switchFile = `package %s

import (
	"os"
	"strconv"
)

var mutantActive, _ = strconv.Atoi(os.Getenv("` + switchVariable + `"))

func mutantOn(number int) bool { return mutantActive == number }

func mutantOne(number int) int {
	if mutantActive == number {
		return 1
	}
	return 0
}

func mutantPick[T any](on bool, changed, original T) T {
	if on {
		return changed
	}
	return original
}

func mutantZero[T any](on bool, original T) (zero T) {
	if on {
		return zero
	}
	return original
}
`

// A form is how a mutant is turned on and off: the text that takes the place of a node. parts are
// the texts of its operands, or of the whole node, with the mutants in them.
type form struct {
	m     *mutant
	node  [2]int   // the bytes that are replaced
	parts [][2]int // of these, the ones that wrap gets
	wrap  func(on string, parts []string) string
	twice bool // the second form
}

// forms returns the first and the second forms of those of the mutants of s that have one, by mutant.
func (s *source) forms(ms []*mutant) (first, second map[*mutant]form, err error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, s.path, s.data, parser.SkipObjectResolution)
	if err != nil {
		return nil, nil, err
	}
	f := former{src: s, file: fset.File(file.FileStart), found: make(map[*mutant]form), at: make(map[int][]*mutant)}
	for _, m := range ms {
		f.at[m.start] = append(f.at[m.start], m)
	}
	for _, d := range file.Decls {
		if d, ok := d.(*ast.FuncDecl); ok {
			ast.PreorderStack(d.Body, nil, f.visit)
		}
	}
	return f.found, f.second(ms), nil
}

type former struct {
	src   *source
	file  *token.File
	at    map[int][]*mutant // by start
	found map[*mutant]form
	whens [][2]int // conditions on one line
	acts  [][2]int // statements on one line that can stand in a block of their own
}

// second returns the second form of each of ms that lies in one of f.whens or f.acts: in the smallest.
func (f *former) second(ms []*mutant) map[*mutant]form {
	all := make(map[*mutant]form)
	for _, m := range ms {
		if strings.Contains(m.text, "\n") {
			continue
		}
		node, found := [2]int{0, len(f.src.data)}, false
		act := false
		for kind, spans := range [][][2]int{f.whens, f.acts} {
			for _, n := range spans {
				if n[0] <= m.start && m.end <= n[1] && n[1]-n[0] < node[1]-node[0] {
					node, act, found = n, kind == 1, true
				}
			}
		}
		if !found {
			continue
		}
		changed := string(f.src.data[node[0]:m.start]) + m.text + string(f.src.data[m.end:node[1]])
		all[m] = form{m, node, [][2]int{node}, func(on string, p []string) string {
			if act {
				return "if mutantOn(" + on + ") { " + changed + " } else { " + p[0] + " }"
			}
			return "(mutantOn(" + on + ") && (" + changed + ") || !mutantOn(" + on + ") && (" + p[0] + "))"
		}, true}
	}
	return all
}

func (f *former) span(n ast.Node) [2]int {
	return [2]int{f.file.Offset(n.Pos()), f.file.Offset(n.End())}
}

// add notes the form of each mutant that replaces the bytes of span, is of that kind, and has
// that text; an empty text stands for any.
func (f *former) add(span [2]int, kind, text string, node [2]int, parts [][2]int, wrap func(on string, parts []string) string) {
	for _, m := range f.at[span[0]] {
		if m.end == span[1] && m.kind == kind && (text == "" || m.text == text) {
			f.found[m] = form{m, node, parts, wrap, false}
		}
	}
}

func (f *former) visit(n ast.Node, stack []ast.Node) bool {
	switch n := n.(type) {
	case *ast.IfStmt:
		f.condition(n.Cond)
	case *ast.ForStmt:
		if n.Cond != nil {
			f.condition(n.Cond)
		}
	case *ast.CaseClause:
		if s, ok := above(stack, 2).(*ast.SwitchStmt); ok && s.Tag == nil {
			for _, x := range n.List {
				f.condition(x)
			}
		}
	case *ast.BinaryExpr:
		f.binary(n)
	case *ast.UnaryExpr:
		if n.Op == token.NOT {
			at := f.file.Offset(n.Pos())
			f.add([2]int{at, f.file.Offset(n.X.Pos())}, "! dropped", "", f.span(n), [][2]int{f.span(n.X)},
				func(on string, p []string) string { return "((" + p[0] + ") == mutantOn(" + on + "))" })
		}
	case *ast.Ident:
		if n.Name == "true" || n.Name == "false" {
			for _, kind := range []string{"true becomes false", "false becomes true"} {
				f.whole(n, kind, "", func(on, x string) string { return "(" + x + " != mutantOn(" + on + "))" })
			}
		}
	case *ast.BasicLit:
		f.whole(n, "number plus 1", "", func(on, x string) string { return "(" + x + " + mutantOne(" + on + "))" })
		f.whole(n, "number minus 1", "", func(on, x string) string { return "(" + x + " - mutantOne(" + on + "))" })
	case *ast.KeyValueExpr:
		for _, m := range f.at[f.file.Offset(n.Pos())] {
			if m.kind == "field dropped" {
				v := f.span(n.Value)
				f.found[m] = form{m, v, [][2]int{v}, func(on string, p []string) string { return "mutantZero(mutantOn(" + on + "), " + p[0] + ")" }, false}
			}
		}
	case *ast.ReturnStmt:
		f.statement(n, stack)
		for _, x := range n.Results {
			for _, c := range []string{"true", "false", "nil", "0", `""`} {
				f.whole(x, "result is always "+c, c, func(on, x string) string {
					return "mutantPick(mutantOn(" + on + "), " + c + ", " + x + ")"
				})
			}
		}
	case *ast.ExprStmt, *ast.SendStmt, *ast.GoStmt, *ast.DeferStmt, *ast.IncDecStmt, *ast.AssignStmt:
		f.statement(n.(ast.Stmt), stack)
	}
	return true
}

// whole adds a form that wraps the whole node.
func (f *former) whole(n ast.Node, kind, text string, wrap func(on, x string) string) {
	span := f.span(n)
	f.add(span, kind, text, span, [][2]int{span}, func(on string, p []string) string { return wrap(on, p[0]) })
}

func (f *former) condition(x ast.Expr) {
	if span := f.span(x); !bytes.ContainsRune(f.src.data[span[0]:span[1]], '\n') {
		f.whens = append(f.whens, span)
	}
	f.whole(x, "condition negated", "", func(on, x string) string { return "((" + x + ") != mutantOn(" + on + "))" })
	f.whole(x, "condition never true", "", func(on, x string) string { return "((" + x + ") && !mutantOn(" + on + "))" })
	f.whole(x, "condition always true", "", func(on, x string) string { return "((" + x + ") || mutantOn(" + on + "))" })
}

// binary adds the form of an operator. Where it has the operands twice, the second time is
// evaluated only if the mutant is on.
func (f *former) binary(n *ast.BinaryExpr) {
	op, other := n.Op.String(), swaps[n.Op].String()
	var wrap func(on string, p []string) string
	switch n.Op {
	case token.EQL, token.NEQ:
		wrap = func(on string, p []string) string {
			return "((" + p[0] + op + p[1] + ") != mutantOn(" + on + "))"
		}
	case token.LSS, token.GTR:
		wrap = func(on string, p []string) string {
			return "(" + p[0] + op + p[1] + " || mutantOn(" + on + ") && " + p[0] + " == " + p[1] + ")"
		}
	case token.LEQ, token.GEQ:
		wrap = func(on string, p []string) string {
			return "(" + p[0] + op + p[1] + " && !(mutantOn(" + on + ") && " + p[0] + " == " + p[1] + "))"
		}
	case token.LAND, token.LOR:
		wrap = func(on string, p []string) string {
			return "(mutantOn(" + on + ") && (" + p[0] + other + p[1] + ") || !mutantOn(" + on + ") && (" + p[0] + op + p[1] + "))"
		}
	case token.ADD, token.SUB:
		wrap = func(on string, p []string) string {
			return "mutantPick(mutantOn(" + on + "), " + p[0] + other + p[1] + ", " + p[0] + op + p[1] + ")"
		}
	default:
		return
	}
	at := f.file.Offset(n.OpPos)
	span := f.span(n)
	if strings.ContainsAny(string(f.src.data[span[0]:span[1]]), "\n") {
		return // the lines of the program would not be those of the file
	}
	f.add([2]int{at, at + len(op)}, op+" becomes "+other, "", span, [][2]int{f.span(n.X), f.span(n.Y)},
		func(on string, p []string) string { return wrap(on, []string{"(" + p[0] + ")", "(" + p[1] + ")"}) })
}

// statement adds the form of a statement that is dropped, where a block may stand. There the statement
// may also be the place of second forms.
func (f *former) statement(n ast.Stmt, stack []ast.Node) {
	switch above(stack, 1).(type) {
	case *ast.BlockStmt, *ast.CaseClause, *ast.CommClause:
	default:
		return
	}
	if c, ok := above(stack, 1).(*ast.CommClause); ok && c.Comm == n {
		return
	}
	if a, ok := n.(*ast.AssignStmt); !ok || a.Tok != token.DEFINE {
		if span := f.span(n); !bytes.ContainsRune(f.src.data[span[0]:span[1]], '\n') {
			f.acts = append(f.acts, span)
		}
	}
	for _, what := range []string{"statement", "send", "go statement", "defer", "assignment"} {
		for _, m := range f.at[f.file.Offset(n.Pos())] {
			if m.text == "" && m.kind == what+" dropped" {
				f.whole(n, m.kind, "", func(on, x string) string { return "if !mutantOn(" + on + ") { " + x + " }" })
			}
		}
	}
}

// together returns the text of the file with these forms in it.
func (s *source) together(forms []form, numbers map[*mutant]int) []byte {
	// Outer nodes first; of equal ones those last of which the operands are parts.
	slices.SortStableFunc(forms, func(a, b form) int {
		if a.node[0] != b.node[0] {
			return a.node[0] - b.node[0]
		}
		if a.node[1] != b.node[1] {
			return b.node[1] - a.node[1]
		}
		return len(a.parts) - len(b.parts)
	})
	var render func(from, to int, forms []form) string
	render = func(from, to int, forms []form) string {
		var b strings.Builder
		for len(forms) > 0 {
			f := forms[0]
			b.Write(s.data[from:f.node[0]])
			from = f.node[1]
			n := 1
			for n < len(forms) && forms[n].node[0] < from {
				n++
			}
			inner := forms[1:n]
			forms = forms[n:]
			var parts []string
			for _, p := range f.parts {
				var in []form
				for _, g := range inner {
					if p[0] <= g.node[0] && g.node[1] <= p[1] {
						in = append(in, g)
					}
				}
				parts = append(parts, render(p[0], p[1], in))
			}
			b.WriteString(f.wrap(strconv.Itoa(numbers[f.m]), parts))
		}
		b.Write(s.data[from:to])
		return b.String()
	}
	return []byte(render(0, len(s.data), forms))
}

// A schema is the mutants of a package that are compiled together.
type schema struct {
	numbers map[*mutant]int   // from 1
	replace map[string][]byte // files of the package, by absolute path, and their text
}

// newSchema returns the schema of these mutants of p. build compiles the package with replaced
// files and returns what the compiler says: forms that it rejects are left out.
func newSchema(p *pkg, ms []*mutant, build func(replace map[string][]byte) (said string, err error)) (*schema, error) {
	bySource := make(map[*source][]*mutant)
	for _, m := range ms {
		bySource[m.src] = append(bySource[m.src], m)
	}
	forms := make(map[*source][]form)
	seconds := make(map[*mutant]form)
	for src, ms := range bySource {
		first, second, err := src.forms(ms)
		if err != nil {
			return nil, err
		}
		maps.Copy(seconds, second)
		for _, m := range ms { // in a fixed order
			if f, ok := first[m]; ok {
				forms[src] = append(forms[src], f)
			} else if f, ok := second[m]; ok {
				forms[src] = append(forms[src], f)
			}
		}
	}
	for round := 0; ; round++ {
		sc := &schema{numbers: make(map[*mutant]int), replace: make(map[string][]byte)}
		for _, src := range slices.SortedFunc(maps.Keys(forms), func(a, b *source) int { return strings.Compare(a.path, b.path) }) {
			// In a fixed order, so that the build cache knows the program when the command runs again.
			fs := forms[src]
			for _, f := range fs {
				sc.numbers[f.m] = len(sc.numbers) + 1
			}
			sc.replace[src.path] = src.together(fs, sc.numbers)
		}
		if len(sc.numbers) == 0 {
			return nil, nil
		}
		sc.replace[filepath.Join(p.Dir, "mutant_switch.go")] = fmt.Appendf(nil, switchFile, p.Name)
		said, err := build(sc.replace)
		if err == nil {
			return sc, nil
		}
		changed := false
		for src := range forms {
			var left []form
			for _, f := range forms[src] {
				switch second, ok := seconds[f.m]; {
				case !f.rejected(said, round > 2):
					left = append(left, f)
					continue
				case ok && !f.twice:
					left = append(left, second)
				}
				changed = true
			}
			forms[src] = left
		}
		if !changed || round > 20 {
			return nil, fmt.Errorf("%s does not compile with its mutants: %w\n%s", p.name, err, said)
		}
	}
}

var errorAt = regexp.MustCompile(`(?m)([^\s/]+\.go):(\d+):\d+: `)

// rejected reports whether the compiler complains about the line on which the form begins, or if
// any is set about any of its lines, and, unless any is set, the form is one that depends on types.
func (f *form) rejected(said string, any bool) bool {
	first := 1 + strings.Count(string(f.m.src.data[:f.node[0]]), "\n")
	last := first
	if any {
		last += strings.Count(string(f.m.src.data[f.node[0]:f.node[1]]), "\n")
	}
	typed := f.twice || strings.HasPrefix(f.m.kind, "field") || strings.HasPrefix(f.m.kind, "number") || strings.HasPrefix(f.m.kind, "result") || strings.Contains(f.m.kind, "becomes")
	for _, at := range errorAt.FindAllStringSubmatch(said, -1) {
		if line, _ := strconv.Atoi(at[2]); at[1] == filepath.Base(f.m.src.path) && first <= line && line <= last && (typed || any) {
			return true
		}
	}
	return false
}
