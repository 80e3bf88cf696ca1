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
// repository.
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
				if !resolves(tree, path.Dir(name), target) {
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

// resolves reports whether the target of a link in a file of dir exists. Links with a
// scheme and links within the page are not checked.
func resolves(tree fs.FS, dir, target string) bool {
	u, err := url.Parse(target)
	if err != nil {
		return false
	}
	if u.IsAbs() || u.Host != "" || u.Path == "" {
		return true
	}
	to := path.Join(dir, u.Path)
	if path.IsAbs(u.Path) { // relative to the root of the repository
		to = path.Join(".", u.Path[1:])
	}
	return fs.ValidPath(to) && exists(tree, to)
}
