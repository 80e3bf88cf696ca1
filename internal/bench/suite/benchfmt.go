package suite

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// writeBenchfmt writes every sample in the format of Go benchmarks, so that
// benchstat can put runs, or pools, beside each other:
//
//	benchstat -col /pool before.txt
//	benchstat before.txt after.txt
func writeBenchfmt(out io.Writer, m machine, results []result) error {
	w := bufio.NewWriter(out)
	goos, goarch, _ := strings.Cut(m.System, "/")
	fmt.Fprintf(w, "goos: %s\ngoarch: %s\npkg: github.com/respool/respool/internal/bench\ncpu: %s\n", goos, goarch, m.CPU)
	for _, r := range results {
		for _, name := range slices.Sorted(maps.Keys(r.Samples)) {
			for _, s := range r.Samples[name] {
				if len(s) == 0 {
					continue
				}
				fmt.Fprintf(w, "BenchmarkRow/row=%s/pool=%s-%d 1", word(r.Row), word(name), m.GOMAXPROCS)
				for _, metric := range slices.Sorted(maps.Keys(s)) {
					fmt.Fprintf(w, " %v %s", s[metric], unit(metric))
				}
				fmt.Fprintln(w)
			}
		}
	}
	return w.Flush()
}

// word is s without what separates words there.
func word(s string) string {
	return strings.NewReplacer(" ", "-", "/", "-", ",", "", "\t", "-").Replace(s)
}

// unit is a metric as a unit: one word. benchstat takes ns/op for a time and
// writes it as it likes, so that units that are not of an operation have their
// number behind them.
func unit(metric string) string { return strings.ReplaceAll(metric, " ", "-") }
