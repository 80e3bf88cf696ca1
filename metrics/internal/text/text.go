// Package text makes what came from elsewhere, a server's error among it, fit to
// be shown.
package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	MaxError = 200 // bytes of an error's text, or of an Event's
	MaxLabel = 64  // of what is counted under
)

const dots = "…"

// Clean makes s fit to be shown: at most limit bytes of printable UTF-8. It may
// come from a server, and be long.
func Clean(s string, limit int) string {
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

// Of is the text of err, clean, without the secrets that a URL in it has, and at
// most MaxError bytes; "" of nil. The methods of err are not ours: they may
// panic.
func Of(err error) (s string) {
	if err == nil {
		return ""
	}
	defer func() {
		if recover() != nil {
			s = "an error whose text panics"
		}
	}()
	return Discreet(err.Error())
}

// Discreet is s, clean, without the secrets that a URL in it has, and at most
// MaxError bytes.
func Discreet(s string) string {
	return Clean(hide(s), MaxError)
}

// hide leaves out, of each URL in s, the user and password, the query and the
// fragment. An error of net/http or net/url has the whole URL of the request,
// and tokens are in the query of many.
func hide(s string) string {
	const mark = "://"
	if !strings.Contains(s, mark) {
		return s
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, mark)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString(mark)
		n := strings.IndexFunc(rest, endsURL)
		if n < 0 {
			n = len(rest)
		}
		b.WriteString(hideIn(rest[:n]))
		s = rest[n:]
	}
}

func endsURL(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("\"'`<>", r)
}

// hideIn is hide of one URL, without its scheme.
func hideIn(url string) string {
	if i := strings.IndexAny(url, "?#"); i >= 0 {
		url = url[:i+1] + dots
	}
	authority, path, _ := strings.Cut(url, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		return dots + url[i:]
	}
	// A password with a slash in it: what is before that is no host with its port.
	if _, port, ok := strings.Cut(authority, ":"); ok && strings.Trim(port, "0123456789") != "" && !strings.HasPrefix(authority, "[") {
		if i := strings.LastIndexByte(path, '@'); i >= 0 {
			return dots + path[i:]
		}
	}
	return url
}
