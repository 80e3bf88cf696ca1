package wspool

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/foreign"
)

// NetConn returns the lease as a stream: each Write sends one message of messageType, and
// Read reads the bytes of one message after the other; a message of another type is an error.
// It is meant for an Exchange of [Unpaired]. ctx bounds all reads and writes, in addition to
// the deadlines, which end them with os.ErrDeadlineExceeded. A read that a deadline ends
// inside a message ends all reading, one that it ends before a message does no harm, nor does
// a deadline that passes while no Read runs; a write that it breaks off ends all writing. If
// the peer closes with code 1000, Read returns
// io.EOF; with another code, a [*CloseError].
//
// Close releases the lease, and returns nil. Reads run one at a time, and so do writes.
// NetConn itself does not block. After the end of the lease Read and Write fail with
// [ErrReleased].
func (c *Conn) NetConn(ctx context.Context, messageType int) net.Conn {
	s := &stream{c: c, kind: messageType}
	s.reads.parent, s.writes.parent = ctx, ctx
	return s
}

// stream is a Conn as a net.Conn.
type stream struct {
	c      *Conn
	kind   int
	reads  deadline
	writes deadline

	mu sync.Mutex     // held by Read
	r  *messageReader // of the message that has begun; nil: none has
}

func (s *stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx := s.reads.context()
	if err := s.reads.cause(ctx, ctx.Err()); err == os.ErrDeadlineExceeded {
		return 0, err // outside gorilla, so that a later deadline lets the message be read on
	}
	if s.r != nil {
		s.r.rebind(ctx)
	}
	for {
		if s.r == nil {
			kind, r, err := s.c.nextReader(ctx)
			if err != nil {
				return 0, s.reads.cause(ctx, endOf(err))
			}
			if kind != s.kind {
				return 0, fmt.Errorf("wspool: a message of type %d in a stream of type %d", kind, s.kind)
			}
			s.r = r
		}
		n, err := s.r.Read(p)
		if err == io.EOF {
			s.r, err = nil, nil
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, s.reads.cause(ctx, err)
		}
	}
}

func (s *stream) Write(p []byte) (int, error) {
	ctx := s.writes.context()
	if err := s.c.WriteMessage(ctx, s.kind, p); err != nil {
		return 0, s.writes.cause(ctx, err)
	}
	return len(p), nil
}

// endOf returns io.EOF for an end that the peer calls normal, and other errors unchanged.
func endOf(err error) error {
	var ce *CloseError
	if foreign.As(err, &ce) && ce.ByPeer && ce.Code == websocket.CloseNormalClosure {
		return io.EOF
	}
	return err
}

// atEnd reads the end of a message whose bytes have all been read.
func (s *stream) atEnd() {
	if !s.mu.TryLock() {
		return // a Read runs
	}
	defer s.mu.Unlock()
	if s.r != nil && !s.c.link.frames.State().Partial {
		s.r.Read(make([]byte, 1))
	}
}

func (s *stream) Close() error {
	s.atEnd()
	s.c.Release()
	s.reads.stop()
	s.writes.stop()
	return nil
}

func (s *stream) LocalAddr() net.Addr  { return s.c.link.ws.LocalAddr() }
func (s *stream) RemoteAddr() net.Addr { return s.c.link.ws.RemoteAddr() }

func (s *stream) SetReadDeadline(t time.Time) error {
	s.reads.set(t)
	return nil
}

func (s *stream) SetWriteDeadline(t time.Time) error {
	s.writes.set(t)
	return nil
}

func (s *stream) SetDeadline(t time.Time) error {
	s.reads.set(t)
	s.writes.set(t)
	return nil
}

// deadline provides a context for a deadline that can be changed while goroutines wait for
// that context.
type deadline struct {
	parent context.Context

	mu     sync.Mutex
	ctx    context.Context // nil: no deadline has been set
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

func (d *deadline) context() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx == nil {
		d.ctx, d.cancel = context.WithCancelCause(d.parent)
	}
	return d.ctx
}

// set replaces the deadline; zero is none. A goroutine that waits for the old deadline waits
// for the new one, unless the old one has passed.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	passed := d.timer != nil && !d.timer.Stop() // the timer ends ctx, or is about to
	d.timer = nil
	if d.ctx == nil || passed || d.ctx.Err() != nil {
		d.ctx, d.cancel = context.WithCancelCause(d.parent)
	}
	if t.IsZero() {
		return
	}
	cancel := d.cancel
	if wait := time.Until(t); wait > 0 {
		d.timer = time.AfterFunc(wait, func() { cancel(os.ErrDeadlineExceeded) })
	} else {
		cancel(os.ErrDeadlineExceeded)
	}
}

// stop releases the context.
func (d *deadline) stop() {
	d.set(time.Time{})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cancel(nil)
}

// cause returns err, or os.ErrDeadlineExceeded if the deadline of ctx passed.
func (d *deadline) cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && context.Cause(ctx) == os.ErrDeadlineExceeded {
		return os.ErrDeadlineExceeded
	}
	return err
}
