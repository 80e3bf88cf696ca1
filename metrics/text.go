package metrics

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxText  = 200 // bytes of an Event's text, or of an error's
	maxLabel = 64  // of what is counted under
)

// clean makes s fit to be shown: at most limit bytes of printable UTF-8. It may
// come from a server, and be long.
func clean(s string, limit int) string {
	const dots = "…"
	if len(s) > limit {
		s = s[:limit-len(dots)]
		for !utf8.ValidString(s) && len(s) > 0 { // the cut may have gone through a rune
			if r, n := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || n != 1 {
				break
			}
			s = s[:len(s)-1]
		}
		s += dots
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// words is the text of err, fit to be shown; "" of nil. Its methods are not
// ours: they may panic.
func words(err error) (s string) {
	if err == nil {
		return ""
	}
	defer func() {
		if recover() != nil {
			s = "an error whose text panics"
		}
	}()
	return clean(err.Error(), maxText)
}
