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
	base := map[string]string{quickstart: "// Command quickstart is one.\n" + main}
	with := func(text string) map[string]string { return map[string]string{"README.md": text} }
	try(t, readme, base, []example{
		{name: "same", files: with("# x\n```go\n" + main + fence + "```go\nother()\n```\n" + shell)},
		{name: "at the last line allowed", files: with(strings.Repeat("\n", programBy-1) + "```go\n" + main + fence + shell)},
		{name: "too late", files: with(strings.Repeat("\n", programBy) + "```go\n" + main + fence + shell),
			want: []string{"README.md:31: the program begins after line 30"}},
		{name: "a line differs", files: with("# x\n```go\npackage main\n\nfunc main() { \n}\n" + fence + shell),
			want: []string{"README.md:5: differs from examples/quickstart/main.go:4"}},
		{name: "the end is missing", files: with("```go\npackage main\n" + fence + shell),
			want: []string{"README.md:3: differs from examples/quickstart/main.go:3"}},
		{name: "another block is first", files: with("```go\nother()\n```\n```go\n" + main + fence + shell),
			want: []string{"README.md:2: differs from examples/quickstart/main.go:2"}},
		{name: "no program", files: with(shell), want: []string{"README.md: no Go block"}},
		{name: "no commands", files: with("go test work\n```go\n" + main + fence + "```\ngo test workers\ngo run ./examples/quick\n```\n"),
			want: []string{
				`README.md: no code block has the command "go run ./examples/quickstart"`,
				`README.md: no code block has the command "go test work"`,
			}},
		{name: "no quickstart", files: map[string]string{"README.md": shell, quickstart: absent},
			want: []string{"open examples/quickstart/main.go: file does not exist"}},
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
