package repocheck

import (
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// translations are documents and their translations.
var translations = [][2]string{{"README.md", "README.ja.md"}}

// figure matches a number of two or more digits, also with a decimal point or separated
// thousands. Smaller ones are words in one language and digits in another.
var figure = regexp.MustCompile(`\d[\d.,]*\d`)

// translated is the rule that a translation has the sections of the document, in the same
// order, and in each of them the same blocks of code, the same code, links and figures in
// its text, in any order, and as many bullets and rows.
func translated(tree fs.FS) []string {
	var complaints []string
	for _, pair := range translations {
		var sections [2][]section
		for i, name := range pair {
			text, err := fs.ReadFile(tree, name)
			if err != nil {
				return append(complaints, err.Error())
			}
			sections[i] = sectionsOf(string(text), pair[:])
		}
		if a, b := len(sections[0]), len(sections[1]); a != b {
			complaints = append(complaints, fmt.Sprintf("%s: %d sections, %s has %d", pair[1], b, pair[0], a))
			continue
		}
		for i, want := range sections[0] {
			got := sections[1][i]
			for _, part := range []struct {
				what string
				a, b []string
			}{
				{"headings", want.levels, got.levels}, {"blocks of code", want.blocks, got.blocks}, {"code", want.code, got.code},
				{"links", want.links, got.links}, {"figures", want.figures, got.figures}, {"bullets and rows", want.items, got.items},
			} {
				if missing, extra := difference(part.a, part.b), difference(part.b, part.a); missing != nil || extra != nil {
					complaints = append(complaints, fmt.Sprintf("%s:%d: %s differ from %s: lacks %q, has %q",
						pair[1], got.line, part.what, pair[0], missing, extra))
				}
			}
		}
	}
	return complaints
}

// section is what a translation leaves as it is in one section.
type section struct {
	line                                        int
	levels, blocks, code, links, figures, items []string
}

// sectionsOf returns the sections of a Markdown text. Links to the documents themselves,
// by which a reader changes the language, do not count.
func sectionsOf(text string, documents []string) []section {
	all := []section{{line: 1}}
	code := codeBlocks(text)
	lines := strings.Split(text, "\n")
	inside := make(map[int]bool)
	for _, b := range code {
		for n := range strings.Count(b.text, "\n") + 2 {
			inside[b.line-1+n] = true
		}
	}
	for n, line := range lines {
		s := &all[len(all)-1]
		for _, b := range code {
			if b.line == n+1 {
				s.blocks = append(s.blocks, b.lang+"\n"+b.text)
			}
		}
		if inside[n] {
			continue
		}
		if level := len(line) - len(strings.TrimLeft(line, "#")); level > 0 {
			all = append(all, section{line: n + 1, levels: []string{line[:level]}})
			continue
		}
		s.code = append(s.code, inlineCode.FindAllString(line, -1)...)
		bare := inlineCode.ReplaceAllString(line, "")
		for _, m := range link.FindAllStringSubmatch(bare, -1) {
			if target := m[1] + m[2] + m[3]; !slices.Contains(documents, target) {
				s.links = append(s.links, target)
			}
		}
		s.figures = append(s.figures, figure.FindAllString(link.ReplaceAllString(bare, ""), -1)...)
		for _, mark := range []string{"* ", "|"} {
			if strings.HasPrefix(line, mark) {
				s.items = append(s.items, mark)
			}
		}
	}
	return all
}

// difference returns what a has more often than b.
func difference(a, b []string) (more []string) {
	rest := slices.Clone(b)
	for _, s := range a {
		if i := slices.Index(rest, s); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
		} else {
			more = append(more, s)
		}
	}
	return more
}
