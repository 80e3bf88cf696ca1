//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package wspool

import (
	"io"
	"net"
	"os"
	"syscall"
)

// socket reads from the kernel so that it is known, under the wire's lock, what
// has been taken out: a Read of net.Conn returns some time after it has.
type socket struct {
	w       *wire
	raw     syscall.RawConn
	attempt func(fd uintptr) bool // made once, so that a read allocates nothing
	look    func(fd uintptr)
	offer   func(fd uintptr) bool

	p   []byte // of the read under way
	n   int
	err error

	peeked error

	out  []byte // of the write under way; writes do not overlap
	sent int
	oerr error
}

// newSocket returns nil unless w's connection is a socket and nothing else.
// One that wraps a socket may do more to the bytes than pass them on.
func newSocket(w *wire) *socket {
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
	s := &socket{w: w, raw: raw}
	s.attempt = s.readNow
	s.offer = s.writeOnce
	var b [1]byte
	s.look = func(fd uintptr) {
		for {
			_, _, s.peeked = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			if s.peeked != syscall.EINTR {
				return
			}
		}
	}
	return s
}

func (s *socket) read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.p = p
	err := s.raw.Read(s.attempt) // waits between attempts; heeds deadlines and Close
	s.p = nil
	if err != nil {
		s.w.unpark()
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

// readNow takes what is there, or parks.
func (s *socket) readNow(fd uintptr) bool {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	for {
		s.n, s.err = syscall.Read(int(fd), s.p)
		switch s.err {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			if s.w.nowait {
				return true
			}
			s.w.park()
			return false
		}
		s.w.parked = false
		s.w.feed(s.p[:max(0, s.n)])
		return true
	}
}

// empty reports whether nothing waits in the kernel: neither bytes nor the end.
// It needs the wire's lock, and Control instead of Read, which the reader holds.
func (s *socket) empty() bool {
	return s.raw.Control(s.look) == nil && s.peeked == syscall.EAGAIN
}

// writeNow gives p to the kernel as far as that takes it without waiting. Only
// an error that a wait does not cure is one.
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

// writeOnce never asks raw.Write to wait.
func (s *socket) writeOnce(fd uintptr) bool {
	for {
		if s.sent, s.oerr = syscall.Write(int(fd), s.out); s.oerr != syscall.EINTR {
			return true
		}
	}
}

// unsent is how many bytes the kernel has that the peer has not acknowledged.
func (s *socket) unsent() (n int) {
	_ = s.raw.Control(func(fd uintptr) { n = outQueue(int(fd)) })
	return n
}

// failed is err as a net.Conn returns it.
func (s *socket) failed(op string, err error) error {
	c := s.w.Conn
	return &net.OpError{Op: op, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(),
		Err: os.NewSyscallError(op, err)}
}
