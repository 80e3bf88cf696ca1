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
}

var _ net.Conn = (*Conn)(nil)

// Pipe returns the two ends of a connection that holds size bytes each way.
func Pipe(size int) (*Conn, *Conn) {
	a, b := newStream(size), newStream(size)
	return &Conn{in: a, out: b}, &Conn{in: b, out: a}
}

// Read returns what has come, io.EOF after the other end was closed.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	if err != nil && err != io.EOF {
		err = opError("read", err)
	}
	return n, err
}

// TryRead is Read that does not wait: where nothing has come in it returns 0
// and no error.
func (c *Conn) TryRead(p []byte) (int, error) {
	if c.in.waiting() {
		return 0, nil
	}
	return c.Read(p)
}

// Write waits while the buffer is full. Once the other end is closed it fails
// with EPIPE.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	if err != nil {
		err = opError("write", err)
	}
	return n, err
}

// Close ends both directions. The other end reads what was written before.
func (c *Conn) Close() error {
	c.in.close(true)
	c.out.close(false)
	return nil
}

// LocalAddr and RemoteAddr name the network alone.
func (c *Conn) LocalAddr() net.Addr  { return addr{} }
func (c *Conn) RemoteAddr() net.Addr { return addr{} }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline bounds reads, those that run included. Zero: no bound.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.in.reader.set(c.in, t) }

// SetWriteDeadline bounds writes, those that run included. Zero: no bound.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.out.writer.set(c.out, t) }

// stream is one direction.
type stream struct {
	mu     sync.Mutex
	moved  sync.Cond // something changed
	size   int
	buf    []byte
	reader side
	writer side
}

// side is one end of a stream.
type side struct {
	closed bool
	due    bool // the deadline has passed
	timer  *time.Timer
	epoch  int // counts deadlines, so that a late timer of an old one is nothing
}

func newStream(size int) *stream {
	s := &stream{size: size}
	s.moved.L = &s.mu
	return s
}

// waiting reports whether a read would wait.
func (s *stream) waiting() bool {
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
			s.moved.Broadcast()
			return n, nil
		case s.writer.closed:
			return 0, io.EOF
		}
		s.moved.Wait()
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
			s.moved.Broadcast()
			continue
		}
		s.moved.Wait()
	}
}

// close ends one side: the reading one, whose buffer is dropped, or the writing
// one.
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
	s.moved.Broadcast()
}

// set gives sd, a side of s, a new deadline.
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
	s.moved.Broadcast()
	return nil
}

func (sd *side) expire(s *stream, epoch int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sd.epoch == epoch {
		sd.due = true
		s.moved.Broadcast()
	}
}

// errTimeout is what a net.Conn returns after a deadline: os.ErrDeadlineExceeded
// is a net.Error by itself.
var errTimeout = os.ErrDeadlineExceeded
