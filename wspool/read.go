package wspool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
)

// ReadMessage returns the next message: its type, websocket.TextMessage or
// websocket.BinaryMessage, and its bytes, which are the caller's. It blocks
// until a message has come whole.
//
// It fails with a [*CloseError] when the peer has closed, with the error of the
// network, with [ErrUnsolicited], with [ErrReadLimit], with [ErrReleased] as soon
// as the lease ends, or with ctx's error when ctx ends. A wait abandoned before
// the message began does not hurt the connection, and the lease may read again;
// but the connection is destroyed when the lease ends if the message was the
// answer to one of the lease's, since it would reach the next caller. A message
// abandoned in its midst ends the reading.
func (c *Conn) ReadMessage(ctx context.Context) (messageType int, p []byte, err error) {
	l := c.link
	if !l.begin(c) {
		return 0, nil, ErrReleased
	}
	defer l.finish(c)
	select {
	case l.readTurn <- struct{}{}:
		defer func() { <-l.readTurn }()
	case <-ctx.Done():
		return 0, nil, c.orReleased(c.abandoned(ctx))
	}
	m, stop, err := c.next(ctx)
	if err != nil {
		return 0, nil, c.orReleased(err)
	}
	p, err = l.readAll(m.r)
	if err = c.endMessage(ctx, stop, err); err != nil {
		return 0, nil, c.orReleased(err)
	}
	return m.kind, p, nil
}

// ReadJSON reads the next message into v as [encoding/json] does. It blocks and
// fails as ReadMessage, and if the message is not JSON that fits v; then the
// message has been read.
func (c *Conn) ReadJSON(ctx context.Context, v any) error {
	_, p, err := c.ReadMessage(ctx)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(p, v); err != nil {
		return fmt.Errorf("wspool: message is not the JSON that was expected: %w", err)
	}
	return nil
}

// NextReader returns the type of the next message and a reader of its bytes as
// they come in. It blocks until a message has begun, and fails as ReadMessage.
// ctx goes for the reader too.
//
// The message must be read to its end, io.EOF, before the next is read, which
// fails with [ErrUnfinished] until then, and before the lease ends, or the
// connection is destroyed. The reader is for one goroutine at a time.
func (c *Conn) NextReader(ctx context.Context) (messageType int, r io.Reader, err error) {
	l := c.link
	if !l.begin(c) {
		return 0, nil, ErrReleased
	}
	defer l.finish(c)
	select {
	case l.readTurn <- struct{}{}:
		defer func() { <-l.readTurn }()
	case <-ctx.Done():
		return 0, nil, c.orReleased(c.abandoned(ctx))
	}
	m, stop, err := c.next(ctx)
	if err != nil {
		return 0, nil, c.orReleased(err)
	}
	l.mu.Lock()
	l.free() // between its reads; the open message keeps others away
	l.mu.Unlock()
	return m.kind, &reading{c: c, ctx: ctx, r: m.r, left: l.hub.cfg.ReadLimit, stop: stop}, nil
}

// reading is a message that a lease reads piece by piece.
type reading struct {
	c    *Conn
	ctx  context.Context
	r    io.Reader
	left int64
	stop func() bool
	err  error // what the last Read returned, for ever
}

func (r *reading) Read(p []byte) (n int, err error) {
	if r.err != nil {
		return 0, r.err
	}
	l := r.c.link
	if !l.resume(r.c) {
		return 0, ErrReleased
	}
	defer l.finish(r.c)
	n, err = r.r.Read(p)
	if r.left -= int64(n); r.left < 0 && (err == nil || err == io.EOF) {
		n, err = 0, ErrReadLimit
	}
	if err == nil {
		l.mu.Lock()
		l.free()
		l.mu.Unlock()
		return n, nil
	}
	if err = r.c.endMessage(r.ctx, r.stop, err); err == nil {
		err = io.EOF
	}
	r.err = r.c.orReleased(err)
	return n, r.err
}

// resume is begin for a read of the open message.
func (l *link) resume(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tenant != c || l.reader != nobody {
		return false
	}
	c.running++
	l.reader = lessee
	return true
}

// next waits for a message to begin, which is then the caller's to read; it has
// the turn. endMessage must be called at its end, with stop.
func (c *Conn) next(ctx context.Context) (m incoming, stop func() bool, err error) {
	l := c.link
	op := l.wire.startOp()
	if ctx.Done() != nil {
		stop = context.AfterFunc(ctx, func() { l.wire.breakOff(op) })
	}
	for {
		m, again, err := c.tryNext(ctx)
		if !again {
			if err != nil {
				l.wire.stopOp(false)
				if stop != nil {
					stop()
				}
			}
			return m, stop, err
		}
	}
}

// tryNext is one step of next. again says that it is to be tried once more.
func (c *Conn) tryNext(ctx context.Context) (m incoming, again bool, err error) {
	l := c.link
	l.mu.Lock()
	switch {
	case l.tenant != c:
		err = ErrReleased
	case l.open:
		err = fmt.Errorf("wspool: read: %w: the message before was not read to its end", ErrUnfinished)
	case ctx.Err() != nil:
		l.mu.Unlock()
		return m, false, c.abandoned(ctx)
	case l.pending.r != nil:
		switch {
		case l.wire.enter():
			m, l.pending = l.pending, incoming{}
			l.reader = lessee
			c.receive()
		case l.cause != nil: // it was broken off for that
			err = l.cause
		default:
			again = true
		}
	case l.cause != nil:
		err = l.cause
	case l.reader == nobody:
		l.reader = lessee
		l.mu.Unlock()
		return c.direct(ctx)
	default: // there is a watcher
		l.mu.Unlock()
		select {
		case <-l.ready:
		case <-l.broken:
		case <-ctx.Done():
		}
		return m, true, nil
	}
	l.mu.Unlock()
	return m, again, err
}

// receive counts a message that c begins to read. The link is locked.
func (c *Conn) receive() {
	c.in++
	c.awaiting = false
	c.link.open = true
	c.link.served(c)
}

// served notes that the link has done c some good. It is locked.
func (l *link) served(c *Conn) {
	if !l.proved && !c.detached {
		l.proved = true
		l.tie.proved()
	}
}

// direct is tryNext where the caller itself reads.
func (c *Conn) direct(ctx context.Context) (m incoming, again bool, err error) {
	l := c.link
	interrupted := false
	for !interrupted && !l.tap.begun() && !l.tap.stirred() {
		interrupted = l.tap.await() != nil
	}
	l.mu.Lock()
	switch {
	case interrupted:
		l.free()
	case !l.tap.begun() || !c.expects(): // a watcher knows what to do with it
		l.startWatch()
	case !l.wire.enter():
		l.free()
	default:
		l.mu.Unlock()
		return c.inside(ctx)
	}
	l.mu.Unlock()
	return m, true, nil
}

// inside has gorilla begin the message that has begun to come in.
func (c *Conn) inside(ctx context.Context) (m incoming, again bool, err error) {
	l := c.link
	m.kind, m.r, err = l.ws.NextReader()
	if err != nil {
		err = c.readFailed(ctx, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.free()
		return incoming{}, false, err
	}
	c.receive()
	return m, false, nil
}

// endMessage ends what next began: the message was read, or reading it failed
// with err.
func (c *Conn) endMessage(ctx context.Context, stop func() bool, err error) error {
	l := c.link
	if err == nil || err == io.EOF {
		l.tap.finished()
		err = nil
	} else {
		err = c.readFailed(ctx, err)
	}
	l.wire.stopOp(err == nil)
	if stop != nil {
		stop()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = err != nil // what is left of it is in the way
	l.free()
	l.caughtUp()
	return err
}

// readFailed takes the connection out of use after gorilla could not read on,
// which it never can again, and returns why.
func (c *Conn) readFailed(ctx context.Context, err error) error {
	l := c.link
	if cause := l.why(); cause != nil {
		return cause // it was broken off for that
	}
	if errors.Is(err, ErrReadLimit) {
		l.tooBig()
		l.fail(fmt.Errorf("%w: it inflates to more than %d bytes", err, l.hub.cfg.ReadLimit))
		return l.why()
	}
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		if ctx.Err() != nil {
			err = fmt.Errorf("wspool: read: %w", causeOf(ctx, err))
		}
		l.fail(fmt.Errorf("%w: a read was broken off", ErrUnfinished))
		return err
	}
	l.fail(readError(err))
	return l.why()
}

// abandoned is what a read returns whose ctx ended before a message began.
func (c *Conn) abandoned(ctx context.Context) error {
	err := fmt.Errorf("wspool: read: %w", ctx.Err())
	if c.link.hub.cfg.Exchange != AnswerNone && !c.early {
		c.link.spoil(fmt.Errorf("%w: %w", ErrUnread, err), false)
	}
	return err
}
