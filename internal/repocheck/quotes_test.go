package repocheck

import "testing"

func TestQuotesExamples(t *testing.T) {
	const file = `package a

// Example shows it.
func Example() {
	if f() {
		g()
	}
	h()
	// Output: 1
}

func ExampleT_quiet() { f() }

// T is one.
type T struct {
	A int
}

func (t *T) Do() {
	h()
}

const one, two = 1, 2
`
	base := map[string]string{
		"a/a_test.go":    file,
		"e/main.go":      "package main\n\nfunc main() { run() }\n\nfunc run() {\n\tf()\n}\n",
		"e/main_test.go": "package main\n",
		"bare/main.go":   "package main\n\nfunc main() {\n}\n",
		"a/tag_test.go":  "//go:build never\n\npackage a\n\nfunc f() {\n}\n",
		"README.md":      "# x\n```go\nanything()\n```\n",
		"README.ja.md":   "# x\n```go\nanything()\n```\n",
	}
	doc := func(origin, code string) map[string]string {
		return map[string]string{"docs/b.md": "# b\n" + origin + "\n```go\n" + code + "```\n"}
	}
	try(t, quotes, base, []example{
		{name: "a part of an example", files: doc("<!-- from a/a_test.go Example -->", "if f() {\n    g()\n}\n")},
		{name: "with its comment", files: doc("<!-- from a/a_test.go Example -->", "// Example shows it.\nfunc Example() {\n")},
		{name: "a type", files: doc("<!-- from a/a_test.go T -->", "type T struct {\n\tA int\n}\n")},
		{name: "a method", files: doc("<!-- from a/a_test.go T.Do -->", "h()\n")},
		{name: "a constant", files: doc("<!-- from a/a_test.go two -->", "const one, two = 1, 2\n")},
		{name: "a part of a program", files: doc("<!-- from e/main.go -->", "func main() { run() }\n\nfunc run() {\n")},
		{name: "a function of a program", files: doc("<!-- from e/main.go run -->", "f()\n")},
		{name: "other languages", files: map[string]string{"docs/b.md": "```sh\ngo test\n```\n```\ngo run ./e\n```\n```\n```\n"}},
		{name: "no origin", files: doc("Text", "h()\n"),
			want: []string{"docs/b.md:3: the line before a Go block must be <!-- from FILE.go DECLARATION -->"}},
		{name: "no line before", files: map[string]string{"docs/b.md": "```go\nh()\n```\n"},
			want: []string{"docs/b.md:1: the line before a Go block must be <!-- from FILE.go DECLARATION -->"}},
		{name: "the first line differs", files: doc("<!-- from a/a_test.go Example -->", "i()\nh()\n"),
			want: []string{"docs/b.md:4: differs from a/a_test.go Example"}},
		{name: "a later line differs", files: doc("<!-- from a/a_test.go Example -->", "if f() {\n\tg()\n\th()\n}\n"),
			want: []string{"docs/b.md:6: differs from a/a_test.go Example"}},
		{name: "a line is left out", files: doc("<!-- from a/a_test.go Example -->", "g()\nh()\n"),
			want: []string{"docs/b.md:5: differs from a/a_test.go Example"}},
		{name: "a part of a line", files: doc("<!-- from a/a_test.go Example -->", "if f()\n"),
			want: []string{"docs/b.md:4: differs from a/a_test.go Example"}},
		{name: "of another declaration", files: doc("<!-- from a/a_test.go T -->", "h()\n"),
			want: []string{"docs/b.md:4: differs from a/a_test.go T"}},
		{name: "nothing", files: doc("<!-- from a/a_test.go T -->", "\n"),
			want: []string{"docs/b.md:4: differs from a/a_test.go T"}},
		{name: "no such declaration", files: doc("<!-- from a/a_test.go U -->", "h()\n"),
			want: []string{"docs/b.md:2: U is not declared in a/a_test.go"}},
		{name: "no such file", files: doc("<!-- from a/b.go U -->", "h()\n"),
			want: []string{"docs/b.md:2: open a/b.go: file does not exist"}},
		{name: "an example that is not run", files: doc("<!-- from a/a_test.go ExampleT_quiet -->", "f()\n"),
			want: []string{"docs/b.md:2: ExampleT_quiet has no Output comment, so go test does not run it"}},
		{name: "a program without a test", files: doc("<!-- from bare/main.go -->", "func main() {\n"),
			want: []string{"docs/b.md:2: bare has no test"}},
		{name: "a whole test", files: doc("<!-- from a/a_test.go -->", "h()\n"),
			want: []string{"docs/b.md:2: a/a_test.go is a test: name the declaration"}},
		{name: "a build constraint", files: doc("<!-- from a/tag_test.go f -->", "}\n"),
			want: []string{"docs/b.md:2: a/tag_test.go is not compiled everywhere: //go:build never"}},
		{name: "an origin without a block", files: map[string]string{"docs/b.md": "<!-- from a/a_test.go T -->\n\n```sh\nls\n```\n"},
			want: []string{"docs/b.md:1: no Go block follows this origin"}},
		{name: "an origin with a mistake", files: doc("<!-- from a/a_test.go, T -->", "h()\n"), want: []string{
			"docs/b.md:3: the line before a Go block must be <!-- from FILE.go DECLARATION -->", "docs/b.md:2: no Go block follows this origin"}},
		{name: "Go without its name", files: map[string]string{"docs/b.md": "```\nx := f()\nx.Do()\n```\n", "README.md": "```\nfunc f() {}\n```\n"}, want: []string{
			"README.md:1: a block of Go code does not begin with ```go", "docs/b.md:1: a block of Go code does not begin with ```go"}},
		{name: "nothing to look at", files: map[string]string{"README.md": absent, "README.ja.md": absent}, want: []string{"no Markdown file"}},
	})
}
