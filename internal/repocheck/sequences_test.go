package repocheck

import (
	"strings"
	"testing"
)

func TestSequencesExamples(t *testing.T) {
	const text = "# x\n\n```mermaid\nsequenceDiagram\n    participant A as a\n    A->>B: go\n    alt yes\n        B--xA: stop\n    end\n```\n\n" +
		"| message | function | test |\n|---|---|---|\n" +
		"| 1 | [`x.T.Do`](../x/x.go) | [`TestDo`](../x/x_test.go) |\n| 2 | [`x.F`](../x/x.go) | [`TestDo`](../x/x_test.go) |\n"
	base := map[string]string{
		"x/x.go":      "package x\n\ntype T[K any] struct{}\n\nfunc (t *T[K]) Do() {}\n\nfunc F() {}\n",
		"x/x_test.go": "package x\n\nfunc TestDo() {}\n",
		diagrams[0]:   text,
		diagrams[1]:   strings.NewReplacer("# x", "# ほか", "as a", "as あ", ": go", ": 行く", "alt yes", "alt はい").Replace(text),
	}
	in := func(replaced ...string) map[string]string {
		change := strings.NewReplacer(replaced...)
		return map[string]string{diagrams[0]: change.Replace(base[diagrams[0]]), diagrams[1]: change.Replace(base[diagrams[1]])}
	}
	try(t, sequences, base, []example{
		{name: "in step"},
		{name: "no such method", files: in("x.T.Do", "x.T.Undo"), want: []string{
			diagrams[0] + ":14: x.T.Undo is not declared in x/x.go", diagrams[1] + ":14: x.T.Undo is not declared in x/x.go"}},
		{name: "no such test", files: in("2 | [`x.F`](../x/x.go) | [`TestDo`]", "2 | [`x.F`](../x/x.go) | [`TestF`]"), want: []string{
			diagrams[0] + ":15: TestF is not declared in x/x_test.go", diagrams[1] + ":15: TestF is not declared in x/x_test.go"}},
		{name: "in another file", files: in("[`x.F`](../x/x.go)", "[`x.F`](../x/x_test.go)"), want: []string{
			diagrams[0] + ":15: x.F is not declared in x/x_test.go", diagrams[1] + ":15: x.F is not declared in x/x_test.go"}},
		{name: "a message without a row", files: in("    end", "    A->>B: again\n    end"), want: []string{
			diagrams[0] + `: "x" has 3 messages and 2 rows`, diagrams[1] + `: "ほか" has 3 messages and 2 rows`}},
		{name: "a wrong number", files: in("| 2 |", "| 3 |"), want: []string{
			diagrams[0] + ":15: row 3 is number 2", diagrams[1] + ":15: row 3 is number 2"}},
		{name: "another diagram", files: map[string]string{diagrams[1]: strings.Replace(text, "B--xA", "B-->>A", 1)}, want: []string{
			diagrams[1] + `: has "B-->>A" where ` + diagrams[0] + ` has "B--xA"`}},
		{name: "another function", files: map[string]string{diagrams[1]: strings.Replace(text, "x.F", "F", 1)}, want: []string{
			diagrams[1] + ": has \"[`F`](../x/x.go) | [`TestDo`](../x/x_test.go)\" where " + diagrams[0] + " has \"[`x.F`](../x/x.go) | [`TestDo`](../x/x_test.go)\""}},
		{name: "a translation that ends early", files: map[string]string{diagrams[1]: text[:strings.Index(text, "| 2 |")] + "\n"}, want: []string{
			diagrams[1] + `: "x" has 2 messages and 1 rows`,
			diagrams[1] + ": has \"nothing\" where " + diagrams[0] + " has \"[`x.F`](../x/x.go) | [`TestDo`](../x/x_test.go)\""}},
		{name: "no translation", files: map[string]string{diagrams[1]: absent}, want: []string{"open " + diagrams[1] + ": file does not exist"}},
	})
}
