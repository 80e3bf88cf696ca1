package jsonrpc

import (
	"errors"
	"math/bits"
	"unicode/utf8"

	"github.com/respool/respool/wspool/mux"
)

// scanner finds the id and the method of a message without decoding the rest. It checks strings
// and brackets, as far as it must to skip values, and no more: what it accepts may be no JSON.
type scanner struct {
	data []byte
	at   int
}

var errSyntax = errors.New("jsonrpc: message is not a JSON object")

// found is what an object has. Of members with the same name the last counts, as with
// encoding/json.
type found struct {
	hasID, nullID bool
	ours          bool // the id is a number as they are sent
	id            uint64
	method        []byte // a JSON string without its quotes; nil: there is none
}

func (s *scanner) space() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// byte reports whether the next byte is b, and skips it then.
func (s *scanner) byte(b byte) bool {
	s.space()
	if s.at < len(s.data) && s.data[s.at] == b {
		s.at++
		return true
	}
	return false
}

// members scans an object.
func (s *scanner) members() (m found, err error) {
	if !s.byte('{') {
		return m, errSyntax
	}
	if s.byte('}') {
		return m, nil
	}
	for {
		name, ok := s.string()
		if !ok || !s.byte(':') {
			return m, errSyntax
		}
		s.space()
		from := s.at
		if !s.skip() {
			return m, errSyntax
		}
		value := s.data[from:s.at]
		switch {
		case is(name, "id"):
			m.hasID, m.nullID = true, value[0] == 'n'
			m.id, m.ours = parseID(value)
		case is(name, "method"):
			if m.method = nil; value[0] == '"' {
				m.method = value[1 : len(value)-1]
			}
		}
		if s.byte('}') {
			return m, nil
		}
		if !s.byte(',') {
			return m, errSyntax
		}
	}
}

// batch scans an array of replies up to the first that has an id.
func (s *scanner) batch() (mux.Frame, error) {
	s.at++
	for {
		m, err := s.members()
		if err != nil {
			return mux.Frame{}, err
		}
		if m.ours && m.method == nil {
			return mux.Frame{Kind: mux.Reply, ID: m.id}, nil
		}
		if !s.byte(',') {
			return mux.Frame{Kind: mux.Event}, nil
		}
	}
}

// string scans a string and returns what is between its quotes.
func (s *scanner) string() (inside []byte, ok bool) {
	if !s.byte('"') {
		return nil, false
	}
	from := s.at
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case '"':
			s.at++
			return s.data[from : s.at-1], true
		case '\\':
			s.at++
		}
		s.at++
	}
	return nil, false
}

// skip skips a value of at least one byte.
func (s *scanner) skip() bool {
	depth := 0
	for s.at < len(s.data) {
		switch b := s.data[s.at]; b {
		case '"':
			if _, ok := s.string(); !ok {
				return false
			}
			if depth == 0 {
				return true
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return false
			}
			if depth == 0 {
				s.at++
				return true
			}
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return false
			}
		default:
			if depth == 0 {
				return s.literal()
			}
		}
		s.at++
	}
	return false
}

// literal skips a number, true, false or null.
func (s *scanner) literal() bool {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ',', '}', ']', ' ', '\t', '\r', '\n':
			return true
		case '"', '{', '[', ':':
			return false
		}
		s.at++
	}
	return false
}

// is reports whether the JSON string raw, without its quotes, is name.
func is(raw []byte, name string) bool {
	if string(raw) == name {
		return true
	}
	for len(raw) > 0 && len(name) > 0 {
		if raw[0] != '\\' {
			if raw[0] != name[0] {
				return false
			}
			raw, name = raw[1:], name[1:]
			continue
		}
		r, n := unescape(raw)
		want, size := utf8.DecodeRuneInString(name)
		if n == 0 || r != want {
			return false
		}
		raw, name = raw[n:], name[size:]
	}
	return len(raw) == 0 && len(name) == 0
}

// unescape decodes the escape at the start of raw, of n bytes; n is 0 if it is none. Surrogates
// are no part of a name that is looked for.
func unescape(raw []byte) (r rune, n int) {
	if len(raw) < 2 {
		return 0, 0
	}
	switch raw[1] {
	case '"', '\\', '/':
		return rune(raw[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		if len(raw) < 6 {
			return 0, 0
		}
		for _, b := range raw[2:6] {
			switch {
			case b >= '0' && b <= '9':
				b -= '0'
			case b|0x20 >= 'a' && b|0x20 <= 'f':
				b = b | 0x20 - 'a' + 10
			default:
				return 0, 0
			}
			r = r<<4 | rune(b)
		}
		return r, 6
	}
	return 0, 0
}

// parseID parses an id as it may come back: a number, with a fraction of zeros or an exponent of
// zero, or a string of one, with the position in a batch behind it.
func parseID(v []byte) (id uint64, ok bool) {
	quoted := v[0] == '"'
	if quoted {
		v = v[1 : len(v)-1]
	}
	i := 0
	for ; i < len(v) && v[i] >= '0' && v[i] <= '9'; i++ {
		hi, lo := bits.Mul64(id, 10)
		sum, carry := bits.Add64(lo, uint64(v[i]-'0'), 0)
		if hi != 0 || carry != 0 {
			return 0, false
		}
		id = sum
	}
	if i == 0 || i > 1 && v[0] == '0' {
		return 0, false
	}
	rest := v[i:]
	if quoted {
		return id, len(rest) == 0 || rest[0] == ':' && len(rest) > 1 && digits(rest[1:])
	}
	if len(rest) > 1 && rest[0] == '.' {
		n := 1
		for n < len(rest) && rest[n] == '0' {
			n++
		}
		if n == 1 {
			return 0, false
		}
		rest = rest[n:]
	}
	if len(rest) > 1 && rest[0]|0x20 == 'e' {
		rest = rest[1:]
		if rest[0] == '+' || rest[0] == '-' {
			rest = rest[1:]
		}
		if len(rest) == 0 {
			return 0, false
		}
		for len(rest) > 0 && rest[0] == '0' {
			rest = rest[1:]
		}
	}
	return id, len(rest) == 0
}

func digits(v []byte) bool {
	for _, b := range v {
		if b < '0' || b > '9' {
			return false
		}
	}
	return true
}
