package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// testedBy are the packages whose tests a mutant meets, in this order, by directory. Those that
// take little time come first. A package that is not listed is tested by its own tests.
var testedBy = map[string][]string{
	"internal/boundary":      {"internal/boundary", "wspool/internal/wsconn"},
	"internal/budget":        {"internal/budget", "resource"},
	"internal/claim":         {"internal/claim", "internal/proof", "resource"},
	"internal/growth":        {"internal/growth", "internal/proof", "resource"},
	"internal/handoff":       {"internal/handoff", "resource"},
	"internal/keymap":        {"internal/keymap", "resource"},
	"internal/outage":        {"internal/outage", "internal/proof", "resource"},
	"internal/suspicion":     {"internal/suspicion", "resource"},
	"internal/treap":         {"internal/treap", "internal/proof", "resource"},
	"policy":                 {"policy", "internal/proof/compose"},
	"resource":               {"resource", "internal/proof"},
	"wspool":                 {"wspool", "internal/proof/isolation"},
	"wspool/internal/wsconn": {"wspool/internal/wsconn", "wspool", "internal/proof/isolation"},
	"wspool/mux":             {"wspool/mux", "internal/proof/mux"},
}

// A pkg is what go list says about a package.
type pkg struct {
	Dir, ImportPath, Name     string
	GoFiles                   []string
	TestGoFiles, XTestGoFiles []string
	TestImports, XTestImports []string

	name string // Dir relative to the working directory, with slashes
}

// list lists packages by pattern.
func list(ctx context.Context, patterns ...string) ([]*pkg, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list", "-json"}, patterns...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	var all []*pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		p := new(pkg)
		if err := dec.Decode(p); err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		rel, err := filepath.Rel(here, p.Dir)
		if err != nil {
			return nil, err
		}
		p.name = filepath.ToSlash(rel)
		all = append(all, p)
	}
	return all, nil
}

// mutants returns the mutants of all files of the package that the platform builds.
func (p *pkg) mutants() ([]*mutant, error) {
	var all []*mutant
	for _, name := range p.GoFiles {
		s := &source{pkg: p.name, path: filepath.Join(p.Dir, name)}
		var err error
		if s.data, err = os.ReadFile(s.path); err != nil {
			return nil, err
		}
		found, err := s.mutants()
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// A target is a package under test and the packages whose tests decide about its mutants.
type target struct {
	*pkg
	suites  []*suite
	mutants []*mutant

	schema   *schema     // nil: the mutants are compiled one by one
	together []assembled // by suite
}

// targets lists the packages under test, each with its suites; a suite that several have is
// the same one. tests, if not empty, takes the place of the table.
func targets(ctx context.Context, patterns, tests []string) ([]*target, error) {
	under, err := list(ctx, patterns...)
	if err != nil {
		return nil, err
	}
	suites := make(map[string]*suite)
	var all []*target
	for _, p := range under {
		t := &target{pkg: p}
		if t.mutants, err = p.mutants(); err != nil {
			return nil, err
		}
		with := tests
		if len(with) == 0 {
			with = testedBy[p.name]
		}
		if len(with) == 0 {
			with = []string{p.name}
		}
		for _, name := range with {
			s := suites[name]
			if s == nil {
				if s, err = newSuite(ctx, name); err != nil {
					return nil, err
				}
				suites[name] = s
			}
			if s.tests {
				t.suites = append(t.suites, s)
			}
		}
		if len(t.suites) == 0 {
			return nil, fmt.Errorf("%s: no tests; name packages with -tests", p.name)
		}
		all = append(all, t)
	}
	return all, nil
}

// newSuite looks a package with tests up.
func newSuite(ctx context.Context, name string) (*suite, error) {
	found, err := list(ctx, "./"+name)
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%s: %d packages, want 1", name, len(found))
	}
	p := found[0]
	s := &suite{pkg: p, tests: len(p.TestGoFiles)+len(p.XTestGoFiles) > 0}
	if slices.Contains(slices.Concat(p.TestImports, p.XTestImports), "pgregory.net/rapid") {
		s.args = append(s.args, "-rapid.nofailfile") // its files of failures would stay in the tree
	}
	return s, nil
}
