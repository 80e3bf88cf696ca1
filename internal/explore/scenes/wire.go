package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/respool/respool/internal/explore/sched"
)

// wire is a net.Conn with a WebSocket server at the other end. The server has no goroutine: it serves
// what the client writes as part of the write, which never blocks.
type wire struct {
	x     *sched.X
	serve func(w *wire, message string) // called with mu held

	mu      sync.Mutex
	changed sync.Cond
	in      []byte // for the client to read
	out     []byte // from the client, and not served yet
	upgrade bool   // the handshake is done
	ended   bool   // the peer sends no more
	closed  bool   // by the client
	due     bool   // the read deadline has passed
}

func newWire(x *sched.X, serve func(w *wire, message string)) *wire {
	w := &wire{x: x, serve: serve}
	w.changed.L = &w.mu
	return w
}

// SyscallConn implements syscall.Conn.
func (w *wire) SyscallConn() (syscall.RawConn, error) { return kernel{w}, nil }

// kernel is a wire as a syscall.RawConn. The descriptor that its functions get is none: what they do
// is done by ReadNow, WriteNow and Look.
type kernel struct{ w *wire }

const noDescriptor = ^uintptr(0)

func (k kernel) Control(f func(fd uintptr)) error {
	f(noDescriptor)
	return nil
}

func (k kernel) Read(f func(fd uintptr) bool) error {
	for w := k.w; ; {
		if err := w.broken(); err != nil {
			return err
		}
		if f(noDescriptor) {
			return nil
		}
		w.mu.Lock()
		for len(w.in) == 0 && !w.ended && !w.closed && !w.due {
			w.changed.Wait()
		}
		w.mu.Unlock()
	}
}

func (k kernel) Write(f func(fd uintptr) bool) error {
	f(noDescriptor)
	return nil
}

// broken returns why the client cannot read, whatever has arrived.
func (w *wire) broken() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return net.ErrClosed
	case w.due:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// ReadNow is the system call read.
func (w *wire) ReadNow(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.lookLocked(); err != nil {
		return -1, err
	}
	n := copy(p, w.in)
	w.in = w.in[n:]
	return n, nil
}

// Look returns EAGAIN if a read would find nothing.
func (w *wire) Look() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lookLocked()
}

func (w *wire) lookLocked() error {
	switch {
	case w.closed:
		return syscall.EBADF
	case len(w.in) == 0 && !w.ended:
		return syscall.EAGAIN
	}
	return nil
}

// Read implements net.Conn, for the time before the handshake is done.
func (w *wire) Read(p []byte) (n int, err error) {
	err2 := kernel{w}.Read(func(uintptr) bool {
		n, err = w.ReadNow(p)
		return err != syscall.EAGAIN
	})
	switch {
	case err2 != nil:
		return 0, err2
	case n == 0 && err == nil:
		return 0, io.EOF
	}
	return n, err
}

// Write implements net.Conn.
func (w *wire) Write(p []byte) (int, error) { return w.WriteNow(p) }

// WriteNow is the system call write.
func (w *wire) WriteNow(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.ended {
		return -1, syscall.EPIPE
	}
	w.out = append(w.out, p...)
	if !w.upgrade {
		w.handshakeLocked()
		return len(p), nil
	}
	for w.frameLocked() {
	}
	return len(p), nil
}

// handshakeLocked answers the handshake once it has arrived whole.
func (w *wire) handshakeLocked() {
	head, rest, whole := bytes.Cut(w.out, []byte("\r\n\r\n"))
	if !whole {
		return
	}
	w.upgrade, w.out = true, rest
	for line := range strings.SplitSeq(string(head), "\r\n") {
		if name, key, _ := strings.Cut(line, ": "); strings.EqualFold(name, "Sec-WebSocket-Key") {
			sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
			w.putLocked([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
				base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"))
		}
	}
}

// frameLocked serves one frame of the client. It returns false if none has arrived whole.
func (w *wire) frameLocked() bool {
	if len(w.out) < 6 {
		return false
	}
	n, head := int(w.out[1]&0x7f), 6
	w.x.Require(w.out[1]&0x80 != 0 && n < 126 && w.out[0]&0x80 != 0, "the client has written a frame that is not masked, long, or not final")
	if len(w.out) < head+n {
		return false
	}
	p := bytes.Clone(w.out[head : head+n])
	for i := range p {
		p[i] ^= w.out[2+i%4]
	}
	op := w.out[0] & 0xf
	w.out = w.out[head+n:]
	switch op {
	case 1, 2:
		w.serve(w, string(p))
	case 8:
		if !w.ended {
			w.putLocked(frame(8, p))
			w.ended = true
		}
	case 9:
		w.putLocked(frame(10, p))
	}
	return true
}

// frame is a frame of a server.
func frame(op byte, p []byte) []byte { return append([]byte{0x80 | op, byte(len(p))}, p...) }

func (w *wire) putLocked(p []byte) {
	w.in = append(w.in, p...)
	w.changed.Broadcast()
}

// sayLocked sends a message.
func (w *wire) sayLocked(message string) { w.putLocked(frame(1, []byte(message))) }

// say sends a message of the peer's own accord.
func (w *wire) say(message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed && !w.ended {
		w.sayLocked(message)
	}
}

// leave sends a close frame and closes the connection at the peer's end.
func (w *wire) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.putLocked(frame(8, binary.BigEndian.AppendUint16(nil, 1001)))
		w.ended = true
	}
}

// Close implements net.Conn.
func (w *wire) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.changed.Broadcast()
	return nil
}

// SetReadDeadline implements net.Conn. A deadline that is to come has no effect: in a scene the peer
// answers before it, or the test is that the client does not wait.
func (w *wire) SetReadDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.due = !t.IsZero() && time.Until(t) <= 0
	w.changed.Broadcast()
	return nil
}

// SetWriteDeadline implements net.Conn: no write blocks.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline implements net.Conn.
func (w *wire) SetDeadline(t time.Time) error { return w.SetReadDeadline(t) }

// LocalAddr implements net.Conn.
func (w *wire) LocalAddr() net.Addr { return place{} }

// RemoteAddr implements net.Conn.
func (w *wire) RemoteAddr() net.Addr { return place{} }

// place is the address of both ends.
type place struct{}

func (place) Network() string { return "wire" }
func (place) String() string  { return "wire" }
