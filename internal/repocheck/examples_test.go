package repocheck

import "testing"

func TestExamplesShownExamples(t *testing.T) {
	const shown = "package x_test\n\nimport \"fmt\"\n\nfunc Example() {\n\tfmt.Println(1)\n\t// Output: 1\n}\n"
	base := map[string]string{
		"x/x.go":                 "package x\n",
		"x/x_test.go":            shown,
		"x/internal/y/y.go":      "package y\n",
		"internal/z/z.go":        "package z\n",
		"examples/first/main.go": "package main\n",
		"cmd/main.go":            "package main\n",
	}
	try(t, examplesShown, base, []example{
		{name: "each has one"},
		{name: "in another file", files: map[string]string{"x/x_test.go": "package x\n", "x/example_test.go": shown}},
		{name: "an example without output", files: map[string]string{"x/x_test.go": "package x_test\n\nfunc Example() {}\n"},
			want: []string{"x: no example of the package has an Output comment"}},
		{name: "an example of another package", files: map[string]string{"w/w.go": "package w\n"},
			want: []string{"w: no example of the package has an Output comment"}},
		{name: "Output in a test", files: map[string]string{"x/x_test.go": "package x\n\nfunc TestX() {\n\t// Output: 1\n}\n"},
			want: []string{"x: no example of the package has an Output comment"}},
		{name: "in a folder of its name", files: map[string]string{"internals/i.go": "package i\n"},
			want: []string{"internals: no example of the package has an Output comment"}},
	})
}
