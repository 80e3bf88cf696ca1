package wspool

import "io"

// usual is how long the messages of a link are, more or less: enough to have the
// next one in one allocation, where io.ReadAll begins with 512 bytes and copies as
// they become more. Zero: not known yet.
type usual int

const (
	firstGuess = 512      // as io.ReadAll
	mostGuess  = 32 << 10 // what is longer is left to io.ReadAll
)

// readAll reads r to its end. Whoever calls has the reader to himself, and thereby
// u.
func (u *usual) readAll(r io.Reader) ([]byte, error) {
	if *u > mostGuess {
		b, err := io.ReadAll(r)
		u.note(len(b))
		return b, err
	}
	guess := firstGuess
	if *u > 0 {
		guess = int(*u)
	}
	b := make([]byte, 0, guess+1) // the end is only seen where there is room for more
	var err error
	for err == nil && len(b) < cap(b) {
		var n int
		n, err = r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
	}
	switch {
	case err == nil: // it is longer
		var rest []byte
		rest, err = io.ReadAll(r)
		b = append(b, rest...)
	case err == io.EOF: // itself, as io.Reader has it
		err = nil
	}
	u.note(len(b))
	return trimmed(b), err
}

// note follows a longer message at once, and a shorter one by and by.
func (u *usual) note(n int) { *u = max(usual(n), *u-(*u+3)/4, 1) }

// trimmed is b without most of its spare room, if that is more than the caller, who
// may keep it for long, would have had from io.ReadAll.
func trimmed(b []byte) []byte {
	if cap(b) > firstGuess+1 && cap(b) > 2*len(b) {
		return append(make([]byte, 0, len(b)), b...) // slices.Clone of nothing keeps all
	}
	return b
}
