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
				for _, at := range placesOf(s) {
					name := "BenchmarkRow/row=" + word(r.Row) + "/pool=" + word(name)
					if at != "" {
						name += "/at=" + word(at)
					}
					fmt.Fprintf(w, "%s-%d 1", name, m.GOMAXPROCS)
					for _, metric := range slices.Sorted(maps.Keys(s)) {
						if unit, place, _ := strings.Cut(metric, " at "); place == at {
							fmt.Fprintf(w, " %v %s", s[metric], strings.ReplaceAll(unit, " ", "-"))
						}
					}
					fmt.Fprintln(w)
				}
			}
		}
	}
	return w.Flush()
}

// word is s without what separates words there.
func word(s string) string {
	return strings.NewReplacer(" ", "-", "/", "-", ",", "", "\t", "-").Replace(s)
}

// placesOf are the places of a sweep that the metrics of s name; "" is for those
// that name none.
func placesOf(s sample) []string {
	seen := map[string]bool{}
	for metric := range s {
		_, place, _ := strings.Cut(metric, " at ")
		seen[place] = true
	}
	return slices.Sorted(maps.Keys(seen))
}
