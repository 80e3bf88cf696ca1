package wsconn

import "unicode/utf8"

// TextCheck checks that a text that arrives in pieces is UTF-8. Its zero value is
// ready to use.
type TextCheck struct {
	rest [utf8.UTFMax]byte // the first bytes of a rune whose last byte is missing
	n    int               // bytes of rest
}

// Feed checks the next piece; end marks the last one. It reports whether the text
// is valid UTF-8 so far.
func (t *TextCheck) Feed(p []byte, end bool) bool {
	for t.n > 0 && len(p) > 0 {
		t.rest[t.n] = p[0]
		t.n++
		p = p[1:]
		if utf8.FullRune(t.rest[:t.n]) {
			if r, size := utf8.DecodeRune(t.rest[:t.n]); r == utf8.RuneError && size <= 1 {
				return false
			}
			t.n = 0
		}
	}
	if t.n == 0 {
		tail := 0 // length of a rune that is cut off at the end of p
		for i := 1; i < utf8.UTFMax && i <= len(p); i++ {
			if b := p[len(p)-i]; utf8.RuneStart(b) {
				if !utf8.FullRune(p[len(p)-i:]) {
					tail = i
				}
				break
			}
		}
		if !utf8.Valid(p[:len(p)-tail]) {
			return false
		}
		t.n = copy(t.rest[:], p[len(p)-tail:])
	}
	return !end || t.n == 0
}
