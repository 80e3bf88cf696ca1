package repocheck

import (
	"os"
	"path/filepath"
	"testing"
)

// TestCosts compares the costs in docs/policies.md with the report of the benchmark. After
// a new report, RESPOOL_UPDATE=1 has it write them into the document.
func TestCosts(t *testing.T) {
	const root = "../.."
	if os.Getenv("RESPOOL_UPDATE") != "" {
		added, err := reportedCosts(os.DirFS(root))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(root, filepath.FromSlash(recipes))
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(restated(string(text), added)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	repository(t, costs)
}

func TestCostsExamples(t *testing.T) {
	base := map[string]string{
		recipes: "# x\n\n**Costs** 39 ns (`limit`), and 0 ns (`queue`).\n",
		benchReport: "| one goroutine with policy limit: added to none | added ns | 38.7 (38.0-43.8) |  | <= 25 |\n" +
			"| one goroutine with policy queue: added to none | added ns | -0.043 (-0.498-1.66) |  | <= 25 |\n",
	}
	with := func(text string) map[string]string { return map[string]string{recipes: text} }
	try(t, costs, base, []example{
		{name: "as in the report"},
		{name: "another figure", files: with("**Costs** 40 ns (`limit`).\n"),
			want: []string{recipes + ":1: 40 ns (limit), want 39"}},
		{name: "no such row", files: with("**Costs** 40 ns (`limits`).\n"),
			want: []string{recipes + `:1: ` + benchReport + ` has no row "limits"`}},
		{name: "none", files: with("# x\n"), want: []string{recipes + ": no cost"}},
		{name: "no report", files: map[string]string{benchReport: absent}, want: []string{"open " + benchReport + ": file does not exist"}},
	})
	got := restated("40 ns (`limit`), 1 ns (`none`)\n", map[string]string{"limit": "39"})
	if want := "39 ns (`limit`), 1 ns (`none`)\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
