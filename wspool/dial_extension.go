package wspool

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/respool/respool/internal/redact"
)

// deflateName is the one extension that is ever offered (RFC 7692), and
// deflateParams what the offer asks for, without context takeover either way.
const (
	deflateName    = "permessage-deflate"
	serverNoTake   = "server_no_context_takeover"
	clientNoTake   = "client_no_context_takeover"
	serverMaxBits  = "server_max_window_bits"
	clientMaxBits  = "client_max_window_bits"
	extensionField = "Sec-Websocket-Extensions"
)

var errExtension = errors.New("wspool: server chose an extension that was not offered")

// errDeflate is a permessage-deflate that cannot be kept to.
var errDeflate = errors.New("wspool: server answered the offer of permessage-deflate with parameters that it must not, or that are not supported")

// extension is one that a server chose, with its parameters.
type extension struct {
	name   string
	params [][2]string // names and values; a value "" is none
}

// parseExtensions reads Sec-WebSocket-Extensions (RFC 6455, section 9.1). It
// returns false if that does not parse.
func parseExtensions(h http.Header) (all []extension, ok bool) {
	for _, field := range h[extensionField] {
		for one := range splitUnquoted(field, ',') {
			if strings.TrimSpace(one) == "" { // RFC 9110, section 5.6.1, has empty elements ignored
				continue
			}
			var e extension
			for part := range splitUnquoted(one, ';') {
				key, value, has := strings.Cut(part, "=")
				key, value = strings.TrimSpace(key), strings.TrimSpace(value)
				if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
					value = value[1 : n-1]
				}
				if !isToken(key) || has && !isToken(value) || has && e.name == "" {
					return nil, false
				}
				if e.name == "" {
					e.name = strings.ToLower(key)
				} else {
					e.params = append(e.params, [2]string{strings.ToLower(key), value})
				}
			}
			all = append(all, e)
		}
	}
	return all, true
}

// splitUnquoted yields the parts of s between separators that are in no quotes.
func splitUnquoted(s string, separator byte) func(func(string) bool) {
	return func(yield func(string) bool) {
		quoted, begun := false, 0
		for i := range len(s) {
			switch {
			case s[i] == '"':
				quoted = !quoted
			case s[i] == separator && !quoted:
				if !yield(s[begun:i]) {
					return
				}
				begun = i + 1
			}
		}
		yield(s[begun:])
	}
}

// isToken reports whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// checkExtensions returns why what the server chose cannot be kept to, as RFC 6455,
// section 9.1, and RFC 7692, section 7.1, have it; deflate says that it may be used.
func checkExtensions(h http.Header, offered bool) (deflate bool, err error) {
	all, ok := parseExtensions(h)
	if !ok {
		return false, fmt.Errorf("%w: its list of extensions does not parse", errExtension)
	}
	for _, e := range all {
		switch {
		case e.name != deflateName:
			return false, fmt.Errorf("%w: %q", errExtension, redact.Clean(e.name, shownName))
		case !offered:
			return false, fmt.Errorf("%w: %s", errExtension, deflateName)
		case deflate:
			return false, fmt.Errorf("%w: it chose %s twice", errDeflate, deflateName)
		}
		if err := checkDeflate(e.params); err != nil {
			return false, err
		}
		deflate = true
	}
	return deflate, nil
}

// checkDeflate is checkExtensions for the parameters of permessage-deflate.
// client_no_context_takeover need not be among them: it would bind the client,
// which keeps to it anyway.
func checkDeflate(params [][2]string) error {
	seen := map[string]bool{}
	for _, p := range params {
		name, value := p[0], p[1]
		if seen[name] {
			return fmt.Errorf("%w: %q twice", errDeflate, redact.Clean(name, shownName))
		}
		seen[name] = true
		switch name {
		case serverNoTake, clientNoTake:
			if value != "" {
				return fmt.Errorf("%w: %s with a value", errDeflate, name)
			}
		case serverMaxBits: // a server may say so unasked (section 7.1.2.1), and any window can be read
			if bits, err := strconv.Atoi(value); err != nil || bits < 8 || bits > 15 || value != strconv.Itoa(bits) {
				return fmt.Errorf("%w: %s is not from 8 to 15", errDeflate, name)
			}
		case clientMaxBits:
			return fmt.Errorf("%w: %s, which was not offered", errDeflate, name)
		default:
			return fmt.Errorf("%w: %q, which nobody knows", errDeflate, redact.Clean(name, shownName))
		}
	}
	if !seen[serverNoTake] {
		return fmt.Errorf("%w: %s is missing, so the server would compress with context takeover", errDeflate, serverNoTake)
	}
	return nil
}

// amendExtensions makes an answer that checkExtensions takes one that gorilla
// takes. It reports whether it has changed h.
func amendExtensions(h http.Header, offered bool) bool {
	if deflate, err := checkExtensions(h, offered); err != nil || !deflate {
		return false
	}
	h.Set(extensionField, deflateName+"; "+serverNoTake+"; "+clientNoTake)
	return true
}
