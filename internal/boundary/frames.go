package boundary

import "encoding/binary"

// The first byte of a frame (RFC 6455, section 5.2).
const (
	fin     = 0x80
	rsv     = 0x70
	rsv1    = 0x40 // compressed
	opcode  = 0x0f
	control = 0x08 // the bit of the opcode

	continuation = 0
	text         = 1
	binaryData   = 2
	closing      = 8
	pong         = 10

	maxControl = 125 // bytes of payload of a control frame
)

// The opcodes of [Control].
const (
	Ping = 9
	Pong = pong
)

// Control is a whole ping or pong that breaks no rule.
type Control struct {
	Opcode  byte // Ping or Pong
	Payload string
}

// kept is allocated at the first ping or pong: most connections have none for long.
type kept struct {
	payload []byte // of the present frame
	all     []Control
}

// FrameTracker follows the frames that a WebSocket server sends, counts them, and keeps
// pings and pongs until they are taken, up to the close frame or the first frame that
// breaks a rule. Its user serializes the calls. It allocates nothing but those.
//
// It does not enforce the protocol, but a stream that breaks it never looks clean: a frame
// that no server may send in its position counts as a message that has begun, whatever else
// it counts as.
type FrameTracker struct {
	inHead bool    // the HTTP answer has not ended
	place  uint8   // in the first line of the present head; see noteStatus
	status [3]byte // the first bytes of its status
	line   int     // bytes of its current line
	cr     bool    // the first of them is \r, and the others are none

	header [14]byte
	n      int    // bytes of the header that have arrived; 0: no header is incomplete
	left   uint64 // bytes of the payload that have not arrived

	counted bool // the frame begun last counts as a message
	keeps   bool // the present frame is a ping or pong
	over    bool // a rule was broken, or a close frame has begun: no pings or pongs are kept
	kept    *kept

	// Deflate says that messages may be compressed (RFC 7692). Set it before Feed.
	Deflate  bool
	messages uint64
	wholes   uint64
	controls uint64
	open     bool
	closing  bool
}

// Frames returns a FrameTracker for a stream that begins with the HTTP response. The frames
// begin after the empty line that ends its head. Interim responses may come before it.
func Frames() *FrameTracker { return &FrameTracker{inHead: true} }

// Feed follows the next bytes.
func (t *FrameTracker) Feed(p []byte) {
	if t.inHead {
		p = t.skipHead(p)
	}
	for len(p) > 0 {
		if t.left > 0 {
			n := min(t.left, uint64(len(p)))
			if t.keeps {
				t.kept.payload = append(t.kept.payload, p[:n]...)
			}
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

// skipHead returns the part of p behind the final HTTP answer. Lines may end with a bare \n:
// net/http accepts that too.
func (t *FrameTracker) skipHead(p []byte) []byte {
	for i, b := range p {
		t.noteStatus(b)
		switch {
		case b != '\n':
			t.cr = b == '\r' && t.line == 0
			t.line++
		case t.line == 0 || t.cr:
			// Another head follows an interim answer (RFC 9110, section 15.2), and the frames
			// follow any other.
			if interim := t.status[0] == '1' && t.status != [3]byte{'1', '0', '1'}; !interim {
				t.inHead = false
				return p[i+1:]
			}
			t.line, t.cr, t.place, t.status = 0, false, 0, [3]byte{}
		default:
			t.line = 0
		}
	}
	return nil
}

// noteStatus follows the first line of a head: the status comes behind its first spaces.
func (t *FrameTracker) noteStatus(b byte) {
	const inStatus, done = 1, 1 + uint8(len(t.status))
	switch {
	case b == '\n':
		t.place = done
	case t.place == 0: // in the name of the protocol
		if b == ' ' {
			t.place = inStatus
		}
	case t.place == inStatus && b == ' ' || t.place == done:
	default:
		t.status[t.place-inStatus] = b
		t.place++
	}
}

// headerSize returns the length of the header that h begins; h has at least one byte. While
// the length is not known the result is greater than len(h).
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

// begin handles the first byte of a frame.
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
	first := data && !t.open && (b&rsv == 0 || t.Deflate && b&rsv == rsv1)
	t.over = t.over || t.counted && !first || op == closing
	t.open = t.open || data
}

// headed handles the end of a header.
func (t *FrameTracker) headed() {
	h := t.header[:]
	n := uint64(h[1] & 0x7f)
	bad := masked(h) || h[0]&control != 0 && n > maxControl
	if !t.counted && bad {
		t.messages++
	}
	op := h[0] & opcode
	t.over = t.over || bad
	t.keeps = !t.over && (op == Ping || op == Pong)
	if t.keeps && t.kept == nil {
		t.kept = new(kept)
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

// end handles the end of a frame, whose first byte is still in t.header.
func (t *FrameTracker) end() {
	op := t.header[0] & opcode
	if t.keeps {
		t.kept.all = append(t.kept.all, Control{op, string(t.kept.payload)})
		t.keeps, t.kept.payload = false, nil
	}
	switch {
	case op >= closing && op <= pong:
		t.controls++
		t.closing = t.closing || op == closing
	case op <= binaryData && t.header[0]&fin != 0:
		t.open = false
		t.wholes++
	}
}

// Wholes returns how many data messages have arrived to their end, and whether nothing behind
// them is worth waiting for: a rule was broken, or a close frame has begun.
func (t *FrameTracker) Wholes() (n uint64, over bool) { return t.wholes, t.over }

// Clean reports whether no frame is incomplete. Before the first frame it is true.
func (t *FrameTracker) Clean() bool { return t.n == 0 && t.left == 0 }

// Messages returns how many data messages have begun; each counts from the first byte of
// its first frame.
func (t *FrameTracker) Messages() uint64 { return t.messages }

// Open reports whether a data message has begun whose last frame is incomplete.
func (t *FrameTracker) Open() bool { return t.open }

// Take returns the pings and pongs that have arrived since the last call, in order.
func (t *FrameTracker) Take() []Control {
	if t.kept == nil {
		return nil
	}
	all := t.kept.all
	t.kept.all = nil
	if !t.keeps {
		t.kept = nil
	}
	return all
}

// Kept returns how many pings and pongs Take would return.
func (t *FrameTracker) Kept() int {
	if t.kept == nil {
		return 0
	}
	return len(t.kept.all)
}

// Controls returns how many whole pings, pongs and close frames have arrived.
func (t *FrameTracker) Controls() uint64 { return t.controls }

// Closing reports whether a whole close frame has arrived.
func (t *FrameTracker) Closing() bool { return t.closing }

// Message is a data message that lies whole in one frame.
type Message struct {
	Opcode  byte   // 1: text, 2: binary
	Payload []byte // part of the bytes that were given
}

// FirstMessage returns the first data message in p, which begins with a frame, and how many
// bytes of p it takes, together with the pings and pongs before it. It returns false, and
// leaves the bytes to a complete parser, if the message is compressed or fragmented, if its
// end is missing, or if a frame before it is anything but a ping or pong that breaks no
// rule.
func FirstMessage(p []byte) (m Message, n int, ok bool) {
	for len(p)-n >= 2 {
		h := p[n:]
		size := headerSize(h)
		if len(h) < size || masked(h) {
			break
		}
		length := uint64(h[1] & 0x7f)
		switch length {
		case 126:
			length = uint64(binary.BigEndian.Uint16(h[2:]))
		case 127:
			length = binary.BigEndian.Uint64(h[2:])
		}
		if length > uint64(len(h)-size) {
			break // its end is missing
		}
		end := n + size + int(length)
		switch h[0] {
		case fin | text, fin | binaryData:
			return Message{h[0] & opcode, p[n+size : end]}, end, true
		case fin | Ping, fin | Pong:
			if h[1] > maxControl { // also if a shorter length is encoded in more bytes
				return m, 0, false
			}
			n = end
		default:
			return m, 0, false
		}
	}
	return m, 0, false
}
