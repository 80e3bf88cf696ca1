// Package redact makes text that came from elsewhere fit to be shown: bounded,
// printable, and without secrets. [Hide] knows what secrets look like; a [Set]
// knows which they are.
package redact

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Dots stand for what was left out.
const Dots = "…"

// Clean makes s fit to be shown: at most limit bytes of printable UTF-8.
func Clean(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit-len(Dots)]
		for !utf8.ValidString(s) && len(s) > 0 { // the cut may have gone through a rune
			if r, n := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || n != 1 {
				break
			}
			s = s[:len(s)-1]
		}
		s += Dots
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// maxLooked is how many bytes of a text Hide looks at: more are never shown.
const maxLooked = 64 << 10

// Hide leaves out of s what has the look of a secret: of each URL the user and
// password, the query and the fragment, also where the URL is percent-encoded;
// of a data source name without a scheme, user:password@host, the same; the
// value of key=value where the key says that it is a secret, as in ;token=…; and
// what follows Authorization: or Bearer. Of a text over 64 KiB the rest is left
// out.
func Hide(s string) string {
	if len(s) > maxLooked {
		s = s[:maxLooked]
		// The cut may have gone through a secret, so that it does not look like one.
		s = s[:strings.LastIndexFunc(s, unicode.IsSpace)+1] + Dots
	}
	s = hideEncoded(s)
	s = hideURLs(s)
	if strings.Contains(s, "@") {
		s = dsn.ReplaceAllStringFunc(s, hideDSN)
	}
	if strings.Contains(s, "=") {
		s = pair.ReplaceAllString(s, "${1}"+Dots)
	}
	return header.ReplaceAllString(s, "${1}"+Dots)
}

var (
	// A key that names a secret, =, and its value.
	pair = regexp.MustCompile(`(?i)((?:^|[^a-z])(?:[a-z0-9]+[_.-]?)*?(?:password|passwd|passphrase|pwd|secret|token|(?:api|access|account|secret|private|shared|subscription|auth)[_-]?key|signature|sig|credentials?|authorization|auth|session[_-]?id|sid|jwt|ticket)\s?=\s?)(?:"[^"]*"?|'[^']*'?|[^\s;&,"'<>]+)`)
	// An Authorization header, or what it carries.
	header = regexp.MustCompile(`(?i)(\b(?:proxy-)?authorization["']?\s?:\s?["']?|\bbearer\s)[a-z0-9+/=._~-]+(?:\s[a-z0-9+/=._~-]{8,})?`)
	// user:password@ and what follows. What hideURLs has left is no such thing,
	// for it has no user any more.
	dsn = regexp.MustCompile(`[^\s"'<>` + "`" + `(/@:=…]+:[^\s"'<>` + "`" + `…]*@[^\s"'<>` + "`" + `]*`)
	// "://" as often percent-encoded as anybody does.
	encoded = regexp.MustCompile(`(?i)(?::|%(?:25)*3A)(?:/|%(?:25)*2F){2}`)
)

func hideDSN(s string) string {
	if strings.Contains(s, "://") {
		return s
	}
	i := strings.LastIndexByte(s, '@')
	// An @ in the query is no end of a password.
	if q := strings.IndexByte(s, '?'); q >= 0 && strings.Contains(s[:q], "@") {
		i = strings.LastIndexByte(s[:q], '@')
	}
	return Dots + cutQuery(s[i:])
}

func cutQuery(s string) string {
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		return s[:i+1] + Dots
	}
	return s
}

// hideEncoded decodes URLs that are percent-encoded, for hideURLs.
func hideEncoded(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for {
		at := encoded.FindStringIndex(s)
		if at == nil {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:at[0]])
		rest := s[at[0]:]
		if strings.HasPrefix(rest, "://") { // it is hidden as it is
			b.WriteString("://")
			s = s[at[1]:]
			continue
		}
		n := strings.IndexFunc(rest, func(r rune) bool { return endsURL(r) || r == '&' || r == ';' })
		if n < 0 {
			n = len(rest)
		}
		b.WriteString(decoded(rest[:n]))
		s = rest[n:]
	}
}

// decoded is s with its percent-encoding undone, as often as it was done.
func decoded(s string) string {
	for range 8 {
		t := unescape(s)
		if t == s {
			break
		}
		s = t
	}
	return strings.Map(func(r rune) rune { // what ends a URL would leave the rest in sight
		if endsURL(r) {
			return '_'
		}
		return r
	}, s)
}

// unescape undoes each %XX and leaves what is none.
func unescape(s string) string {
	if t, err := url.PathUnescape(s); err == nil {
		return t
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] == '%' && i+3 <= len(s) {
			if t, err := url.PathUnescape(s[i : i+3]); err == nil {
				b.WriteString(t)
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}

// hideURLs leaves out, of each URL in s, the user and password, the query and the
// fragment. An error of net/http or net/url has the whole URL of the request,
// and tokens are in the query of many.
func hideURLs(s string) string {
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

// hideIn is hideURLs of one URL, without its scheme.
func hideIn(url string) string {
	url = cutQuery(url)
	authority, path, _ := strings.Cut(url, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		return Dots + url[i:]
	}
	// A password with a slash in it: what is before that is no host with its port.
	if _, port, ok := strings.Cut(authority, ":"); ok && strings.Trim(port, "0123456789") != "" && !strings.HasPrefix(authority, "[") {
		if i := strings.LastIndexByte(path, '@'); i >= 0 {
			return Dots + path[i:]
		}
	}
	return url
}
