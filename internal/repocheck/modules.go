package repocheck

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// rootRequires are the modules that the root go.mod may require. Each requirement raises
// the versions of programs that import this module, so the list is short; test
// dependencies other than goleak belong to nested modules.
var rootRequires = []string{
	"github.com/cenkalti/backoff/v5",
	"github.com/gorilla/websocket",
	"github.com/jackc/puddle/v2",
	"go.uber.org/goleak",
	"golang.org/x/net",
	"golang.org/x/sync",
}

// notInWorkspace are the modules that go.work must not use: the tools and the benchmark
// of vitess need a newer Go.
var notInWorkspace = []string{"internal/bench/smart", "internal/tools"}

// requires is the rule that the root go.mod requires only rootRequires, and has no
// replace or exclude: those do not apply in programs that import the module.
func requires(tree fs.FS) []string {
	text, err := fs.ReadFile(tree, "go.mod")
	if err != nil {
		return []string{err.Error()}
	}
	var complaints []string
	for _, d := range directives(string(text)) {
		switch {
		case d.verb == "require" && !slices.Contains(rootRequires, d.arg):
			complaints = append(complaints, fmt.Sprintf("go.mod:%d: must not require %s", d.line, d.arg))
		case d.verb == "replace", d.verb == "exclude", d.verb == "tool":
			complaints = append(complaints, fmt.Sprintf("go.mod:%d: must not %s %s", d.line, d.verb, d.arg))
		}
	}
	return complaints
}

// workspace is the rule that go.work uses every module of the repository except those
// in notInWorkspace, so that "go test work" tests all of them.
func workspace(tree fs.FS) []string {
	text, err := fs.ReadFile(tree, "go.work")
	if err != nil {
		return []string{err.Error()}
	}
	var used, complaints []string
	for _, d := range directives(string(text)) {
		if d.verb == "use" {
			used = append(used, path.Clean(d.arg))
		}
	}
	mods, err := files(tree, func(name string) bool { return path.Base(name) == "go.mod" })
	if err != nil {
		return []string{err.Error()}
	}
	for _, mod := range mods {
		dir := path.Dir(mod)
		if in, out := slices.Contains(used, dir), slices.Contains(notInWorkspace, dir); in && out {
			complaints = append(complaints, "go.work: must not use "+dir)
		} else if !in && !out {
			complaints = append(complaints, "go.work: does not use "+dir)
		}
	}
	return complaints
}

// directive is one directive of a go.mod or go.work file; a block is one per line.
type directive struct {
	verb string // require, use, …
	arg  string // the first argument, unquoted
	line int    // from 1
}

func directives(text string) []directive {
	var all []directive
	block, n := "", 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "//")
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == ")":
			block = ""
		case block != "":
			all = append(all, directive{block, unquote(words[0]), n})
		case len(words) > 1 && words[1] == "(":
			block = words[0]
		case len(words) > 1:
			all = append(all, directive{words[0], unquote(words[1]), n})
		}
	}
	return all
}

func unquote(word string) string { return strings.Trim(word, "\"`") }
