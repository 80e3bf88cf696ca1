//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package wsconn

import (
	"io"
	"net"
	"os"
	"syscall"
)

// socket reads from the kernel while RawConn.mu is held, so that the lock's holder
// knows which bytes have been taken out: a Read of net.Conn returns some time after it
// has taken them.
type socket struct {
	conn    net.Conn
	raw     syscall.RawConn
	attempt func(fd uintptr) bool // takes what the kernel has, or parks; made once: a read allocates nothing
	look    func(fd uintptr)      // peeks, likewise
	offer   func(fd uintptr) bool // writeOnce, likewise

	p   []byte // arguments and results of the present read
	n   int
	err error

	peeked  error
	failure error // reported to a peek; guarded by RawConn.mu

	out  []byte // of the present write; writes do not overlap
	sent int
	oerr error
}

// newSocket returns nil unless w's connection is a plain socket: a wrapper of a socket
// may transform the bytes.
func newSocket(w *RawConn) *socket {
	var raw syscall.RawConn
	var err error
	switch c := w.Conn.(type) {
	case *net.TCPConn:
		raw, err = c.SyscallConn()
	case *net.UnixConn:
		raw, err = c.SyscallConn()
	}
	if raw == nil || err != nil {
		return nil
	}
	s := &socket{conn: w.Conn, raw: raw}
	s.attempt = func(fd uintptr) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		s.readOnce(fd)
		if s.err == syscall.EAGAIN {
			if w.nowait || w.ask != nil && !w.askLocked() {
				return true
			}
			if w.hooks {
				w.hookLocked()
			}
			w.parkLocked()
			return false
		}
		w.parked = false
		w.feedLocked(s.p[:max(0, s.n)])
		return true
	}
	s.offer = s.writeOnce
	var b [1]byte
	s.look = func(fd uintptr) {
		for {
			_, _, s.peeked = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			switch s.peeked {
			case syscall.EINTR:
				continue
			case nil, syscall.EAGAIN:
			default: // the kernel reports a failure once, to a peek too; the next read would find the end
				s.failure = s.peeked
			}
			return
		}
	}
	return s
}

// read returns errNothing if the kernel has nothing and the read must not block. After
// another error the reader is no longer parked, which the caller notes.
func (s *socket) read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.p = p
	err := s.raw.Read(s.attempt) // blocks between attempts; heeds deadlines and Close
	s.p = nil
	if err != nil {
		return 0, err
	}
	if s.err == syscall.EAGAIN {
		return 0, errNothing
	}
	if s.err != nil {
		return 0, s.failed("read", s.err)
	}
	if s.n == 0 {
		return 0, io.EOF
	}
	return s.n, nil
}

// readOnce takes what the kernel has. RawConn.mu is held.
func (s *socket) readOnce(fd uintptr) {
	for {
		if s.n, s.err = syscall.Read(int(fd), s.p); s.err != syscall.EINTR {
			break
		}
	}
	if s.n == 0 && s.err == nil {
		s.err = s.failure
	}
}

// empty reports whether the kernel holds neither bytes nor the end of the stream.
// RawConn.mu is held. It uses Control because the reader may be inside raw.Read.
func (s *socket) empty() bool {
	return s.raw.Control(s.look) == nil && s.peeked == syscall.EAGAIN
}

// writeNow gives p to the kernel as far as the kernel takes it without blocking. A
// full buffer is no error.
func (s *socket) writeNow(p []byte) (int, error) {
	s.out = p
	err := s.raw.Write(s.offer)
	s.out = nil
	switch {
	case err != nil:
		return 0, err
	case s.oerr == syscall.EAGAIN:
		return 0, nil
	case s.oerr != nil:
		return 0, s.failed("write", s.oerr)
	}
	return s.sent, nil
}

// writeOnce never makes raw.Write block.
func (s *socket) writeOnce(fd uintptr) bool {
	for {
		if s.sent, s.oerr = syscall.Write(int(fd), s.out); s.oerr != syscall.EINTR {
			return true
		}
	}
}

// unsent returns how many bytes the kernel holds that the peer has not acknowledged.
func (s *socket) unsent() (n int) {
	_ = s.raw.Control(func(fd uintptr) { n = outQueue(int(fd)) })
	return n
}

// failed returns err in the form in which a net.Conn returns it.
func (s *socket) failed(op string, err error) error {
	c := s.conn
	return &net.OpError{Op: op, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(),
		Err: os.NewSyscallError(op, err)}
}
