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

	p   []byte // of the read under way
	n   int
	err error

	peeked error
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
	if s.err != nil {
		c := s.w.Conn
		return 0, &net.OpError{Op: "read", Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(),
			Err: os.NewSyscallError("read", s.err)}
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
			s.w.park()
			return false
		}
		s.w.parked = false
		s.w.units.Feed(s.p[:max(0, s.n)])
		return true
	}
}

// empty reports whether nothing waits in the kernel: neither bytes nor the end.
// It needs the wire's lock, and Control instead of Read, which the reader holds.
func (s *socket) empty() bool {
	return s.raw.Control(s.look) == nil && s.peeked == syscall.EAGAIN
}
