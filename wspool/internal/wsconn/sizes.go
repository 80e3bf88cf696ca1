package wsconn

import "io"

// SizeEstimate predicts the length of the next message of a connection from the
// lengths of earlier ones, so that reading it takes one allocation: io.ReadAll starts
// with 512 bytes and copies whenever it grows. The zero value knows nothing yet. It
// is not safe for concurrent use; the reader of the connection owns it.
type SizeEstimate int

const (
	firstGuess = 512      // as io.ReadAll
	mostGuess  = 32 << 10 // longer messages are left to io.ReadAll
)

// ReadAll reads r to its end, like io.ReadAll.
func (u *SizeEstimate) ReadAll(r io.Reader) ([]byte, error) {
	if *u > mostGuess {
		b, err := io.ReadAll(r)
		u.note(len(b))
		return b, err
	}
	guess := firstGuess
	if *u > 0 {
		guess = int(*u)
	}
	b := make([]byte, 0, guess+1) // io.EOF is only returned to a Read that has room
	var err error
	for err == nil && len(b) < cap(b) {
		var n int
		n, err = r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
	}
	switch {
	case err == nil: // the message is longer than the guess
		var rest []byte
		rest, err = io.ReadAll(r)
		b = append(b, rest...)
	case err == io.EOF: // compared with ==, as io.ReadAll does
		err = nil
	}
	u.note(len(b))
	return trimmed(b), err
}

// note adopts a longer length at once and approaches a shorter one gradually.
func (u *SizeEstimate) note(n int) { *u = max(SizeEstimate(n), *u-(*u+3)/4, 1) }

// trimmed returns b, or a copy without spare capacity if b has more of it than
// io.ReadAll would leave: the caller may keep b for long.
func trimmed(b []byte) []byte {
	if cap(b) > firstGuess+1 && cap(b) > 2*len(b) {
		return append(make([]byte, 0, len(b)), b...) // slices.Clone of an empty slice keeps its capacity
	}
	return b
}
