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

// Set is a set of known secrets, to be removed from foreign texts that may repeat them. It
// is safe for concurrent use after the last Add. The zero Set is empty.
type Set struct {
	words []string // each in all its encodings
}

// shortest is the length below which a word is ignored: it would be removed from almost
// any text.
const shortest = 3

// Add adds words to the set.
func (s *Set) Add(words ...string) {
	for _, w := range words {
		if len(w) < shortest {
			continue
		}
		quoted, _ := json.Marshal(w) // cannot fail for a string
		s.words = append(s.words, w, url.QueryEscape(w), url.PathEscape(w), html.EscapeString(w),
			strings.Trim(string(quoted), `"`), base64.StdEncoding.EncodeToString([]byte(w)))
	}
}

// Redact returns text without the secrets. cut means that text was cut off and may end with
// the beginning of a secret, which is removed too.
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
		text = text[:len(text)-s.partial(text)]
	}
	return text
}

// partial returns how many bytes at the end of text may be the beginning of a secret.
func (s *Set) partial(text string) (most int) {
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
