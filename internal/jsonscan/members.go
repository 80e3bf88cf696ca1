package jsonscan

import (
	"encoding/json"
	"errors"
)

// Members stores the values of the members of an object in values, in the order of names, which are
// ASCII. The value of a member that the object lacks is left as it is; of several members with
// the same name the last counts, as with encoding/json. The values alias the document. It reports
// whether the document is an object, as far as [Scanner.Err] tells; it stores what it finds in any
// case. It allocates nothing.
func Members(document []byte, names []string, values [][]byte) bool {
	s := Object(document)
	for {
		key, value, ok := s.Member()
		if !ok {
			return s.Err() == nil
		}
		for i, name := range names {
			if Is(key, name) {
				values[i] = value
				break
			}
		}
	}
}

// ErrKind means that a value is encoded as another kind of JSON than its member may have.
var ErrKind = errors.New("json: value of another kind")

// AppendMember appends a comma, the name and the encoding of v: a member that is not the first of its
// object. It appends nothing if v is nil or is encoded as null, as a nil map is. A
// json.RawMessage is appended as it is, unchecked. first are the bytes with which the encoding may
// begin; if it begins with another one, the error is ErrKind. Another error is that of
// encoding/json. After an error dst is returned as it was.
func AppendMember(dst []byte, name string, v any, first string) ([]byte, error) {
	if v == nil {
		return dst, nil
	}
	encoded, raw := v.(json.RawMessage)
	if !raw {
		var err error
		if encoded, err = json.Marshal(v); err != nil {
			return dst, err
		}
	}
	if Null(encoded) {
		return dst, nil
	}
	begin := First(encoded)
	for i := range len(first) {
		if first[i] == begin {
			dst = append(dst, ',', '"')
			dst = append(dst, name...)
			dst = append(dst, '"', ':')
			return append(dst, encoded...), nil
		}
	}
	return dst, ErrKind
}

// AppendText appends text as a JSON string. Bytes that are not UTF-8 are replaced, as encoding/json
// replaces them.
func AppendText(dst []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x80 {
			quoted, err := json.Marshal(text)
			if err != nil {
				panic(err) // encoding/json encodes every string
			}
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, text...)
	return append(dst, '"')
}
