package house

import (
	"bytes"
	"fmt"
	"io/fs"
)

// maxLines is how long a Go file may be that is no test.
const maxLines = 360

// length is the rule that no Go file is longer than maxLines, tests left out.
func length(tree fs.FS) []string {
	names, err := files(tree, isCode)
	if err != nil {
		return []string{err.Error()}
	}
	if len(names) == 0 {
		return []string{"no Go file"}
	}
	var complaints []string
	for _, name := range names {
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return []string{err.Error()}
		}
		if n := bytes.Count(text, []byte("\n")); n > maxLines {
			complaints = append(complaints, fmt.Sprintf("%s: %d lines, more than %d", name, n, maxLines))
		}
	}
	return complaints
}
