// Package redact makes foreign text safe to show: bounded, printable, and without secrets.
// [Hide] removes what looks like a secret; a [Set] removes known secrets.
package redact

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Dots replaces removed text.
const Dots = "…"

// Clean returns at most limit bytes of s as printable UTF-8.
func Clean(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit-len(Dots)]
		for !utf8.ValidString(s) && len(s) > 0 { // the cut may have split a rune
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

// maxLooked is the number of bytes that Hide processes; the rest is never shown.
const maxLooked = 64 << 10

// Hide removes from s what looks like a secret: user and password, query and fragment of
// each URL, percent-encoded URLs included, and of a data source name without a scheme
// (user:password@host); the value of key=value, and of a key with a colon as in JSON, YAML and
// headers, if the key names a secret; what follows Authorization: or Bearer; and the rest of a
// line after Cookie:, Set-Cookie: and Sec-WebSocket-Protocol:. Text beyond 64 KiB is removed.
// A secret that has no such form stays.
func Hide(s string) string {
	if len(s) > maxLooked {
		s = s[:maxLooked]
		// The cut may have split a secret, so that it no longer looks like one.
		s = s[:strings.LastIndexFunc(s, unicode.IsSpace)+1] + Dots
	}
	s = hideEncoded(s)
	s = hideURLs(s)
	if strings.Contains(s, "@") {
		s = dsn.ReplaceAllStringFunc(s, hideDSN)
	}
	// Every expression is applied to the same text: what one of them removed could be the key by which
	// another one knows a secret. An expression costs much more than the search for words without
	// which it cannot match.
	words := strings.ToLower(s)
	var found spans
	if containsAny(words, "authorization", "bearer") {
		found.find(header, s)
		found.find(unknown, s)
	}
	if strings.ContainsAny(words, "=:") && containsAny(words, names...) {
		found.find(pair, s)
		found.find(field, s)
		found.find(prose, s)
	}
	if containsAny(words, "cookie", "sec-websocket-protocol") {
		found.find(line, s)
	}
	return found.remove(s)
}

// spans are parts of a text.
type spans []span

type span struct{ from, to int }

// find adds the part of each match that follows the group of e.
func (all *spans) find(e *regexp.Regexp, s string) {
	for _, at := range e.FindAllStringSubmatchIndex(s, -1) {
		*all = append(*all, span{at[3], at[1]})
	}
}

// remove removes the parts from s.
func (all spans) remove(s string) string {
	if len(all) == 0 {
		return s
	}
	slices.SortFunc(all, func(a, b span) int { return a.from - b.from })
	var b strings.Builder
	end := 0
	for _, part := range all {
		if part.from > end || end == 0 {
			b.WriteString(s[end:part.from])
			b.WriteString(Dots)
		}
		end = max(end, part.to)
	}
	b.WriteString(s[end:])
	return b.String()
}

// names are in every key that pair, field and prose find, in lower case.
var names = []string{"passw", "passphrase", "pwd", "secret", "key", "session", "jwt", "token", "sig", "credential", "auth", "sid", "ticket"}

func containsAny(s string, words ...string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// Parts of the expressions below. What precedes the name in a key, as in X-Amz-Signature, does not
// matter. strong are the names that are hidden in prose too, such as "password: x"; weak are words
// that errors use before a colon, as in "unexpected token: EOF".
const (
	strong = `(?:password|passwd|passphrase|pwd|secret|(?:api|access|account|secret|private|shared|subscription|auth)[_-]?key|session[_-]?id|jwt)`
	weak   = `(?:token|signature|sig|credentials?|auth|sid|ticket)`
	colon  = `\\*["']?\s?:`
	plain  = `[^\s;&,"'<>]`
	// A value that is a key itself has that key's value after it.
	chain  = `(?:` + plain + `*?(?:` + strong + `|x-[a-z0-9-]*key|authorization|` + weak + `)\\*["']?\s?[:=]\s?)*`
	quoted = `\\*"(?:[^"\\]|\\.)*"?|\\*'(?:[^'\\]|\\.)*'?`
	list   = `\[(?:"(?:[^"\\]|\\.)*"?|[^"\]])*\]?` + plain + `*`
	value  = chain + `(?:` + quoted + `|` + list + `|` + plain + `+)`

	authorization = `\b(?:proxy-)?authorization\\*["']?\s?:\s?\[?\\*["']?`
	credentials   = `(` + authorization + `|\bbearer\s)(?:` + authorization + `|(?:basic|bearer|digest|negotiate|token)\s+)*[a-z0-9+/=._~-]+`
)

var (
	// A key that names a secret, =, and the value.
	pair = regexp.MustCompile(`(?i)((?:` + strong + `|authorization|` + weak + `)\s?=\s?)` + chain + `(?:` + quoted + `|` + plain + `+)`)
	// The same with a colon, as in JSON, YAML, headers and what fmt prints of maps and structs. A
	// weak name counts if it has a prefix (access_token), if it is quoted, or if the value follows
	// the colon at once.
	field = regexp.MustCompile(`(?i)((?:` +
		`(?:` + strong + `|x-[a-z0-9-]*key|[a-z0-9][_.-]?(?:token|signature|credentials?))` + colon + `\s?|` +
		weak + `(?:\\*["']\s?:\s?|:))` + `)` + value)
	// A weak name before a colon and a space, and a value that has a digit and is not short, or is long.
	prose = regexp.MustCompile(`(?i)(` + weak + `\s?:\s)(?:` + plain + `*[0-9]` + plain + `{3,}|` + plain + `{3,}[0-9]` + plain + `*|` + plain + `{20,})`)
	// An Authorization header, or a bearer token. The credentials of a scheme that is not among these
	// follow it; that word may be the next key too, which only header finds then.
	header  = regexp.MustCompile(`(?i)` + credentials)
	unknown = regexp.MustCompile(`(?i)` + credentials + `[ \t][a-z0-9+/=._~-]{8,}`)
	// A header whose value has no form that would end before the line does.
	line = regexp.MustCompile(`(?i)(\b(?:set-)?cookie\\*["']?\s?:|\bsec-websocket-protocol\\*["']?\s?:)[^\r\n]+`)
	// user:password@ and what follows. The output of hideURLs does not match, because the
	// user was removed.
	dsn = regexp.MustCompile(`[^\s"'<>` + "`" + `(/@:=…]+:[^\s"'<>` + "`" + `…]*@[^\s"'<>` + "`" + `]*`)
	// "://", percent-encoded any number of times.
	encoded = regexp.MustCompile(`(?i)(?::|%(?:25)*3A)(?:/|%(?:25)*2F){2}`)
)

func hideDSN(s string) string {
	if strings.Contains(s, "://") {
		return s
	}
	i := strings.LastIndexByte(s, '@')
	// An @ in the query does not end a password.
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

// hideEncoded decodes percent-encoded URLs, so that hideURLs finds them.
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
		if strings.HasPrefix(rest, "://") { // not encoded: hideURLs handles it
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

// decoded removes all levels of percent-encoding from s.
func decoded(s string) string {
	for range 8 {
		t := unescape(s)
		if t == s {
			break
		}
		s = t
	}
	return strings.Map(func(r rune) rune { // a character that ends a URL would expose the rest
		if endsURL(r) {
			return '_'
		}
		return r
	}, s)
}

// unescape decodes each valid %XX and keeps the rest.
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

// hideURLs removes user and password, query and fragment of each URL in s. Errors of
// net/http and net/url contain the whole URL of the request, often with a token in the
// query.
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

// hideIn is hideURLs for one URL, without its scheme.
func hideIn(url string) string {
	url = cutQuery(url)
	authority, path, _ := strings.Cut(url, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		return Dots + url[i:]
	}
	// A password may contain a slash: then what precedes the slash is not host:port.
	if _, port, ok := strings.Cut(authority, ":"); ok && strings.Trim(port, "0123456789") != "" && !strings.HasPrefix(authority, "[") {
		if i := strings.LastIndexByte(path, '@'); i >= 0 {
			return Dots + path[i:]
		}
	}
	return url
}
