// Package boundary follows units in a stream of bytes, each of them a header that states
// its length and then that many bytes, and knows whether the stream is between two units.
// It keeps nothing else of the stream, except pings and pongs.
package boundary

// Tracker follows the records of TLS (RFC 8446, section 5.1). Its user serializes the
// calls.
type Tracker struct {
	header [5]byte
	n      int // bytes of header
	left   int // bytes of the record that have not arrived
}

// Records returns a Tracker for a stream that begins with a record.
func Records() *Tracker { return &Tracker{} }

// Feed follows the next bytes.
func (t *Tracker) Feed(p []byte) {
	for len(p) > 0 {
		if t.left > 0 {
			n := min(t.left, len(p))
			t.left -= n
			p = p[n:]
			continue
		}
		n := copy(t.header[t.n:], p)
		t.n += n
		p = p[n:]
		if t.n == len(t.header) {
			t.n, t.left = 0, int(t.header[3])<<8|int(t.header[4])
		}
	}
}

// Clean reports whether the stream is between two records.
func (t *Tracker) Clean() bool { return t.n == 0 && t.left == 0 }
