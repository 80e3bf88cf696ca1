package repocheck

import (
	"bytes"
	"fmt"
	"io/fs"
	"math"
	"regexp"
	"strconv"
)

const (
	recipes     = "docs/policies.md"
	benchReport = "internal/bench/REPORT.md"
)

var (
	// cost matches a cost that recipes takes from a row of the report: 39 ns (`limit`).
	cost = regexp.MustCompile("\\b(\\d+)\\s+ns\\s+\\(`([a-z0-9-]+)`\\)")
	// addedRow matches a row of the report with what a policy adds to a hit.
	addedRow = regexp.MustCompile(`(?m)^\| one goroutine with policy ([a-z0-9-]+): added to none \| added ns \| (-?[0-9.]+) `)
)

// costs is the rule that recipes states costs as they are in the report of the benchmark.
func costs(tree fs.FS) []string {
	text, err := fs.ReadFile(tree, recipes)
	if err != nil {
		return []string{err.Error()}
	}
	added, err := reportedCosts(tree)
	if err != nil {
		return []string{err.Error()}
	}
	stated := cost.FindAllSubmatchIndex(text, -1)
	if len(stated) == 0 {
		return []string{recipes + ": no cost"}
	}
	var complaints []string
	for _, m := range stated {
		line := 1 + bytes.Count(text[:m[0]], []byte("\n"))
		ns, name := string(text[m[2]:m[3]]), string(text[m[4]:m[5]])
		if want, ok := added[name]; !ok {
			complaints = append(complaints, fmt.Sprintf("%s:%d: %s has no row %q", recipes, line, benchReport, name))
		} else if ns != want {
			complaints = append(complaints, fmt.Sprintf("%s:%d: %s ns (%s), want %s", recipes, line, ns, name, want))
		}
	}
	return complaints
}

// reportedCosts returns what the policies of the report add to a hit, in whole
// nanoseconds, by their names.
func reportedCosts(tree fs.FS) (map[string]string, error) {
	text, err := fs.ReadFile(tree, benchReport)
	if err != nil {
		return nil, err
	}
	added := make(map[string]string)
	for _, m := range addedRow.FindAllSubmatch(text, -1) {
		ns, err := strconv.ParseFloat(string(m[2]), 64)
		if err != nil {
			return nil, fmt.Errorf("%s: row %s: %w", benchReport, m[1], err)
		}
		added[string(m[1])] = strconv.Itoa(int(max(0, math.Round(ns))))
	}
	return added, nil
}

// restated returns the text of recipes with the costs of the report.
func restated(text string, added map[string]string) string {
	return cost.ReplaceAllStringFunc(text, func(old string) string {
		name := cost.FindStringSubmatch(old)[2]
		ns, ok := added[name]
		if !ok {
			return old
		}
		return fmt.Sprintf("%s ns (`%s`)", ns, name)
	})
}
