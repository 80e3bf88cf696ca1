package repocheck

import (
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"strings"
)

var (
	inlineCode = regexp.MustCompile("`[^`]*`")
	// link matches the targets of [text](target "title"), of [label]: target at the
	// start of a line, and of the HTML attributes src and href.
	link = regexp.MustCompile(`\]\(\s*<?([^)\s>]+)|^\s*\[[^\]]+\]:\s+<?([^\s>]+)|(?:src|href)="([^"]+)"`)
)

// links is the rule that relative links in Markdown point to existing files of the
// repository, and links with a fragment to a heading or an HTML anchor of the document.
func links(tree fs.FS) []string {
	names, err := files(tree, func(name string) bool { return path.Ext(name) == ".md" })
	if err != nil {
		return []string{err.Error()}
	}
	if len(names) == 0 {
		return []string{"no Markdown file"}
	}
	var complaints []string
	for _, name := range names {
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return []string{err.Error()}
		}
		for n, line := range prose(string(text)) {
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				target := m[1] + m[2] + m[3]
				if !resolves(tree, name, target) {
					complaints = append(complaints, fmt.Sprintf("%s:%d: %s does not exist", name, n+1, target))
				}
			}
		}
	}
	return complaints
}

// prose returns the lines of a Markdown text with all code removed.
func prose(markdown string) []string {
	lines := strings.Split(markdown, "\n")
	for _, b := range codeBlocks(markdown) {
		for n := range strings.Count(b.text, "\n") {
			lines[b.line+n] = ""
		}
	}
	for n, line := range lines {
		lines[n] = inlineCode.ReplaceAllString(line, "")
	}
	return lines
}

// resolves reports whether the target of a link in a document exists. Links with a scheme
// or a host are not checked.
func resolves(tree fs.FS, document, target string) bool {
	u, err := url.Parse(target)
	if err != nil {
		return false
	}
	if u.IsAbs() || u.Host != "" {
		return true
	}
	to := document
	switch {
	case path.IsAbs(u.Path): // relative to the root of the repository
		to = path.Join(".", u.Path[1:])
	case u.Path != "":
		to = path.Join(path.Dir(document), u.Path)
	}
	if !fs.ValidPath(to) || !exists(tree, to) {
		return false
	}
	if u.Fragment == "" {
		return true
	}
	text, err := fs.ReadFile(tree, to)
	return err == nil && path.Ext(to) == ".md" && anchors(string(text))[u.Fragment]
}

var (
	heading = regexp.MustCompile(`^#{1,6}\s+(.*?)\s*#*$`)
	// anchor matches an HTML element with an anchor.
	anchor = regexp.MustCompile(`<\w[^>]*\s(?:id|name)="([^"]+)"`)
	// linked matches a link or image in a heading, of which the text alone is shown.
	linked = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
	// unslugged matches what an anchor of a heading does not contain.
	unslugged = regexp.MustCompile(`[^\p{L}\p{M}\p{Nd}\p{Pc}\- ]`)
)

// anchors returns the fragments by which a Markdown text can be linked to, as GitHub makes
// them of headings: letters, digits, hyphens and underscores in lower case, a hyphen for
// each blank, and a number behind a heading that was there before.
func anchors(markdown string) map[string]bool {
	found := make(map[string]bool)
	lines := strings.Split(markdown, "\n")
	for _, b := range codeBlocks(markdown) {
		for n := range strings.Count(b.text, "\n") {
			lines[b.line+n] = ""
		}
	}
	for _, line := range lines {
		for _, m := range anchor.FindAllStringSubmatch(inlineCode.ReplaceAllString(line, ""), -1) {
			found[m[1]] = true
		}
		m := heading.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		text := strings.ToLower(linked.ReplaceAllString(m[1], "$1"))
		slug := strings.ReplaceAll(unslugged.ReplaceAllString(text, ""), " ", "-")
		free := slug
		for n := 1; found[free]; n++ {
			free = fmt.Sprintf("%s-%d", slug, n)
		}
		found[free] = true
	}
	return found
}
