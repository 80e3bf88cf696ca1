// Package jsonscan reads the members of a JSON object, or the elements of an array, one
// level deep, without decoding their values and without allocating.
//
// It finds the same members as encoding/json in every valid document. It does not validate:
// values are skipped by their brackets and quotes alone, so some invalid documents are
// accepted.
package jsonscan

import (
	"bytes"
	"errors"
	"math"
)

// ErrSyntax means that a document is not JSON.
var ErrSyntax = errors.New("json: bad syntax")

// A Scanner reads one object or array. The zero Scanner is empty; use [Object] or [Array].
type Scanner struct {
	data  []byte
	pos   int
	close byte // the closing bracket; 0: the end was reached
	first bool // nothing was read yet
	bad   bool
}

// Object returns a Scanner of the members of the object that data holds.
func Object(data []byte) Scanner { return open(data, '{', '}') }

// Array returns a Scanner of the elements of the array that data holds.
func Array(data []byte) Scanner { return open(data, '[', ']') }

func open(data []byte, opening, closing byte) Scanner {
	s := Scanner{data: data, close: closing, first: true}
	if s.peek() != opening {
		return Scanner{bad: true}
	}
	s.pos++
	return s
}

// First returns the first byte of the document that is not white space, 0 if there is none.
func First(data []byte) byte {
	s := Scanner{data: data}
	return s.peek()
}

// Err returns [ErrSyntax] if what was read so far is not JSON, or if the document does not
// end after the closing bracket.
func (s *Scanner) Err() error {
	if s.bad {
		return ErrSyntax
	}
	return nil
}

// Member returns the next member: its key without the quotes, escapes unresolved (see
// [Is]), and its value. Both alias the document. ok is false at the end and after an error.
func (s *Scanner) Member() (key, value []byte, ok bool) {
	if !s.next() {
		return nil, nil, false
	}
	key, ok = s.text()
	if !ok || s.peek() != ':' {
		return nil, nil, s.fail()
	}
	s.pos++
	if value, ok = s.value(); !ok {
		return nil, nil, s.fail()
	}
	return key, value, true
}

// Element returns the next element. It aliases the document. ok is false at the end and
// after an error.
func (s *Scanner) Element() (value []byte, ok bool) {
	if !s.next() {
		return nil, false
	}
	if value, ok = s.value(); !ok {
		return nil, s.fail()
	}
	return value, true
}

// next moves to the next member or element, and reports whether there is one.
func (s *Scanner) next() bool {
	if s.close == 0 || s.bad {
		return false
	}
	c := s.peek()
	switch {
	case c == s.close:
		s.pos++
		s.close = 0
		if s.peek() != 0 || s.pos != len(s.data) {
			s.bad = true
		}
		return false
	case s.first:
		s.first = false
	case c == ',':
		s.pos++
	default:
		return s.fail()
	}
	return true
}

func (s *Scanner) fail() bool {
	s.bad = true
	return false
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *Scanner) peek() byte {
	for ; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// text reads a string and returns what is between its quotes.
func (s *Scanner) text() ([]byte, bool) {
	if s.peek() != '"' {
		return nil, false
	}
	begin := s.pos + 1
	end := stringEnd(s.data, begin)
	if end < 0 {
		return nil, false
	}
	s.pos = end + 1
	return s.data[begin:end:end], true
}

// stringEnd returns the index of the quote that ends the string whose contents begin at
// from, -1 if there is none.
func stringEnd(data []byte, from int) int {
	for at := from; ; {
		quote := bytes.IndexByte(data[at:], '"')
		if quote < 0 {
			return -1
		}
		quote += at
		// The quote is escaped if an odd number of backslashes precedes it.
		escapes := quote
		for escapes > from && data[escapes-1] == '\\' {
			escapes--
		}
		if (quote-escapes)%2 == 0 {
			return quote
		}
		at = quote + 1
	}
}

// value skips a value and returns it.
func (s *Scanner) value() ([]byte, bool) {
	c, begin := s.peek(), s.pos
	switch c {
	case '"':
		end := stringEnd(s.data, begin+1)
		if end < 0 {
			return nil, false
		}
		s.pos = end + 1
	case '{', '[':
		if !s.skipNested() {
			return nil, false
		}
	default:
		for s.pos < len(s.data) && plain(s.data[s.pos]) {
			s.pos++
		}
		if s.pos == begin {
			return nil, false
		}
	}
	return s.data[begin:s.pos:s.pos], true
}

// skipNested skips an object or array. It counts brackets, of either kind, and does not
// recurse: the depth of a document from the network must not be that of the stack.
func (s *Scanner) skipNested() bool {
	for depth := 0; s.pos < len(s.data); s.pos++ {
		switch s.data[s.pos] {
		case '"':
			end := stringEnd(s.data, s.pos+1)
			if end < 0 {
				return false
			}
			s.pos = end
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				s.pos++
				return true
			}
		}
	}
	return false
}

// plain reports whether c may be part of a number, true, false or null.
func plain(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '-' || c == '+' || c == '.'
}

// Is reports whether a key, or the inside of a string, is name once its escapes are
// resolved. name must be ASCII.
func Is(raw []byte, name string) bool {
	if string(raw) == name {
		return true
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return false
	}
	n := 0
	for i := 0; i < len(raw); n++ {
		c := raw[i]
		i++
		if c == '\\' {
			var ok bool
			if c, i, ok = unescape(raw, i); !ok {
				return false
			}
		}
		if n >= len(name) || name[n] != c {
			return false
		}
	}
	return n == len(name)
}

// unescape returns the ASCII character that the escape at raw[i:] (behind its backslash)
// stands for, and the index behind it. ok is false if it stands for another character.
func unescape(raw []byte, i int) (c byte, behind int, ok bool) {
	if i == len(raw) {
		return 0, i, false
	}
	switch c = raw[i]; c {
	case '"', '\\', '/':
		return c, i + 1, true
	case 'b':
		return '\b', i + 1, true
	case 'f':
		return '\f', i + 1, true
	case 'n':
		return '\n', i + 1, true
	case 'r':
		return '\r', i + 1, true
	case 't':
		return '\t', i + 1, true
	case 'u':
		if len(raw)-i < 5 {
			return 0, i, false
		}
		r := 0
		for _, h := range raw[i+1 : i+5] {
			d := hex(h)
			if d < 0 {
				return 0, i, false
			}
			r = r<<4 | d
		}
		return byte(r), i + 5, r < 0x80
	}
	return 0, i, false
}

func hex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// Text returns the inside of value if it is a string, escapes unresolved.
func Text(value []byte) (inside []byte, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return nil, false
	}
	return value[1 : len(value)-1], true
}

// Null reports whether value is null.
func Null(value []byte) bool { return string(value) == "null" }

// Uint returns the whole number that value is: written as a number, with a fraction of zeros
// or an exponent too (servers that hold numbers as floating point answer 6147483647.0 or
// 1e+15), or as a string of digits. ok is false if value is anything else, negative, or
// larger than a uint64.
func Uint(value []byte) (n uint64, ok bool) {
	if inside, isText := Text(value); isText {
		return digits(inside)
	}
	whole, rest := value, []byte(nil)
	if i := bytes.IndexAny(value, ".eE"); i >= 0 {
		whole, rest = value[:i], value[i:]
	}
	if n, ok = digits(whole); !ok || rest == nil {
		return n, ok
	}
	return scaled(n, rest)
}

// digits parses a decimal number without sign, dot or exponent.
func digits(text []byte) (n uint64, ok bool) {
	for _, c := range text {
		d := uint64(c - '0')
		if d > 9 || n > (math.MaxUint64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, len(text) > 0
}

// maxExponent is larger than any exponent of a uint64.
const maxExponent = 30

// scaled returns the number that has n before rest, its fraction and exponent, if that is a
// whole number.
func scaled(n uint64, rest []byte) (uint64, bool) {
	var fraction []byte
	if rest[0] == '.' {
		end := 1
		for end < len(rest) && '0' <= rest[end] && rest[end] <= '9' {
			end++
		}
		fraction, rest = rest[1:end], rest[end:]
		if len(fraction) == 0 {
			return 0, false
		}
	}
	exponent := 0
	if len(rest) > 0 {
		rest = rest[1:] // the e
		negative := len(rest) > 0 && rest[0] == '-'
		if negative || len(rest) > 0 && rest[0] == '+' {
			rest = rest[1:]
		}
		e, ok := digits(rest)
		if !ok || e > maxExponent {
			return 0, false
		}
		if exponent = int(e); negative {
			exponent = -exponent
		}
	}
	fraction = bytes.TrimRight(fraction, "0")
	for ; exponent > 0; exponent-- {
		d := uint64(0)
		if len(fraction) > 0 {
			d, fraction = uint64(fraction[0]-'0'), fraction[1:]
		}
		if n > (math.MaxUint64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	if len(fraction) > 0 {
		return 0, false
	}
	for ; exponent < 0; exponent++ {
		if n%10 != 0 {
			return 0, false
		}
		n /= 10
	}
	return n, true
}
