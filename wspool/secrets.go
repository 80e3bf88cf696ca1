package wspool

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/respool/respool/internal/redact"
)

// maxErrorText is how many bytes of an error that came from elsewhere the text of
// a DialError shows.
const maxErrorText = 512

// secrets are the parts of one dial's requests that must not appear in a text,
// although a server or a proxy may repeat them.
type secrets struct {
	set    redact.Set
	tokens redact.Set // set without paths: where a redirect leads is mostly a path like ours
}

func (s *secrets) add(words ...string) {
	s.set.Add(words...)
	s.tokens.Add(words...)
}

// names of headers whose values are no secrets.
var openHeaders = map[string]bool{
	"Accept": true, "Accept-Encoding": true, "Accept-Language": true, "Host": true, "Origin": true, "User-Agent": true,
}

// url takes note of a URL: its path and query, and what a proxy's has of a user.
func (s *secrets) url(u *url.URL) {
	if u == nil {
		return
	}
	s.add(u.RawQuery)
	for key, values := range u.Query() {
		if s.values(values); strings.Join(values, "") == "" {
			s.add(key)
		}
	}
	if u.User != nil {
		password, _ := u.User.Password()
		s.add(u.User.String(), u.User.Username(), password)
	}
	s.set.Add(u.RequestURI(), u.Path, u.EscapedPath())
	for part := range strings.SplitSeq(u.Path+"/"+u.EscapedPath(), "/") {
		if len(part) >= 16 { // a shorter one is a word more often than a token
			s.add(part)
		}
	}
}

// values takes note of values that are secrets, unless they are words that are in
// every answer.
func (s *secrets) values(all []string) {
	for _, v := range all {
		if !strings.EqualFold(v, "websocket") && !strings.EqualFold(v, "true") && !strings.EqualFold(v, "false") {
			s.add(v)
		}
	}
}

// header takes note of what is sent in h.
func (s *secrets) header(h http.Header) {
	for name, values := range h {
		name = http.CanonicalHeaderKey(name)
		if openHeaders[name] {
			continue
		}
		s.values(values)
		for _, v := range values {
			if _, token, ok := strings.Cut(v, " "); ok && strings.HasSuffix(name, "Authorization") {
				s.add(token)
				if plain, err := base64.StdEncoding.DecodeString(token); err == nil {
					_, password, _ := strings.Cut(string(plain), ":")
					s.add(string(plain), password)
				}
			}
			if name == "Cookie" {
				for pair := range strings.SplitSeq(v, ";") {
					_, value, _ := strings.Cut(pair, "=")
					s.add(strings.Trim(strings.TrimSpace(value), `"`))
				}
			}
		}
	}
}

// subprotocols takes note of what was offered: browsers send tokens in it, as
// "bearer.TOKEN".
func (s *secrets) subprotocols(all []string) {
	for _, p := range all {
		s.add(p)
		if i := strings.LastIndexByte(p, '.'); len(p)-i > 5 {
			s.add(p[i+1:])
		}
	}
}

// text is what the text of err shows: clean, bounded, and without the secrets.
// The methods of err may be the user's.
func (s *secrets) text(err error) (text string) {
	defer func() {
		if v := recover(); v != nil {
			text = fmt.Sprintf("an error of type %T whose text panics", err)
		}
	}()
	text = err.Error()
	switch err.(type) {
	case *net.OpError, *net.DNSError: // they say where, in numbers that a query may have too
	default:
		text = redact.Hide(s.set.Redact(text, false)) // such as the URL in an error of net/http
	}
	return redact.Clean(text, maxErrorText)
}
