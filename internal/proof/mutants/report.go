package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// diff returns the mutant as a unified diff.
func (m *mutant) diff() string {
	const context = 3
	before, after := m.lines()
	all := strings.Split(strings.TrimSuffix(string(m.src.data), "\n"), "\n")
	first := m.line() - 1
	from, to := max(0, first-context), min(len(all), first+len(before)+context)
	var b strings.Builder
	fmt.Fprintf(&b, "--- a/%[1]s\n+++ b/%[1]s\n", m.src.name())
	fmt.Fprintf(&b, "@@ -%d,%d +%d,%d @@ %s: %s\n", from+1, to-from, from+1, to-from-len(before)+len(after), m.fn, m.kind)
	write := func(mark string, lines []string) {
		for _, l := range lines {
			b.WriteString(mark + l + "\n")
		}
	}
	write(" ", all[from:first])
	write("-", before)
	write("+", after)
	write(" ", all[first+len(before):to])
	return b.String()
}

// tally counts verdicts.
type tally map[verdict]int

func (t tally) total() (n int) {
	for _, each := range t {
		n += each
	}
	return n
}

// score returns which part of the mutants that change something was noticed, and false if
// there is none.
func (t tally) score() (part float64, ok bool) {
	noticed := t[killed] + t[timedOut]
	if noticed+t[survived] == 0 {
		return 0, false
	}
	return float64(noticed) / float64(noticed+t[survived]), true
}

func (t tally) row() string {
	score := "–"
	if part, ok := t.score(); ok {
		score = strconv.FormatFloat(100*part, 'f', 1, 64) + " %"
	}
	cells := []string{strconv.Itoa(t.total())}
	for _, v := range columns {
		cells = append(cells, strconv.Itoa(t[v]))
	}
	return strings.Join(append(cells, score), "\t") + "\t"
}

var columns = []verdict{killed, timedOut, survived, equivalent, identical, uncompiled, untried}

// summarize writes the table of scores: a line for each file, and one for all.
func summarize(w io.Writer, results []result) error {
	all, files, names := make(tally), make(map[string]tally), []string(nil)
	for _, r := range results {
		name := r.mutant.src.name()
		if files[name] == nil {
			files[name] = make(tally)
			names = append(names, name)
		}
		files[name][r.verdict]++
		all[r.verdict]++
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "mutants\t")
	for _, v := range columns {
		fmt.Fprintf(t, "%s\t", v)
	}
	fmt.Fprint(t, "score\t file\n")
	for _, name := range names {
		fmt.Fprintf(t, "%s %s\n", files[name].row(), name)
	}
	fmt.Fprintf(t, "%s all\n", all.row())
	return t.Flush()
}

// record is a result in the JSON file.
type record struct {
	File     string  `json:"file"`
	Line     int     `json:"line"`
	Func     string  `json:"func"`
	Change   string  `json:"change"`
	Key      string  `json:"key"`
	Verdict  verdict `json:"verdict"`
	By       string  `json:"by,omitempty"`
	Seconds  float64 `json:"seconds"`
	Diff     string  `json:"diff"`
	Accepted string  `json:"accepted,omitempty"` // the reason in equivalent.txt
}

// writeJSON writes one record for each result, as a list.
func writeJSON(w io.Writer, results []result, accepted equivalents) error {
	records := make([]record, 0, len(results))
	for _, r := range results {
		m := r.mutant
		records = append(records, record{
			File: m.src.name(), Line: m.line(), Func: m.fn, Change: m.kind, Key: m.key(), Verdict: r.verdict, By: r.by,
			Seconds: r.took.Seconds(), Diff: m.diff(), Accepted: accepted[m.key()],
		})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "\t")
	enc.SetEscapeHTML(false)
	return enc.Encode(records)
}

// keysOf returns the keys of the mutants that have one of these verdicts, from a file that writeJSON
// wrote.
func keysOf(name string, verdicts ...verdict) (map[string]bool, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var records []record
	if err := json.Unmarshal(data, &records); err != nil {
		return nil, err
	}
	keys := make(map[string]bool)
	for _, r := range records {
		if slices.Contains(verdicts, r.Verdict) {
			keys[r.Key] = true
		}
	}
	return keys, nil
}
