package memnet

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Conn is one end of a connection.
type Conn struct {
	in, out *stream
	peer    addr
}

var _ net.Conn = (*Conn)(nil)

// Pipe returns the two ends of a connection that holds size bytes each way.
func Pipe(size int) (*Conn, *Conn) {
	a, b := newStream(size), newStream(size)
	return &Conn{in: a, out: b}, &Conn{in: b, out: a}
}

// Read reads from the buffer. It blocks while that is empty, and returns io.EOF after the
// other end was closed.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	if err != nil && err != io.EOF {
		err = opError("read", err)
	}
	return n, err
}

// TryRead is Read without blocking: if the buffer is empty it returns 0 and no error.
func (c *Conn) TryRead(p []byte) (int, error) {
	if c.in.wouldBlock() {
		return 0, nil
	}
	return c.Read(p)
}

// Write blocks while the buffer is full. After the other end was closed it fails with
// EPIPE.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	if err != nil {
		err = opError("write", err)
	}
	return n, err
}

// Close closes both directions. The other end can still read what was written before.
func (c *Conn) Close() error {
	c.in.close(true)
	c.out.close(false)
	return nil
}

// LocalAddr returns the name of the network.
func (c *Conn) LocalAddr() net.Addr { return addr("") }

// RemoteAddr returns the address that was dialled, and the name of the network at the other end.
func (c *Conn) RemoteAddr() net.Addr { return c.peer }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline bounds current and future reads. Zero means no bound.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.in.reader.set(c.in, t) }

// SetWriteDeadline bounds current and future writes. Zero means no bound.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.out.writer.set(c.out, t) }

// stream is one direction.
type stream struct {
	mu      sync.Mutex
	changed sync.Cond // signaled by every change
	size    int
	buf     []byte
	reader  side
	writer  side
}

// side is one end of a stream.
type side struct {
	closed bool
	due    bool // the deadline has passed
	timer  *time.Timer
	epoch  int // counts deadlines, so that a late timer of an earlier one has no effect
}

func newStream(size int) *stream {
	s := &stream{size: size}
	s.changed.L = &s.mu
	return s
}

// wouldBlock reports whether a read would block.
func (s *stream) wouldBlock() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.buf) == 0 && !s.reader.closed && !s.writer.closed
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.reader.closed:
			return 0, net.ErrClosed
		case s.reader.due:
			return 0, errTimeout
		case len(p) == 0:
			return 0, nil
		case len(s.buf) > 0:
			n := copy(p, s.buf)
			s.buf = s.buf[n:]
			s.changed.Broadcast()
			return n, nil
		case s.writer.closed:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

func (s *stream) write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := 0
	for {
		switch {
		case s.writer.closed:
			return sent, net.ErrClosed
		case s.writer.due:
			return sent, errTimeout
		case s.reader.closed:
			return sent, syscall.EPIPE
		case sent == len(p):
			return sent, nil
		case len(s.buf) < s.size:
			n := min(len(p)-sent, s.size-len(s.buf))
			s.buf = append(s.buf, p[sent:sent+n]...)
			sent += n
			s.changed.Broadcast()
			continue
		}
		s.changed.Wait()
	}
}

// close closes the reading side, which drops the buffer, or the writing side.
func (s *stream) close(reading bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sd := &s.writer
	if reading {
		sd = &s.reader
		s.buf = nil
	}
	sd.closed = true
	sd.epoch++
	if sd.timer != nil {
		sd.timer.Stop()
	}
	s.changed.Broadcast()
}

// set sets the deadline of sd, a side of s.
func (sd *side) set(s *stream, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sd.closed {
		return opError("set", net.ErrClosed)
	}
	if sd.timer != nil {
		sd.timer.Stop()
		sd.timer = nil
	}
	sd.epoch++
	wait := time.Until(t)
	sd.due = !t.IsZero() && wait <= 0
	if !t.IsZero() && wait > 0 {
		epoch := sd.epoch
		sd.timer = time.AfterFunc(wait, func() { sd.expire(s, epoch) })
	}
	s.changed.Broadcast()
	return nil
}

func (sd *side) expire(s *stream, epoch int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sd.epoch == epoch {
		sd.due = true
		s.changed.Broadcast()
	}
}

// errTimeout is the error of a net.Conn after a deadline; os.ErrDeadlineExceeded implements
// net.Error.
var errTimeout = os.ErrDeadlineExceeded
