package repocheck

import (
	"strings"
	"testing"
)

func TestReadmeExamples(t *testing.T) {
	const (
		main  = "package main\n\nfunc main() {\n}\n"
		shell = "```sh\n$ go run ./examples/quickstart\ncd x && go test work # everything\n```\n"
		fence = "```\n"
	)
	base := map[string]string{
		firstProgram:         "// First is one.\n" + main,
		"examples/b/main.go": "package main\n\nfunc f() {\n\tif g() {\n\t\th()\n\t}\n}\n",
	}
	const quote = "```go\nif g() {\n\th()\n}\n```\n"
	with := func(text string) map[string]string { return map[string]string{"README.md": text} }
	try(t, readme, base, []example{
		{name: "same", files: with("# x\n```go\n" + main + fence + quote + shell)},
		{name: "a quote that no example has", files: with("# x\n```go\n" + main + fence + "```go\nif g() {\n\ti()\n}\n```\n" + shell),
			want: []string{"README.md:8: not a part of any program in examples"}},
		{name: "a quote of half a line", files: with("# x\n```go\n" + main + fence + "```go\ng() {\n```\n" + shell),
			want: []string{"README.md:8: not a part of any program in examples"}},
		{name: "too long", files: with("# x\n```go\n" + main + fence + shell + strings.Repeat("\n", readmeLines)),
			want: []string{"README.md: 161 lines, at most 150"}},
		{name: "as late as may be", files: with(strings.Repeat("\n", programBy-1) + "```go\n" + main + fence + shell)},
		{name: "too late", files: with(strings.Repeat("\n", programBy) + "```go\n" + main + fence + shell),
			want: []string{"README.md:31: the program begins after line 30"}},
		{name: "a line differs", files: with("# x\n```go\npackage main\n\nfunc main() { \n}\n" + fence + shell),
			want: []string{"README.md:5: differs from examples/first/main.go:4"}},
		{name: "the end is missing", files: with("```go\npackage main\n" + fence + shell),
			want: []string{"README.md:3: differs from examples/first/main.go:3"}},
		{name: "another block is first", files: with("```go\nif g() {\n```\n```go\n" + main + fence + shell),
			want: []string{"README.md:2: differs from examples/first/main.go:2"}},
		{name: "no program", files: with(shell), want: []string{"README.md: no Go block"}},
		{name: "no commands", files: with("go test work\n```go\n" + main + fence + "```\ngo test workers\ngo run ./examples/quick\n```\n"),
			want: []string{
				`README.md: no code block has the command "go run ./examples/quickstart"`,
				`README.md: no code block has the command "go test work"`,
			}},
		{name: "no program to show", files: map[string]string{"README.md": shell, firstProgram: absent},
			want: []string{"open examples/first/main.go: file does not exist"}},
		{name: "no README", want: []string{"open README.md: file does not exist"}},
	})
}

func TestCIExamples(t *testing.T) {
	with := func(text string) map[string]string { return map[string]string{".ci/run": text} }
	try(t, ci, nil, []example{
		{name: "runs it", files: with("#!/bin/bash\n\tgo test work\n")},
		{name: "runs something else", files: with("go test work -run X\n# go test work\n"),
			want: []string{`.ci/run: no line is the command "go test work"`}},
		{name: "not there", want: []string{"open .ci/run: file does not exist"}},
	})
}
