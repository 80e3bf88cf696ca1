package repocheck

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// The rules over the repository itself.

func TestImports(t *testing.T)    { repository(t, imports) }
func TestReadme(t *testing.T)     { repository(t, readme) }
func TestCI(t *testing.T)         { repository(t, ci) }
func TestRequires(t *testing.T)   { repository(t, requires) }
func TestWorkspace(t *testing.T)  { repository(t, workspace) }
func TestLinks(t *testing.T)      { repository(t, links) }
func TestNames(t *testing.T)      { repository(t, names) }
func TestInvariants(t *testing.T) { repository(t, invariants) }
func TestOwners(t *testing.T)     { repository(t, owners) }
func TestSequences(t *testing.T)  { repository(t, sequences) }
func TestTranslated(t *testing.T) { repository(t, translated) }
func TestGuarantees(t *testing.T) { repository(t, guarantees) }
func TestExamples(t *testing.T)   { repository(t, examplesShown) }
func TestQuotes(t *testing.T)     { repository(t, quotes) }
func TestSeedable(t *testing.T)   { repository(t, seedable) }

func repository(t *testing.T, check rule) {
	t.Helper()
	for _, complaint := range check(os.DirFS("../..")) {
		t.Error(complaint)
	}
}

// example is a tree and the complaints of a rule about it.
type example struct {
	name  string
	files map[string]string
	want  []string // nil: none
}

// try applies a rule to trees, some of which must violate it and some not. The files of
// each are added to those of base.
func try(t *testing.T, check rule, base map[string]string, examples []example) {
	t.Helper()
	kept, broken := 0, 0
	for _, e := range examples {
		tree := fstest.MapFS{}
		for _, files := range []map[string]string{base, e.files} {
			for name, text := range files {
				tree[name] = &fstest.MapFile{Data: []byte(text)}
			}
		}
		for name := range e.files {
			if e.files[name] == absent {
				delete(tree, name)
			}
		}
		t.Run(e.name, func(t *testing.T) {
			got := check(tree)
			if !slices.Equal(got, e.want) {
				t.Errorf("got:\n\t%s\nwant:\n\t%s", strings.Join(got, "\n\t"), strings.Join(e.want, "\n\t"))
			}
		})
		if e.want == nil {
			kept++
		} else {
			broken++
		}
	}
	if kept == 0 || broken == 0 {
		t.Errorf("%d examples follow the rule and %d violate it; want some of each", kept, broken)
	}
}

// absent as the text of a file removes it from base.
const absent = "\x00"
