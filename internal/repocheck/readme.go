package repocheck

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"slices"
	"strings"
)

const (
	runCommand  = "go run ./examples/quickstart"
	testCommand = "go test work"

	firstProgram = "examples/first/main.go"
	programBy    = 30  // the line of the README by which the program begins
	readmeLines  = 150 // the README's greatest length
)

// readme is the rule that the README is short, shows near its top the program
// that the tests compile, quotes the examples in its other blocks of Go, and has
// the two commands that a newcomer types.
func readme(tree fs.FS) []string {
	text, err := fs.ReadFile(tree, "README.md")
	if err != nil {
		return []string{err.Error()}
	}
	blocks := codeBlocks(string(text))
	complaints := readmeProgram(tree, blocks)
	if n := strings.Count(string(text), "\n"); n > readmeLines {
		complaints = append(complaints, fmt.Sprintf("README.md: %d lines, at most %d", n, readmeLines))
	}
	for _, command := range []string{runCommand, testCommand} {
		shown := slices.ContainsFunc(blocks, func(b codeBlock) bool {
			return b.lang != "go" && hasCommand(b.text, command)
		})
		if !shown {
			complaints = append(complaints, fmt.Sprintf("README.md: no code block has the command %q", command))
		}
	}
	return append(complaints, readmeQuotes(tree, blocks)...)
}

// readmeProgram compares the README's first Go block with firstProgram, from its
// package clause on.
func readmeProgram(tree fs.FS, blocks []codeBlock) []string {
	code, err := fs.ReadFile(tree, firstProgram)
	if err != nil {
		return []string{err.Error()}
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, firstProgram, code, parser.PackageClauseOnly)
	if err != nil {
		return []string{err.Error()}
	}
	first := fset.Position(f.Package)
	want := string(code[first.Offset:])

	i := slices.IndexFunc(blocks, func(b codeBlock) bool { return b.lang == "go" })
	if i < 0 {
		return []string{"README.md: no Go block"}
	}
	b := blocks[i]
	var complaints []string
	if b.line > programBy {
		complaints = append(complaints, fmt.Sprintf("README.md:%d: the program begins after line %d", b.line, programBy))
	}
	if b.text != want {
		n := differ(b.text, want)
		complaints = append(complaints, fmt.Sprintf("README.md:%d: differs from %s:%d",
			b.line+1+n, firstProgram, first.Line+n))
	}
	return complaints
}

// readmeQuotes complains of each Go block after the first that is not a run of
// lines of one of the examples, indentation aside: a block that no compiler sees
// goes stale.
func readmeQuotes(tree fs.FS, blocks []codeBlock) (complaints []string) {
	names, err := files(tree, func(name string) bool { return within(name, "examples") && strings.HasSuffix(name, ".go") })
	if err != nil {
		return []string{err.Error()}
	}
	var code []string
	for _, name := range names {
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return []string{err.Error()}
		}
		code = append(code, dedent(string(text)))
	}
	first := true
	for _, b := range blocks {
		switch {
		case b.lang != "go":
		case first:
			first = false
		case !slices.ContainsFunc(code, func(c string) bool { return strings.Contains(c, dedent(b.text)) }):
			complaints = append(complaints, fmt.Sprintf("README.md:%d: not a part of any program in examples", b.line))
		}
	}
	return complaints
}

// dedent takes the blanks from the beginning and the end of each line.
func dedent(text string) string {
	var b strings.Builder
	b.WriteByte('\n') // so that only whole lines match
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	return b.String()
}

// differ returns the index of the first line in which a and b differ.
func differ(a, b string) int {
	as, bs := strings.SplitAfter(a, "\n"), strings.SplitAfter(b, "\n")
	n := 0
	for n < len(as) && n < len(bs) && as[n] == bs[n] {
		n++
	}
	return n
}

// ci is the rule that .ci/run runs the test command of the README unchanged.
func ci(tree fs.FS) []string {
	text, err := fs.ReadFile(tree, ".ci/run")
	if err != nil {
		return []string{err.Error()}
	}
	if !hasCommand(string(text), testCommand) {
		return []string{fmt.Sprintf(".ci/run: no line is the command %q", testCommand)}
	}
	return nil
}

// hasCommand reports whether a line of the text is the command, alone or as part of a
// && list. A prompt before it and a comment after it are ignored.
func hasCommand(text, command string) bool {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for part := range strings.SplitSeq(line, "&&") {
			part = strings.TrimPrefix(strings.TrimSpace(part), "$ ")
			if part == command {
				return true
			}
		}
	}
	return false
}

// codeBlock is a fenced block of a Markdown file.
type codeBlock struct {
	lang string
	line int    // of the opening fence, from 1
	text string // every line ends in a newline
}

// codeBlocks returns the blocks between fences of three backquotes.
func codeBlocks(markdown string) []codeBlock {
	var blocks []codeBlock
	open, n := false, 0
	for line := range strings.Lines(markdown) {
		n++
		lang, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence && !open:
			blocks = append(blocks, codeBlock{lang: lang, line: n})
			open = true
		case fence && lang == "":
			open = false
		case open:
			blocks[len(blocks)-1].text += line
		}
	}
	return blocks
}
