package repocheck

import (
	"strings"
	"testing"
)

func TestGuaranteesExamples(t *testing.T) {
	const section = "## IN in words\n\n**You may rely on** it.\n\n**Conditions.** None.\n\n**Not promised.** All else.\n\n**Tests.** [`TestIN_It`](../x/x_test.go).\n"
	of := func(n string) string { return strings.ReplaceAll(section, "IN", n) }
	base := map[string]string{
		architecture:  "| | says |\n|---|---|\n| I1 | one |\n| I2 | two |\n",
		promises:      "# Guarantees\n\nFoo.\n\n" + of("I1") + "\n" + of("I2"),
		"x/x_test.go": "package x\n\nfunc TestI1_It() {}\n\nfunc TestI2_It() {}\n\nfunc TestOther() {}\n",
	}
	with := func(text string) map[string]string { return map[string]string{promises: text} }
	try(t, guarantees, base, []example{
		{name: "one section for each"},
		{name: "another section", files: with(base[promises] + "\n## Else\n\nBar.\n")},
		{name: "a section too few", files: with(of("I1")),
			want: []string{promises + ": has sections of [I1], want those of the invariants, [I1 I2]"}},
		{name: "no such test", files: with(of("I1") + strings.Replace(of("I2"), "I2_It", "I2_That", 1)),
			want: []string{promises + ":18: TestI2_That is not declared in x/x_test.go"}},
		{name: "a test of another number", files: with(of("I1") + strings.Replace(of("I2"), "TestI2_It", "TestOther", 1)),
			want: []string{promises + ": I2: no test with the number of the invariant is linked"}},
		{name: "a part is missing", files: with(of("I1") + strings.Replace(of("I2"), "**Not promised.** All else.", "", 1)),
			want: []string{promises + ": I2: no part begins with **Not promised"}},
		{name: "no document", files: map[string]string{promises: absent}, want: []string{"open " + promises + ": file does not exist"}},
	})
}
