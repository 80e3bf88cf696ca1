package puddle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	// Imported by the suite, so go.mod must require them.
	_ "github.com/stretchr/testify/assert"
	_ "github.com/stretchr/testify/require"
)

const (
	original = "github.com/jackc/puddle/v2"
	ours     = "github.com/respool/respool/resource/puddlecompat"
)

// deviations are the tests of puddle that need not pass, with the reasons.
var deviations = map[string]string{
	"TestPoolStatResources": "an acquire takes what is given back while its own resource is made, and puddle's waits on: " +
		"so what is leased just after a Release depends on whether that acquirer has run",
}

// TestPublicTests runs the tests of puddle from the module cache with the import of puddle
// replaced by puddlecompat. It omits tests that use identifiers exported only to puddle's
// tests, benchmarks, and an example that needs a fixed port.
func TestPublicTests(t *testing.T) {
	dir := strings.TrimSpace(goTool(t, "list", "-m", "-f", "{{.Dir}}", original))
	text, tests := rewrite(t, filepath.Join(dir, "pool_test.go"), private(t, filepath.Join(dir, "export_test.go")))
	if len(tests) < 44 {
		t.Fatalf("%d tests in %s, want 44 or more", len(tests), dir)
	}
	for name := range deviations {
		if !slices.Contains(tests, name) {
			t.Errorf("%s may deviate, but there is no such test", name)
		}
	}
	results := run(t, text, deviations)
	for _, name := range tests {
		switch why, may := deviations[name]; {
		case results[name] == "pass":
		case may:
			t.Logf("%s: %s; known: %s", name, results[name], why)
		default:
			t.Errorf("%s: %q, want pass", name, results[name])
		}
	}
	t.Logf("%d tests of puddle", len(tests))
}

// private returns the names that a package exports only to its tests.
func private(t *testing.T, file string) (names []string) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			names = append(names, d.Name.Name)
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if v, ok := s.(*ast.ValueSpec); ok {
					for _, id := range v.Names {
						names = append(names, id.Name)
					}
				}
			}
		}
	}
	return names
}

// rewrite returns a test file with the import of puddle replaced and without the functions
// that use private names, and the names of its tests.
func rewrite(t *testing.T, file string, private []string) (text []byte, tests []string) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	f.Decls = slices.DeleteFunc(f.Decls, func(d ast.Decl) bool {
		fn, ok := d.(*ast.FuncDecl)
		return ok && (mentions(fn, private) || !fn.Name.IsExported() && fn.Name.Name == "init")
	})
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
			tests = append(tests, fn.Name.Name)
		}
	}
	used := packagesUsed(f)
	for _, d := range f.Decls {
		if imports, ok := d.(*ast.GenDecl); ok && imports.Tok == token.IMPORT {
			imports.Specs = slices.DeleteFunc(imports.Specs, func(s ast.Spec) bool {
				spec := s.(*ast.ImportSpec)
				path, _ := strconv.Unquote(spec.Path.Value)
				if path == original {
					spec.Name, spec.Path.Value = ast.NewIdent("puddle"), strconv.Quote(ours)
					return false
				}
				return !used[path[strings.LastIndexByte(path, '/')+1:]]
			})
		}
	}
	var b bytes.Buffer
	if err := format.Node(&b, fset, f); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), original) {
		t.Fatalf("%s is still imported", original)
	}
	return b.Bytes(), tests
}

func mentions(n ast.Node, names []string) (found bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && slices.Contains(names, id.Name) {
			found = true
		}
		return !found
	})
	return found
}

func packagesUsed(f *ast.File) map[string]bool {
	used := make(map[string]bool)
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok {
				used[id.Name] = true
			}
		}
		return true
	})
	return used
}

// run runs the tests of a file as an overlay of this file, and returns the result of each. Those that
// may fail have a process each: if a goroutine fails after its test has, the process ends with all tests
// that follow.
func run(t *testing.T, text []byte, mayFail map[string]string) map[string]string {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	file, overlay := filepath.Join(tmp, "suite.go.txt"), filepath.Join(tmp, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{
		"Replace": {filepath.Join(here, "pool_test.go"): file, filepath.Join(here, "suite_test.go"): ""},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{file: text, overlay: replace} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"test", "-overlay", overlay, "-vet=off", "-count=1", "-timeout=5m", "-json"}
	if race {
		args = append(args, "-race")
	}
	alone := slices.Sorted(maps.Keys(mayFail))
	out := goTool(t, append(args, "-run=^Test", "-skip=^("+strings.Join(alone, "|")+")$", ".")...)
	for _, name := range alone {
		out += goTool(t, append(args, "-run=^"+name+"$", ".")...)
	}
	results := make(map[string]string)
	for line := range strings.Lines(out) {
		var e struct{ Action, Test, Output string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Logf("%s", line)
			continue
		}
		switch e.Action {
		case "pass", "fail", "skip":
			results[e.Test] = e.Action
		case "output", "build-output":
			if !strings.HasPrefix(e.Output, "=== ") && !strings.HasPrefix(e.Output, "--- PASS") {
				t.Logf("%s", strings.TrimSuffix(e.Output, "\n"))
			}
		}
	}
	return results
}

// goTool runs the go command and returns its output. A failing test is not an error.
func goTool(t *testing.T, args ...string) string {
	cmd := exec.CommandContext(t.Context(), "go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && (args[0] != "test" || len(out) == 0) {
		t.Fatal(fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, stderr.Bytes()))
	}
	if stderr.Len() > 0 {
		t.Logf("%s", stderr.Bytes())
	}
	return string(out)
}
