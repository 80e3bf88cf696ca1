package main

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// The mutants of real code, together: files that parse and have as many lines as before, in which
// most mutants are.
func TestTogetherParses(t *testing.T) {
	for _, dir := range []string{"internal/budget", "internal/outage"} {
		ms := ours(t, dir)
		lines := make(map[string]int)
		for _, m := range ms {
			lines[m.src.path] = strings.Count(string(m.src.data), "\n")
		}
		sc, err := newSchema(&pkg{Dir: filepath.Join(root, dir), Name: "p"}, ms, func(map[string][]byte) (string, error) { return "", nil })
		if err != nil {
			t.Fatal(err)
		}
		if n := len(sc.numbers); n < len(ms)*3/4 {
			t.Errorf("%s: %d of %d mutants are compiled together, want three quarters", dir, n, len(ms))
		}
		for path, text := range sc.replace {
			if _, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution); err != nil {
				t.Error(err)
			}
			if want, is := lines[path]; is && strings.Count(string(text), "\n") != want {
				t.Errorf("%s: %d lines, want %d", path, strings.Count(string(text), "\n"), want)
			}
		}
	}
}

// What a switched mutant looks like, inner ones in outer ones.
func TestTogether(t *testing.T) {
	for _, tc := range []struct{ code, only, want string }{
		{"if a < b {\n}", "negated|<=", "if ((((a)<(b) || mutantOn(2) && (a) == (b))) != mutantOn(1)) {\n}"},
		{"if a == b && c {\n}", "becomes",
			"if (mutantOn(2) && (((((a)==(b)) != mutantOn(1)))||(c)) || !mutantOn(2) && (((((a)==(b)) != mutantOn(1)))&&(c))) {\n}"},
		{"if !a {\n}", "dropped", "if ((a) == mutantOn(1)) {\n}"},
		{"f(\na)", "dropped", "if !mutantOn(1) { f(\na) }"},
		{"defer f(true)", "", "if !mutantOn(1) { defer f((true != mutantOn(2))) }"},
		{"for i := 1; ; i++ {\n}", "plus|dropped", "for i := (1 + mutantOne(1)); ; i++ {\n}"},
		{"a *= b", "becomes|dropped", "if !mutantOn(1) { a *= b }"},
		{"a += b", "becomes|dropped", "if !mutantOn(1) { if mutantOn(2) { a -= b } else { a += b } }"},
		{"a, b = c, d", "part", "if mutantOn(1) { b = d } else { if mutantOn(2) { a = c } else { a, b = c, d } }"},
		{"x = T{a: 1, b: c}", "field", "x = T{a: mutantZero(mutantOn(1), 1), b: mutantZero(mutantOn(2), c)}"},
		{"if a < min(b, c) {\n}", "max", "if (mutantOn(1) && (a < max(b, c)) || !mutantOn(1) && (a < min(b, c))) {\n}"},
		{"switch a * b {\ncase c & d:\nf()\n}", "becomes", ""},
	} {
		s := &source{pkg: "p", path: "/p/p.go", data: []byte("package p\nfunc f() {\n" + tc.code + "\n}\n")}
		all, err := s.mutants()
		if err != nil {
			t.Fatal(err)
		}
		var ms []*mutant
		for _, m := range all {
			for only := range strings.SplitSeq(tc.only, "|") {
				if strings.Contains(m.kind, only) {
					ms = append(ms, m)
				}
			}
		}
		sc, err := newSchema(&pkg{Dir: "/p", Name: "p"}, ms, func(map[string][]byte) (string, error) { return "", nil })
		if err != nil {
			t.Fatal(err)
		}
		if sc == nil {
			if tc.want != "" {
				t.Errorf("%s, %s: none is compiled with others, want %s", tc.code, tc.only, tc.want)
			}
			continue
		}
		got := strings.TrimSuffix(strings.TrimPrefix(string(sc.replace["/p/p.go"]), "package p\nfunc f() {\n"), "\n}\n")
		if got != tc.want {
			t.Errorf("%s, %s:\ngot  %s\nwant %s", tc.code, tc.only, got, tc.want)
		}
	}
}

// Mutants that the compiler rejects get their second form, and are left out if it rejects that as well,
// those first whose types may be wrong.
func TestTogetherRejected(t *testing.T) {
	s := &source{pkg: "p", path: "/p/p.go", data: []byte("package p\nfunc f() {\nf(1)\nf(2)\n}\n")}
	ms, err := s.mutants()
	if err != nil {
		t.Fatal(err)
	}
	var tried []int
	build := func(after int) func(replace map[string][]byte) (string, error) {
		return func(replace map[string][]byte) (string, error) {
			n := strings.Count(string(replace["/p/p.go"]), "mutantOn")
			if tried = append(tried, n); len(tried) > after {
				return "", nil
			}
			return "p.go:3:2: no such type", errors.New("exit")
		}
	}
	for _, tc := range []struct {
		after int
		want  string
	}{{0, "[6]"}, {1, "[6 6]"}, {2, "[6 6 4]"}} {
		tried = nil
		sc, err := newSchema(&pkg{Dir: "/p", Name: "p"}, ms, build(tc.after))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(tried); got != tc.want || len(sc.numbers) != tried[len(tried)-1] {
			t.Errorf("tried %s mutants, want %s; %d are left", got, tc.want, len(sc.numbers))
		}
	}
	if _, err := newSchema(&pkg{Dir: "/p", Name: "p"}, ms, func(map[string][]byte) (string, error) { return "p.go:9:9: x", errors.New("exit") }); err == nil {
		t.Error("no error, and the compiler rejects something else")
	}
}
