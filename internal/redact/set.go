package redact

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strings"
)

// Set is a number of secrets that are known, to be left out of texts of others
// that may repeat them. It is for one goroutine until Redact is first called, and
// for any number after that. The zero Set is empty.
type Set struct {
	words []string // each in the ways in which it may be written
}

// shortest is the length below which a word is no secret: whatever was left out
// instead would be found in any text.
const shortest = 3

// Add makes each of words a secret.
func (s *Set) Add(words ...string) {
	for _, w := range words {
		if len(w) < shortest {
			continue
		}
		quoted, _ := json.Marshal(w) // a string: it cannot fail
		s.words = append(s.words, w, url.QueryEscape(w), url.PathEscape(w), html.EscapeString(w),
			strings.Trim(string(quoted), `"`), base64.StdEncoding.EncodeToString([]byte(w)))
	}
}

// Redact returns text without the secrets. If cut is true text is the beginning
// of a longer one, and may end with the beginning of a secret: that is left out
// too.
func (s *Set) Redact(text string, cut bool) string {
	if len(s.words) == 0 || text == "" {
		return text
	}
	words := slices.Clone(s.words)
	slices.SortFunc(words, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	pairs := make([]string, 0, 2*len(words))
	for _, w := range slices.Compact(words) {
		pairs = append(pairs, w, Dots)
	}
	text = strings.NewReplacer(pairs...).Replace(text)
	if cut {
		text = text[:len(text)-s.begun(text)]
	}
	return text
}

// begun is how many bytes at the end of text may begin a secret.
func (s *Set) begun(text string) (most int) {
	for _, w := range s.words {
		for n := min(len(w)-1, len(text)); n > most; n-- {
			if strings.HasSuffix(text, w[:n]) {
				most = n
				break
			}
		}
	}
	return most
}
