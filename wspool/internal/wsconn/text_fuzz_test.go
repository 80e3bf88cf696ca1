package wsconn

import (
	"bytes"
	"testing"
	"unicode/utf8"
)

// However a text is cut, it is judged as the whole is.
func FuzzTextPieces(f *testing.F) {
	for _, s := range []string{"", "plain", "日本語 🙂", "caf\xe9", "\xe2\x82", "\xed\xa0\x80", "\xf0\x9f\x99"} {
		f.Add([]byte(s), uint8(1))
		f.Add([]byte(s), uint8(3))
	}
	check := func(pieces [][]byte) bool {
		var c TextCheck
		for _, p := range pieces {
			if !c.Feed(p, false) {
				return false
			}
		}
		return c.Feed(nil, true)
	}
	f.Fuzz(func(t *testing.T, text []byte, cut uint8) {
		n := int(cut)%5 + 1
		var pieces [][]byte
		for b := text; len(b) > 0; b = b[min(n, len(b)):] {
			pieces = append(pieces, b[:min(n, len(b))])
		}
		if got := check(pieces); got != utf8.Valid(text) {
			t.Errorf("%q in pieces of %d: %v", text, n, got)
		}
		if !bytes.Equal(bytes.Join(pieces, nil), text) {
			t.Fatal("cut wrongly")
		}
	})
}
