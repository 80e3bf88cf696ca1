package repocheck

import "testing"

func TestDocumentedExamples(t *testing.T) {
	const head = "// Package p is one.\npackage p\n\n"
	base := map[string]string{"resource/a.go": head, "wspool/a.go": head}
	in := func(text string) map[string]string { return map[string]string{"resource/b.go": "package p\n\n" + text} }
	try(t, documented, base, []example{
		{name: "nothing exported", files: in("type a struct{ X int }\nfunc (a) M() {}\nvar b, c = 1, 2\n")},
		{name: "no resource", files: map[string]string{"resource/a.go": absent}, want: []string{"resource: no such package"}},
		{name: "no wspool", files: map[string]string{"wspool/a.go": absent}, want: []string{"wspool: no such package"}},
		{name: "package", files: map[string]string{"policy/a.go": "package policy\n", "metrics/x/a.go": "package x\n"},
			want: []string{"metrics/x/a.go:1: package x has no comment", "policy/a.go:1: package policy has no comment"}},
		{name: "users do not reach these", files: map[string]string{
			"resource/internal/x/a.go": "package x\nfunc F() {}\n",
			"internal/x/a.go":          "package x\nfunc F() {}\n",
			"metrics/cmd/a.go":         "package main\nfunc F() {}\n",
			"resource/a_test.go":       "package p\nfunc F() {}\n",
		}},
		{name: "documented", files: in(`
// F does.
func F() {}

// T is.
type T[K any] struct {
	A, B, C int // the three
	// D is one.
	D struct {
		E int // inner
	}
	f int
	error
}

// M does.
func (t *T[K]) M() {}

// I is.
type I interface {
	// M does.
	M()
	N() // does as well
	error
}

// Codes.
const (
	X = iota
	Y
)

var Z = 1 // the last

type (
	// U is.
	U int
	V int // is
)
`)},
		{name: "func", files: in("func F() {}\n"), want: []string{"resource/b.go:3: F has no comment"}},
		{name: "directive", files: in("//go:noinline\nfunc F() {}\n"), want: []string{"resource/b.go:4: F has no comment"}},
		{name: "type", files: in("type T int\n"), want: []string{"resource/b.go:3: T has no comment"}},
		{name: "alias", files: in("type T = int\n"), want: []string{"resource/b.go:3: T has no comment"}},
		{name: "type in a group", files: in("// Types.\ntype (\n\tT int\n)\n"), want: []string{"resource/b.go:5: T has no comment"}},
		{name: "methods", files: in("// T is.\ntype T[A, B any] int\nfunc (T[A, B]) M() {}\nfunc (*T[A, B]) N() {}\n"),
			want: []string{"resource/b.go:5: T.M has no comment", "resource/b.go:6: T.N has no comment"}},
		{name: "field", files: in("// T is.\ntype T struct {\n\t// A is.\n\tA int\n\tB int\n}\n"),
			want: []string{"resource/b.go:7: T.B has no comment"}},
		{name: "inner field", files: in("// T is.\ntype T []*struct {\n\tA int\n}\n"),
			want: []string{"resource/b.go:5: T.A has no comment"}},
		{name: "interface method", files: in("// T is Ming.\ntype T interface {\n\tM()\n}\n"),
			want: []string{"resource/b.go:5: T.M has no comment"}},
		{name: "interface methods", files: in("// T has M and N.\ntype T interface {\n\tM()\n\tN() // does\n}\n"),
			want: []string{"resource/b.go:5: T.M has no comment"}},
		{name: "the only method, in the type's comment", files: in("// T is one. M does.\ntype T interface {\n\tM()\n}\n")},
		{name: "as fmt calls them", files: in("// T is.\ntype T int\nfunc (T) Error() string { return \"\" }\nfunc (*T) String() string { return \"\" }\n")},
		{name: "not as fmt calls them", files: in("// T is.\ntype T int\nfunc (T) Error() int { return 0 }\nfunc (*T) String(int) string { return \"\" }\nfunc String() string { return \"\" }\nfunc (T) Unwrap() error { return nil }\n"),
			want: []string{
				"resource/b.go:5: T.Error has no comment",
				"resource/b.go:6: T.String has no comment",
				"resource/b.go:7: String has no comment",
				"resource/b.go:8: T.Unwrap has no comment",
			}},
		{name: "const and var", files: in("const (\n\tA = 1\n\tB = 2 // is\n)\nvar C, d int\n"),
			want: []string{"resource/b.go:4: A has no comment", "resource/b.go:7: C has no comment"}},
	})
}
