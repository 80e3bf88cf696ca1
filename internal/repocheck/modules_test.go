package repocheck

import "testing"

func TestRequiresExamples(t *testing.T) {
	with := func(text string) map[string]string {
		return map[string]string{"go.mod": "module m\n\ngo 1.25.0\n\n" + text}
	}
	try(t, requires, nil, []example{
		{name: "lean", files: with("require golang.org/x/sync v0.1.0\n\nrequire (\n\tgithub.com/jackc/puddle/v2 v2.2.3\n\t\"go.uber.org/goleak\" v1.3.0 // indirect\n)\n")},
		{name: "one line", files: with("require pgregory.net/rapid v1.3.0\n"),
			want: []string{"go.mod:5: must not require pgregory.net/rapid"}},
		{name: "in a block", files: with("require (\n\t// for tests\n\tgolang.org/x/sync v0.1.0\n\n\tgithub.com/anishathalye/porcupine v1.3.1 // indirect\n)\n"),
			want: []string{"go.mod:9: must not require github.com/anishathalye/porcupine"}},
		{name: "another major version", files: with("require github.com/jackc/puddle v1.3.0\n"),
			want: []string{"go.mod:5: must not require github.com/jackc/puddle"}},
		{name: "replace", files: with("replace (\n\ta.example/b => ../b\n)\n\nexclude c.example/d v1.0.0\n"),
			want: []string{"go.mod:6: must not replace a.example/b", "go.mod:9: must not exclude c.example/d"}},
		{name: "tool", files: with("tool a.example/b\n"), want: []string{"go.mod:5: must not tool a.example/b"}},
		{name: "no go.mod", want: []string{"open go.mod: file does not exist"}},
	})
}

func TestWorkspaceExamples(t *testing.T) {
	base := map[string]string{
		"go.mod":                "module m\n",
		"examples/go.mod":       "module m/examples\n",
		"internal/tools/go.mod": "module m/internal/tools\n",
		"testdata/x/go.mod":     "module x\n",
	}
	with := func(text string) map[string]string { return map[string]string{"go.work": text} }
	try(t, workspace, base, []example{
		{name: "all", files: with("go 1.25.0\n\nuse (\n\t.\n\t./examples // programs\n)\n")},
		{name: "one line each", files: with("use .\nuse ./examples/\n")},
		{name: "one forgotten", files: with("use .\n"), want: []string{"go.work: does not use examples"}},
		{name: "the root forgotten", files: with("use ./examples\n"), want: []string{"go.work: does not use ."}},
		{name: "the tools", files: with("use (\n.\n./examples\n./internal/tools\n)\n"),
			want: []string{"go.work: must not use internal/tools"}},
		{name: "no go.work", want: []string{"open go.work: file does not exist"}},
	})
}
