package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// changes returns the mutants of the body of a function, as "kind: text after", with the
// changed lines joined.
func changes(t *testing.T, code string) (all []string) {
	t.Helper()
	s := &source{pkg: "p", path: "p.go", data: []byte(code)}
	ms, err := s.mutants()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range ms {
		_, after := m.lines()
		for i := range after {
			after[i] = strings.TrimSpace(after[i])
		}
		all = append(all, m.kind+": "+strings.Join(after, " "))
	}
	return all
}

func TestMutants(t *testing.T) {
	for _, tc := range []struct {
		name, code string
		want       []string
	}{
		{"condition", "func f(a int) {\nif a < b {\n}\n}", []string{
			"condition negated: if !(a < b) {",
			"condition never true: if (a < b) && false {",
			"condition always true: if (a < b) || true {",
			"< becomes <=: if a <= b {",
		}},
		{"a condition that other mutants negate", "func f() {\nif !a {\n}\n}", []string{
			"condition never true: if (!a) && false {",
			"condition always true: if (!a) || true {",
			"! dropped: if a {",
		}},
		{"loop", "func f() {\nfor i := 0; i != n; i++ {\n}\n}", []string{
			"number plus 1: for i := 1; i != n; i++ {",
			"condition never true: for i := 0; (i != n) && false; i++ {",
			"!= becomes ==: for i := 0; i == n; i++ {",
			"++ becomes --: for i := 0; i != n; i-- {",
		}},
		{"switch", "func f() {\nswitch {\ncase a && b:\n}\n}", []string{
			"condition negated: case !(a && b):",
			"condition never true: case (a && b) && false:",
			"condition always true: case (a && b) || true:",
			"&& becomes ||: case a || b:",
		}},
		{"a switch on a value", "func f() {\nswitch a {\ncase b:\n}\n}", nil},
		{"numbers", "const a, b = 0, 0x10\n", []string{
			"number plus 1: const a, b = 1, 0x10",
			"number plus 1: const a, b = 0, 17",
			"number minus 1: const a, b = 0, 15",
		}},
		{"statements", "func f() {\ng(\na)\ngo g()\ndefer g()\nc <- a\n}", []string{
			"statement dropped: ", "go statement dropped: ", "defer dropped: ", "send dropped: ",
		}},
		{"assignments", "func f() {\na := b\na, c = d, e\na += b\n_ = a\n}", []string{
			"assignment dropped: ",
			"part of an assignment dropped: c = e",
			"part of an assignment dropped: a = d",
			"assignment dropped: ",
			"+= becomes -=: a -= b",
		}},
		{"select", "func f() {\nselect {\ncase a = <-b:\ncase c <- d:\n}\n}", nil},
		{"results", "func f() (a, b bool, t *T, d time.Duration, err error) {\nreturn true, g(), h(), i(), nil\n}", []string{
			"true becomes false: return false, g(), h(), i(), nil",
			"result is always true: return true, true, h(), i(), nil",
			"result is always false: return true, false, h(), i(), nil",
			"result is always nil: return true, g(), nil, i(), nil",
			"result is always 0: return true, g(), h(), 0, nil",
		}},
		{"the results of the inner function", "func f() int {\ng = func() bool { return h }\nreturn 1\n}", []string{
			"assignment dropped: ",
			"result is always true: g = func() bool { return true }",
			"result is always false: g = func() bool { return false }",
			"number plus 1: return 2",
			"number minus 1: return 0",
		}},
		{"fields", "var v = T{a: b, c: d}\n", []string{
			"field dropped: var v = T{ c: d}",
			"field dropped: var v = T{a: b, }",
		}},
		{"fields on lines", "var v = T{\na: b,\n}\n", []string{"field dropped: "}},
		{"min and max", "var v = min(a, max(b, c))\n", []string{
			"min becomes max: var v = max(a, max(b, c))",
			"max becomes min: var v = min(a, min(b, c))",
		}},
		{"bits", "var v = a<<b&^c\n", []string{
			"<< becomes >>: var v = a>>b&^c",
			"&^ becomes &: var v = a<<b&c",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := changes(t, "package p\n"+tc.code); !slices.Equal(got, tc.want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(tc.want, "\n\t"))
			}
		})
	}
}

// root is the root of the repository.
const root = "../../.."

// ours returns the mutants of a package of the repository.
func ours(t *testing.T, dir string) (all []*mutant) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s := &source{pkg: dir, path: path, data: data}
		ms, err := s.mutants()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ms...)
	}
	return all
}

// Every mutant of real code is a file that parses, has as many lines as before, and has a key
// of its own.
func TestMutantsParse(t *testing.T) {
	for _, dir := range []string{"internal/budget", "internal/claim"} {
		keys := make(map[string]*mutant)
		ms := ours(t, dir)
		if len(ms) < 100 {
			t.Fatalf("%s: only %d mutants", dir, len(ms))
		}
		for _, m := range ms {
			if twin := keys[m.key()]; twin != nil {
				t.Errorf("the same key twice, %s and %s:\n%s", twin.kind, m.kind, m.key())
			}
			keys[m.key()] = m
			changed := m.file()
			if _, err := parser.ParseFile(token.NewFileSet(), "", changed, parser.SkipObjectResolution); err != nil {
				t.Errorf("%s: %v\n%s", m.kind, err, m.diff())
			}
			if got, want := strings.Count(string(changed), "\n"), strings.Count(string(m.src.data), "\n"); got != want {
				t.Errorf("%s: %d lines, want %d\n%s", m.kind, got, want, m.diff())
			}
			if string(changed) == string(m.src.data) {
				t.Errorf("%s changes nothing at %s:%d", m.kind, m.src.name(), m.line())
			}
		}
	}
}

func TestDiff(t *testing.T) {
	s := &source{pkg: "a/b", path: "/x/c.go", data: []byte("package b\n\nfunc (t *T) f() {\n\tg()\n\th(\n\t\t1)\n}\n")}
	ms, err := s.mutants()
	if err != nil {
		t.Fatal(err)
	}
	want := `--- a/a/b/c.go
+++ b/a/b/c.go
@@ -2,6 +2,4 @@ (*T).f: statement dropped
 
 func (t *T) f() {
 	g()
-	h(
-		1)
 }
`
	if got := ms[1].diff(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, want := ms[1].key(), "a/b (*T).f\n- h(\n- 1)"; got != want {
		t.Errorf("key %q, want %q", got, want)
	}
}

// Changes of lines that read alike have different keys, whatever is inserted before the
// function.
func TestKeys(t *testing.T) {
	keys := func(code string) (all []string) {
		s := &source{pkg: "p", path: "p.go", data: []byte(code)}
		ms, err := s.mutants()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ms {
			all = append(all, m.key())
		}
		return all
	}
	const f = "func f() {\n\tg()\n\th()\n\tg()\n}\n"
	want := []string{"p f\n- g()", "p f\n- h()", "p f #2\n- g()"}
	if got := keys("package p\n" + f); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := keys("package p\nvar s string\n" + f); !slices.Equal(got, want) {
		t.Errorf("with something before it %q, want %q", got, want)
	}
}
