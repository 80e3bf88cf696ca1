package main

import (
	"maps"
	"strings"
	"testing"
)

// Each entry of equivalent.txt is the key of a mutant that exists: an entry for code that
// has changed must be thought about again.
func TestAcceptedExist(t *testing.T) {
	entries, err := parseEquivalents(accepted)
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]map[string]bool)
	for key := range entries {
		dir, _, _ := strings.Cut(key, " ")
		if known[dir] == nil {
			known[dir] = make(map[string]bool)
			for _, m := range ours(t, dir) {
				known[dir][m.key()] = true
			}
		}
		if !known[dir][key] {
			t.Errorf("equivalent.txt: no mutant has this key:\n%s", key)
		}
	}
}

func TestParseEquivalents(t *testing.T) {
	got, err := parseEquivalents("# about\n\np f\n- a\n+ b\n  because\n  of c\n\n\np g #2\n- a\n  why\n")
	want := equivalents{"p f\n- a\n+ b": "because of c", "p g #2\n- a": "why"}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	for name, text := range map[string]string{
		"no reason":        "p f\n- a\n+ b\n",
		"no change":        "p f\n  because\n",
		"no key":           "  because\n",
		"no empty line":    "p f\n- a\n  because\np g\n- a\n  why\n",
		"the same again":   "p f\n- a\n  because\n\np f\n- a\n  why\n",
		"no reason at end": "p f\n- a\n  because\n\np g\n- a",
	} {
		if got, err := parseEquivalents(text); err == nil {
			t.Errorf("%s: no error, and %q", name, got)
		}
	}
}
