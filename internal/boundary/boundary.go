// Package boundary tracks length-prefixed units (TLS records, WebSocket frames) in a byte
// stream and reports whether the stream is at a boundary between two of them. It keeps
// none of the contents.
package boundary

// Tracker tracks TLS records (RFC 8446, section 5.1). Its methods must not be called
// concurrently.
type Tracker struct {
	header [5]byte
	n      int // header bytes received
	left   int // bytes missing of the record
}

// Records returns a Tracker for a stream that begins with a record.
func Records() *Tracker { return &Tracker{} }

// Feed processes the next bytes of the stream.
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
