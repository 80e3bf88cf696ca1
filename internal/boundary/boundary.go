// Package boundary follows units in a stream of bytes, each a header that says
// its length and then that many bytes, and knows whether the stream stands
// between two of them. It keeps nothing else of what passes.
package boundary

import "bytes"

// Tracker follows one stream. Its user serialises the calls.
type Tracker struct {
	size   func(header []byte) (n uint64, ok bool) // ok: the header is whole
	before []byte                                  // what ends what comes before the first unit
	seen   []byte                                  // the last of it
	header [14]byte
	n      int    // bytes of header
	left   uint64 // bytes of the unit still to come
}

// Frames follows the frames of a WebSocket (RFC 6455, section 5.2), which begin
// behind the empty line that ends the HTTP answer.
func Frames() *Tracker { return &Tracker{size: frame, before: []byte("\r\n\r\n")} }

// Records follows the records of TLS (RFC 8446, section 5.1).
func Records() *Tracker { return &Tracker{size: record} }

func frame(h []byte) (uint64, bool) {
	if len(h) < 2 {
		return 0, false
	}
	n, want := uint64(h[1]&0x7f), 2
	switch n {
	case 126:
		want += 2
	case 127:
		want += 8
	}
	length := h[2:min(want, len(h))]
	if h[1]&0x80 != 0 { // a mask, which a server must not send
		want += 4
	}
	if len(h) < want {
		return 0, false
	}
	if len(length) > 0 {
		n = 0
		for _, b := range length {
			n = n<<8 | uint64(b)
		}
	}
	return n, true
}

func record(h []byte) (uint64, bool) {
	if len(h) < 5 {
		return 0, false
	}
	return uint64(h[3])<<8 | uint64(h[4]), true
}

// Feed tells of the bytes that come next.
func (t *Tracker) Feed(p []byte) {
	for len(p) > 0 && t.before != nil {
		t.seen = append(t.seen, p[0])
		t.seen = t.seen[max(0, len(t.seen)-len(t.before)):]
		if p = p[1:]; bytes.Equal(t.seen, t.before) {
			t.before, t.seen = nil, nil
		}
	}
	for len(p) > 0 {
		if t.left > 0 {
			n := min(t.left, uint64(len(p)))
			t.left -= n
			p = p[n:]
			continue
		}
		t.header[t.n] = p[0]
		t.n++
		p = p[1:]
		if n, ok := t.size(t.header[:t.n]); ok {
			t.left, t.n = n, 0
		}
	}
}

// Clean reports whether no unit has begun that has not ended.
func (t *Tracker) Clean() bool { return t.n == 0 && t.left == 0 }
