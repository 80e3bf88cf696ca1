package wspool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool/internal/wsconn"
)

// ReadMessage returns the next message: its type, websocket.TextMessage or
// websocket.BinaryMessage, and its bytes, which are the caller's. It blocks
// until a message has come whole.
//
// It fails with what ended the connection: a [*CloseError], the error of the
// network, [ErrSilent], [ErrReadLimit], [ErrUnsolicited] or what OnUnsolicited
// failed with. If the connection had been used before and nothing of an answer
// came, that matches [ErrStale] as well. It fails with [ErrReleased] as soon as
// the lease ends, with [ErrUnfinished] while a message is open in NextReader, and
// with ctx's error when ctx ends, which may be heeded up to 20 ms late where ctx
// ends in the first moments of the read. If that was before the message began the lease
// may read again; but unless Exchange is [Unpaired] the connection is destroyed
// at its end, since the message may still come. If it was in the midst of the
// message, nothing more can be read.
func (c *Conn) ReadMessage(ctx context.Context) (messageType int, p []byte, err error) {
	defer runtime.KeepAlive(c)
	m, err := c.next(ctx, false)
	if err != nil {
		return 0, nil, c.orReleased(err)
	}
	p, err = c.readWhole(ctx, m)
	return m.kind, p, c.orReleased(err)
}

// readWhole reads the message that next has begun, and ends it.
func (c *tenant) readWhole(ctx context.Context, m incoming) (p []byte, err error) {
	l := c.link
	p, err = l.readAll(m)
	if err = c.endMessage(ctx, err); err != nil {
		p = nil
	}
	<-l.readTurn
	return p, err
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
// connection is destroyed; after that the reader returns [ErrReleased]. The
// reader is for one goroutine at a time.
func (c *Conn) NextReader(ctx context.Context) (messageType int, r io.Reader, err error) {
	defer runtime.KeepAlive(c)
	m, err := c.next(ctx, false)
	if err != nil {
		return 0, nil, c.orReleased(err)
	}
	l := c.link
	l.mu.Lock()
	l.free() // between its reads; the open message keeps others away
	c.running--
	l.mu.Unlock()
	<-l.readTurn
	rd := &reading{c: c, ctx: ctx, r: m.r, left: l.hub.cfg.ReadLimit}
	if l.hub.cfg.CheckUTF8 && m.kind == websocket.TextMessage {
		rd.text = new(wsconn.TextCheck)
	}
	return m.kind, rd, nil
}

// reading is a message that a lease reads piece by piece.
type reading struct {
	c    *Conn
	ctx  context.Context
	r    io.Reader
	left int64
	text *wsconn.TextCheck // nil: it is not checked
	err  error             // what the last Read returned, for ever
}

func (r *reading) Read(p []byte) (n int, err error) {
	if r.err != nil {
		return 0, r.err
	}
	defer runtime.KeepAlive(r.c)
	l := r.c.link
	if !l.resume(r.c.tenant) {
		return 0, ErrReleased
	}
	n, err = r.r.Read(p)
	if r.left -= int64(n); r.left < 0 && (err == nil || err == io.EOF) {
		n, err = 0, ErrReadLimit
	}
	if r.text != nil && (err == nil || err == io.EOF) && !r.text.Feed(p[:n], err == io.EOF) {
		n, err = 0, ErrNotUTF8
	}
	if err == nil {
		l.mu.Lock()
		l.free()
		r.c.running--
		l.mu.Unlock()
		return n, nil
	}
	if err = r.c.endMessage(r.ctx, err); err == nil {
		err = io.EOF
	}
	r.err = r.c.orReleased(err)
	return n, r.err
}

// resume is begin for a read of the open message.
func (l *link) resume(c *tenant) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tenant != c || l.reader != nobody {
		return false
	}
	c.running++
	l.reader = lessee
	return true
}

// next waits for a message to begin, which is then the caller's to read, and for
// the turn to read. If it fails nothing is to be ended; else endMessage must be
// called, and the turn given back. If soft, that ctx ends before a message has
// begun spoils nothing and is errQuiet, and ctx does not break off a message that
// has begun.
func (c *tenant) next(ctx context.Context, soft bool) (m incoming, err error) {
	l := c.link
	l.mu.Lock()
	if l.tenant != c {
		l.mu.Unlock()
		return m, ErrReleased
	}
	c.running++
	select {
	case l.readTurn <- struct{}{}:
	default:
		l.mu.Unlock()
		select {
		case l.readTurn <- struct{}{}:
		case <-ctx.Done():
			l.finish(c)
			return m, c.abandoned(ctx, soft)
		}
		l.mu.Lock()
	}
	if l.open { // its reader has an op of its own; nobody else begins one while the turn is ours
		c.running--
		l.mu.Unlock()
		<-l.readTurn
		return m, fmt.Errorf("wspool: read: %w: the message before was not read to its end", ErrUnfinished)
	}
	l.startOp(ctx, soft)
	var again bool
	m, again, err = c.tryNext(ctx, soft)
	for again {
		l.mu.Lock()
		m, again, err = c.tryNext(ctx, soft)
	}
	if err != nil {
		l.stopOp(ctx, false)
		<-l.readTurn
		l.finish(c)
	}
	return m, err
}

// startOp has a read begin that ctx may break off; if soft, only before a message
// has begun. l is locked.
func (l *link) startOp(ctx context.Context, soft bool) {
	if ctx.Done() == nil {
		ctx = nil
	}
	l.raw.BeginRead(ctx, soft)
}

// stopOp ends what next began for ctx.
func (l *link) stopOp(ctx context.Context, whole bool) {
	if ctx.Done() != nil {
		l.raw.EndRead(whole)
	}
}

// hookWithin is how long the keeper may take to hook a read to its context: a
// context that ends before may be heeded as much later.
const hookWithin = 10 * time.Millisecond

// tryNext is one step of next. again says that it is to be tried once more. The
// link is locked when it is called, and not when it returns.
func (c *tenant) tryNext(ctx context.Context, soft bool) (m incoming, again bool, err error) {
	l := c.link
	switch {
	case l.tenant != c:
		err = ErrReleased
	case ctx.Err() != nil:
		l.mu.Unlock()
		return m, false, c.abandoned(ctx, soft)
	case l.pending.r != nil:
		switch {
		case l.raw.Enter():
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
		l.disarm()
		l.reader = lessee
		l.mu.Unlock()
		if l.hub.keeper.step > hookWithin {
			l.raw.HookContext(false)
		}
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
func (c *tenant) receive() {
	c.in++
	c.awaiting = false
	c.link.open = true
	c.link.served(c)
}

// served notes that the link has done c some good, and tells the gate the first
// time and once after each cause in the gate's doubts. It is locked.
func (l *link) served(c *tenant) {
	if c.detached {
		return
	}
	if doubts := l.hub.gate.doubts.Load(); !l.proved || l.doubts != doubts {
		l.proved, l.doubts = true, doubts
		l.tie.served()
	}
}

// direct is tryNext where the caller itself reads.
func (c *tenant) direct(ctx context.Context) (m incoming, again bool, err error) {
	l := c.link
	on := true
	if l.frames.MessagePending() {
		on = l.raw.Enter()
	}
	for on && !l.frames.MessagePending() && !l.frames.EndPending() {
		l.handleControls()
		on = l.frames.Await()
	}
	l.mu.Lock()
	switch {
	case !on:
		l.free()
	case !l.frames.MessagePending():
		l.startWatch() // a watcher knows what to do with it
	case !c.expects(), l.owesAnswer(): // so may a message that answers a heartbeat
		l.raw.StayOutside()
		l.startWatch()
	default:
		c.receive()
		l.mu.Unlock()
		return c.inside(ctx)
	}
	l.mu.Unlock()
	return m, true, nil
}

// inside has gorilla begin the message that has begun to come in.
func (c *tenant) inside(ctx context.Context) (m incoming, again bool, err error) {
	l := c.link
	m.kind, m.r, err = l.ws.NextReader()
	if err == nil {
		return m, false, nil
	}
	err = c.readFailed(ctx, err)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free()
	return incoming{}, false, err
}

// endMessage ends what next began: the message was read, or reading it failed
// with err.
func (c *tenant) endMessage(ctx context.Context, err error) error {
	l := c.link
	if err == nil || err == io.EOF {
		l.frames.MessageDone()
		err = nil
	} else {
		err = c.readFailed(ctx, err)
	}
	l.stopOp(ctx, err == nil)
	l.handleControls()
	l.mu.Lock()
	defer l.mu.Unlock()
	c.running--
	l.open = err != nil // what is left of it is in the way
	l.free()
	l.caughtUp()
	return err
}

// readFailed takes the connection out of use after gorilla could not read on,
// which it never can again, and returns why.
func (c *tenant) readFailed(ctx context.Context, err error) error {
	l := c.link
	if cause := l.why(); cause != nil {
		return cause // it was broken off for that
	}
	if errors.Is(err, ErrReadLimit) {
		l.fail(l.tooBig(err))
		return l.why()
	}
	if errors.Is(err, ErrNotUTF8) {
		l.fail(l.notUTF8(err))
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
func (c *tenant) abandoned(ctx context.Context, soft bool) error {
	if soft {
		return errQuiet
	}
	err := fmt.Errorf("wspool: read: %w", ctx.Err())
	if c.link.hub.cfg.Exchange != Unpaired && !c.early {
		c.link.spoilFor(c, fmt.Errorf("%w: %w", ErrUnread, err))
	}
	return err
}
