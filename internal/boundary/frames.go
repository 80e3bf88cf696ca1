package boundary

import "encoding/binary"

// The first byte of a frame (RFC 6455, section 5.2).
const (
	fin     = 0x80
	rsv     = 0x70
	opcode  = 0x0f
	control = 0x08 // the bit of the opcode

	continuation = 0
	text         = 1
	binaryData   = 2
	closing      = 8
	pong         = 10
)

// FrameTracker tracks and counts the frames of a WebSocket server. Its methods must not be
// called concurrently and do not allocate.
//
// It does not report protocol errors, but a stream with one never looks clean: a frame that
// a server must not send in this place counts as the start of a message, besides
// whatever else it counts as.
type FrameTracker struct {
	inHead bool // within the head of the HTTP response
	line   int  // bytes of the current line
	cr     bool // the line is "\r" so far

	header [14]byte
	n      int    // header bytes received; 0 between headers
	left   uint64 // bytes missing of the payload

	counted  bool // the last frame was counted as a message
	messages uint64
	controls uint64
	open     bool
	closing  bool
}

// Frames returns a FrameTracker for a stream that begins with the HTTP response. The frames
// begin after the empty line that ends its head.
func Frames() *FrameTracker { return &FrameTracker{inHead: true} }

// Feed processes the next bytes of the stream.
func (t *FrameTracker) Feed(p []byte) {
	if t.inHead {
		p = t.skipHead(p)
	}
	for len(p) > 0 {
		if t.left > 0 {
			n := min(t.left, uint64(len(p)))
			p = p[n:]
			if t.left -= n; t.left == 0 {
				t.end()
			}
			continue
		}
		if t.n == 0 {
			t.begin(p[0])
		}
		have := t.n + copy(t.header[t.n:], p) // may include bytes after the header
		want := headerSize(t.header[:have])
		if have < want {
			t.n = have
			return
		}
		p = p[want-t.n:]
		t.n = 0
		t.headed()
	}
}

// skipHead returns the part of p after the head of the HTTP response. Lines may end with a
// bare \n, which net/http accepts.
func (t *FrameTracker) skipHead(p []byte) []byte {
	for i, b := range p {
		switch {
		case b != '\n':
			t.cr = b == '\r' && t.line == 0
			t.line++
		case t.line == 0 || t.cr:
			t.inHead = false
			return p[i+1:]
		default:
			t.line = 0
		}
	}
	return nil
}

// headerSize returns the size of the header that begins with h, which has at least one
// byte. If h is too short to tell, the result is larger than len(h).
func headerSize(h []byte) int {
	if len(h) < 2 {
		return 2
	}
	n := 2
	switch h[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if masked(h) {
		n += 4
	}
	return n
}

func masked(h []byte) bool { return h[1]&0x80 != 0 }

// begin processes the first byte of a frame.
func (t *FrameTracker) begin(b byte) {
	op := b & opcode
	data := op == text || op == binaryData // even if it is within another message
	t.counted = data ||
		op > pong || op&control == 0 && op != continuation || // reserved
		op == continuation && !t.open ||
		op&control != 0 && b&fin == 0 ||
		b&rsv != 0
	if t.counted {
		t.messages++
	}
	t.open = t.open || data
}

// headed processes a complete header.
func (t *FrameTracker) headed() {
	h := t.header[:]
	n := uint64(h[1] & 0x7f)
	if !t.counted && (masked(h) || h[0]&control != 0 && n > 125) {
		t.messages++
	}
	switch n {
	case 126:
		n = uint64(binary.BigEndian.Uint16(h[2:]))
	case 127:
		n = binary.BigEndian.Uint64(h[2:])
	}
	if t.left = n; n == 0 {
		t.end()
	}
}

// end processes the end of a frame, whose first byte is still in header.
func (t *FrameTracker) end() {
	switch op := t.header[0] & opcode; {
	case op >= closing && op <= pong:
		t.controls++
		t.closing = t.closing || op == closing
	case op <= binaryData && t.header[0]&fin != 0:
		t.open = false
	}
}

// Clean reports whether the stream is between two frames. It is true before the first one.
func (t *FrameTracker) Clean() bool { return t.n == 0 && t.left == 0 }

// Messages returns the number of data messages that have begun, counted from the first
// byte of their first frame.
func (t *FrameTracker) Messages() uint64 { return t.messages }

// Open reports whether a data message has begun and its last frame is not complete.
func (t *FrameTracker) Open() bool { return t.open }

// Controls returns the number of complete pings, pongs and close frames.
func (t *FrameTracker) Controls() uint64 { return t.controls }

// Closing reports whether a complete close frame was received.
func (t *FrameTracker) Closing() bool { return t.closing }
