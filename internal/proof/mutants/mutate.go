package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A mutant is one change of one file.
type mutant struct {
	src        *source
	fn         string // function, method or declaration that is changed
	kind       string // what is done, in words
	start, end int    // bytes of the file that text replaces
	text       string
	nth        int // among the mutants of fn that read alike, from 1
}

// A source is one file of the package under test.
type source struct {
	pkg  string // directory, relative to the root of the repository
	path string // absolute
	data []byte
}

// name is the file's path in reports.
func (s *source) name() string { return s.pkg + "/" + filepath.Base(s.path) }

// line returns the line of the mutant, from 1.
func (m *mutant) line() int { return 1 + strings.Count(string(m.src.data[:m.start]), "\n") }

// file returns the changed file. It has as many lines as the original, so that the lines
// in the compiled program, and in the output of tests, are those of the original.
func (m *mutant) file() []byte {
	lost := strings.Count(string(m.src.data[m.start:m.end]), "\n") - strings.Count(m.text, "\n")
	return slices.Concat(m.src.data[:m.start], []byte(m.text), []byte(strings.Repeat("\n", lost)), m.src.data[m.end:])
}

// lines returns the whole lines that the mutant touches, before and after the change. No
// line is left if the change removes all that stood on them.
func (m *mutant) lines() (before, after []string) {
	data := string(m.src.data)
	from := strings.LastIndexByte(data[:m.start], '\n') + 1
	to := len(data)
	if i := strings.IndexByte(data[m.end:], '\n'); i >= 0 {
		to = m.end + i
	}
	before = strings.Split(data[from:to], "\n")
	for line := range strings.SplitSeq(data[from:m.start]+m.text+data[m.end:to], "\n") {
		if line = strings.TrimRight(line, " \t"); line != "" {
			after = append(after, line)
		}
	}
	return before, after
}

// key identifies the mutant whatever stands before it in the file: the function, the text
// before, the text after.
func (m *mutant) key() string {
	head := m.src.pkg + " " + m.fn
	if m.nth > 1 {
		head += fmt.Sprintf(" #%d", m.nth)
	}
	lines := []string{head}
	before, after := m.lines()
	for _, l := range before {
		if l = strings.TrimSpace(l); l != "" {
			lines = append(lines, "- "+l)
		}
	}
	for _, l := range after {
		lines = append(lines, "+ "+strings.TrimSpace(l))
	}
	return strings.Join(lines, "\n")
}

// mutants returns all mutants of the file, in order of position.
func (s *source) mutants() ([]*mutant, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, s.path, s.data, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	w := walker{src: s, file: fset.File(file.FileStart)}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			w.fn = funcName(d)
			ast.PreorderStack(d, nil, w.visit)
		case *ast.GenDecl:
			if d.Tok == token.IMPORT {
				continue
			}
			for _, spec := range d.Specs {
				w.fn = specName(spec)
				ast.PreorderStack(spec, nil, w.visit)
			}
		}
	}
	slices.SortStableFunc(w.found, func(a, b *mutant) int { return a.start - b.start })
	number(w.found)
	return w.found, nil
}

// number numbers mutants with the same key.
func number(ms []*mutant) {
	seen := make(map[string]int)
	for _, m := range ms {
		key := m.key()
		seen[key]++
		m.nth = seen[key]
	}
}

func funcName(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	recv := types.ExprString(d.Recv.List[0].Type)
	if strings.HasPrefix(recv, "*") {
		recv = "(" + recv + ")"
	}
	return recv + "." + d.Name.Name
}

func specName(spec ast.Spec) string {
	switch spec := spec.(type) {
	case *ast.ValueSpec:
		return spec.Names[0].Name
	case *ast.TypeSpec:
		return spec.Name.Name
	}
	return ""
}

// walker collects the mutants of one file.
type walker struct {
	src   *source
	file  *token.File
	fn    string
	found []*mutant
}

// add adds the mutant that replaces the text between two positions.
func (w *walker) add(kind string, from, to token.Pos, text string) {
	w.found = append(w.found, &mutant{
		src: w.src, fn: w.fn, kind: kind, start: w.file.Offset(from), end: w.file.Offset(to), text: text, nth: 1,
	})
}

func (w *walker) replace(kind string, n ast.Node, text string) { w.add(kind, n.Pos(), n.End(), text) }

func (w *walker) text(n ast.Node) string {
	return string(w.src.data[w.file.Offset(n.Pos()):w.file.Offset(n.End())])
}

// swaps are the operators that are exchanged.
var swaps = map[token.Token]token.Token{
	token.LAND: token.LOR, token.LOR: token.LAND,
	token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR,
	token.EQL: token.NEQ, token.NEQ: token.EQL,
	token.ADD: token.SUB, token.SUB: token.ADD, token.MUL: token.QUO, token.QUO: token.MUL,
	token.AND: token.OR, token.OR: token.AND, token.SHL: token.SHR, token.SHR: token.SHL,
	token.AND_NOT: token.AND, token.XOR: token.OR,
	token.ADD_ASSIGN: token.SUB_ASSIGN, token.SUB_ASSIGN: token.ADD_ASSIGN, token.INC: token.DEC, token.DEC: token.INC,
}

// swap exchanges the operator at pos.
func (w *walker) swap(op token.Token, pos token.Pos) {
	if other, ok := swaps[op]; ok {
		kind := fmt.Sprintf("%s becomes %s", op, other)
		w.add(kind, pos, pos+token.Pos(len(op.String())), other.String())
	}
}

func (w *walker) visit(n ast.Node, stack []ast.Node) bool {
	switch n := n.(type) {
	case *ast.IfStmt:
		w.condition(n.Cond, true)
	case *ast.ForStmt:
		if n.Cond != nil {
			w.condition(n.Cond, false) // one that is always true need not end
		}
	case *ast.CaseClause:
		if s, ok := above(stack, 2).(*ast.SwitchStmt); ok && s.Tag == nil {
			for _, cond := range n.List {
				w.condition(cond, true)
			}
		}
	case *ast.BinaryExpr:
		w.swap(n.Op, n.OpPos)
	case *ast.UnaryExpr:
		if n.Op == token.NOT {
			w.add("! dropped", n.Pos(), n.X.Pos(), "")
		}
	case *ast.BasicLit:
		w.literal(n)
	case *ast.Ident:
		switch n.Name {
		case "true":
			w.replace("true becomes false", n, "false")
		case "false":
			w.replace("false becomes true", n, "true")
		}
	case *ast.CallExpr:
		if f, ok := n.Fun.(*ast.Ident); ok && f.Name == "min" {
			w.replace("min becomes max", f, "max")
		} else if ok && f.Name == "max" {
			w.replace("max becomes min", f, "min")
		}
	case *ast.ExprStmt:
		w.drop("statement", n, stack)
	case *ast.SendStmt:
		w.drop("send", n, stack)
	case *ast.GoStmt:
		w.drop("go statement", n, stack)
	case *ast.DeferStmt:
		w.drop("defer", n, stack)
	case *ast.IncDecStmt:
		w.drop("assignment", n, stack)
		w.swap(n.Tok, n.TokPos)
	case *ast.AssignStmt:
		w.assignment(n, stack)
	case *ast.KeyValueExpr:
		w.field(n, stack)
	case *ast.ReturnStmt:
		w.results(n, stack)
	}
	return true
}

// above returns the node that many levels above the visited one; nil if there is none.
func above(stack []ast.Node, levels int) ast.Node {
	if levels > len(stack) {
		return nil
	}
	return stack[len(stack)-levels]
}

// condition replaces a condition by its negation, by false and, if always, by true. It is
// evaluated still, so that the variables in it are used.
func (w *walker) condition(x ast.Expr, always bool) {
	text := w.text(x)
	if !negated(x) {
		w.replace("condition negated", x, "!("+text+")")
	}
	w.replace("condition never true", x, "("+text+") && false")
	if always {
		w.replace("condition always true", x, "("+text+") || true")
	}
}

// negated reports whether another mutant negates x.
func negated(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.UnaryExpr:
		return x.Op == token.NOT
	case *ast.BinaryExpr:
		return x.Op == token.EQL || x.Op == token.NEQ
	case *ast.Ident:
		return x.Name == "true" || x.Name == "false"
	}
	return false
}

// literal changes an integer by one.
func (w *walker) literal(x *ast.BasicLit) {
	if x.Kind != token.INT {
		return
	}
	v, err := strconv.ParseUint(x.Value, 0, 63)
	if err != nil {
		return
	}
	w.replace("number plus 1", x, strconv.FormatUint(v+1, 10))
	if v > 0 {
		w.replace("number minus 1", x, strconv.FormatUint(v-1, 10))
	}
}

// drop removes a statement. It leaves out the one that advances a loop, without which
// the loop does not end, and the one that a select waits for.
func (w *walker) drop(what string, n ast.Stmt, stack []ast.Node) {
	switch p := above(stack, 1).(type) {
	case *ast.ForStmt:
		if p.Post == n {
			return
		}
	case *ast.CommClause:
		if p.Comm == n {
			return
		}
	}
	w.replace(what+" dropped", n, "")
}

// assignment drops an assignment, and each part of one that has several. A definition
// stays, since nothing would compile without it.
func (w *walker) assignment(n *ast.AssignStmt, stack []ast.Node) {
	if n.Tok == token.DEFINE {
		return
	}
	w.swap(n.Tok, n.TokPos)
	if id, ok := n.Lhs[0].(*ast.Ident); ok && id.Name == "_" && len(n.Lhs) == 1 {
		return
	}
	w.drop("assignment", n, stack)
	if len(n.Lhs) < 2 || len(n.Lhs) != len(n.Rhs) {
		return
	}
	for i := range n.Lhs {
		var left, right []string
		for j := range n.Lhs {
			if j != i {
				left, right = append(left, w.text(n.Lhs[j])), append(right, w.text(n.Rhs[j]))
			}
		}
		w.replace("part of an assignment dropped", n, strings.Join(left, ", ")+" = "+strings.Join(right, ", "))
	}
}

// field drops a field of a composite literal.
func (w *walker) field(n *ast.KeyValueExpr, stack []ast.Node) {
	if _, ok := n.Key.(*ast.Ident); !ok {
		return
	}
	lit, ok := above(stack, 1).(*ast.CompositeLit)
	if !ok {
		return
	}
	to := n.End()
	if i := slices.Index(lit.Elts, ast.Expr(n)); i+1 < len(lit.Elts) || w.src.data[w.file.Offset(to)] == ',' {
		to += token.Pos(strings.IndexByte(string(w.src.data[w.file.Offset(to):]), ',') + 1)
	}
	w.add("field dropped", n.Pos(), to, "")
}

// results replaces each result of a return by constants of its type.
func (w *walker) results(n *ast.ReturnStmt, stack []ast.Node) {
	declared := resultTypes(stack)
	if len(declared) != len(n.Results) {
		return
	}
	for i, x := range n.Results {
		switch x := x.(type) {
		case *ast.BasicLit:
			continue // changed as a literal
		case *ast.Ident:
			if x.Name == "true" || x.Name == "false" || x.Name == "nil" {
				continue
			}
		}
		for _, c := range constants(declared[i]) {
			w.replace("result is always "+c, x, c)
		}
	}
}

// resultTypes returns the types of the results of the innermost function.
func resultTypes(stack []ast.Node) (all []ast.Expr) {
	for _, n := range slices.Backward(stack) {
		var t *ast.FuncType
		switch n := n.(type) {
		case *ast.FuncDecl:
			t = n.Type
		case *ast.FuncLit:
			t = n.Type
		default:
			continue
		}
		if t.Results == nil {
			return nil
		}
		for _, f := range t.Results.List {
			for range max(1, len(f.Names)) {
				all = append(all, f.Type)
			}
		}
		return all
	}
	return nil
}

// constants returns the constants by which a result of type t is replaced. Types are not
// resolved: of a named type only those are known that are used most.
func constants(t ast.Expr) []string {
	switch t := t.(type) {
	case *ast.Ident:
		switch t.Name {
		case "bool":
			return []string{"true", "false"}
		case "string":
			return []string{`""`}
		case "error", "any":
			return []string{"nil"}
		case "int", "int8", "int16", "int32", "int64", "uint", "uint8", "uint16", "uint32", "uint64", "byte", "uintptr",
			"float32", "float64":
			return []string{"0"}
		}
	case *ast.SelectorExpr:
		if types.ExprString(t) == "time.Duration" {
			return []string{"0"}
		}
	case *ast.StarExpr, *ast.MapType, *ast.ChanType, *ast.FuncType, *ast.InterfaceType:
		return []string{"nil"}
	case *ast.ArrayType:
		if t.Len == nil {
			return []string{"nil"}
		}
	}
	return nil
}
