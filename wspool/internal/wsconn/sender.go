package wsconn

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// MaxShort is the length of the longest message that [FrameConn.WriteShort] sends.
const MaxShort = 4 << 10

// maxHeader is the length of the header of the longest masked frame that WriteShort sends.
const maxHeader = 2 + 2 + 4

var shortBuffers = sync.Pool{New: func() any { return new([maxHeader + MaxShort]byte) }}

// sender serializes the frames that gorilla sends with those of WriteShort. Each frame of
// gorilla is one Write.
type sender struct {
	mu     sync.Mutex
	by     time.Time // the deadline of gorilla's next Write
	framed bool      // the handshake is over
	closed bool      // a close frame was sent
	err    error     // of a failed write, which may have sent a part of a frame: nothing more can be sent
}

// BeginFrames notes that the handshake is over: from now on gorilla writes frames.
func (f *FrameConn) BeginFrames() {
	f.out.mu.Lock()
	defer f.out.mu.Unlock()
	f.out.framed = true
}

// SetWriteDeadline sets the deadline of the next Write alone. Gorilla calls it before each
// frame.
func (f *FrameConn) SetWriteDeadline(by time.Time) error {
	if f.Raw.handed.Load() {
		return f.Raw.SetWriteDeadline(by)
	}
	f.out.mu.Lock()
	defer f.out.mu.Unlock()
	f.out.by = by
	return nil
}

// Write implements net.Conn for gorilla, which passes one whole frame to each call.
func (f *FrameConn) Write(p []byte) (int, error) {
	if f.Raw.handed.Load() {
		return f.Conn.Write(p)
	}
	f.out.mu.Lock()
	defer f.out.mu.Unlock()
	f.Raw.SetWriteDeadline(f.out.by)
	const controlBit = 0x08
	if len(p) == 0 || p[0]&controlBit == 0 {
		return f.writeBatchLocked(p)
	}
	n, err := f.sendLocked(p)
	if f.out.framed && p[0]&0x0f == websocket.CloseMessage {
		f.out.closed = true
	}
	return n, err
}

// WriteShort sends data, of MaxShort bytes at most, as a message of one uncompressed frame, behind
// the batch if there is one. opcode is websocket.TextMessage or websocket.BinaryMessage. The frame
// is that of gorilla's WriteMessage, without its allocations. It blocks as Write does, and fails
// with websocket.ErrCloseSent after a close frame, and with the error of any earlier failed write.
func (f *FrameConn) WriteShort(opcode int, data []byte) error {
	buf := shortBuffers.Get().(*[maxHeader + MaxShort]byte)
	defer shortBuffers.Put(buf)
	frame := maskedFrame(buf[:], opcode, data, rand.Uint32())
	f.out.mu.Lock()
	defer f.out.mu.Unlock()
	if f.out.closed {
		return websocket.ErrCloseSent
	}
	_, err := f.writeBatchLocked(frame)
	return err
}

// sendLocked writes one frame.
func (f *FrameConn) sendLocked(frame []byte) (int, error) {
	if f.out.err != nil {
		return 0, f.out.err
	}
	n, err := f.Conn.Write(frame)
	if err != nil {
		f.out.err = err
	}
	return n, err
}

// maskedFrame returns a client's frame (RFC 6455, section 5.2) with the whole message data. The
// frame is in buf, which must have room for it.
func maskedFrame(buf []byte, opcode int, data []byte, key uint32) []byte {
	const fin, masked = 0x80, 0x80
	h := append(buf[:0], fin|byte(opcode))
	if len(data) < 126 {
		h = append(h, masked|byte(len(data)))
	} else {
		h = binary.BigEndian.AppendUint16(append(h, masked|126), uint16(len(data)))
	}
	h = binary.LittleEndian.AppendUint32(h, key)
	frame := buf[:len(h)+len(data)]
	p, long := frame[len(h):], uint64(key)<<32|uint64(key)
	for len(data) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(data)^long)
		p, data = p[8:], data[8:]
	}
	for i, b := range data {
		p[i] = b ^ byte(key>>(8*(i%4)))
	}
	return frame
}

var _ net.Conn = (*FrameConn)(nil)
