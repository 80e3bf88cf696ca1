package repocheck

import (
	"go/parser"
	"io/fs"
	"slices"
	"strconv"
)

// randomness lists the directories whose code may import math/rand, the packages below them
// included: package random itself, what needs numbers that no seed determines or whose numbers
// change no result, and what only tests and examples use.
var randomness = []string{
	"internal/random",
	"internal/treap",           // priorities, which change no result
	"metrics",                  // a generator with a seed of its own for each advice
	"policy/fleet/etcdledger",  // epochs, which must differ between processes
	"policy/fleet/redisledger", // nonces, likewise
	"wspool/internal/wsconn",   // masking keys

	"examples", "internal/bench", "internal/echo", "internal/explore", "internal/proof", "internal/servers", "policy/fleet/ledgertest", "policy/policytest",
}

// seedable is the rule that random numbers that spread work come from package random, so that a
// simulation can repeat them.
func seedable(tree fs.FS) []string {
	all, err := packages(tree, parser.ImportsOnly)
	if err != nil {
		return []string{err.Error()}
	}
	c := importCheck{tree: tree}
	for _, s := range all {
		if slices.ContainsFunc(randomness, func(dir string) bool { return within(s.dir, dir) }) {
			continue
		}
		for _, f := range s.files {
			for _, spec := range f.Imports {
				if to, err := strconv.Unquote(spec.Path.Value); err != nil || within(to, "math/rand") {
					c.complain("%s: import %s/internal/random in place of %s", s.at(spec.Pos()), module, spec.Path.Value)
				}
			}
		}
	}
	return c.complaints
}
