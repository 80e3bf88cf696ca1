package wspool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/foreign"
	"github.com/respool/respool/wspool/internal/wsconn"
)

// ReadMessage returns the next message: its type, websocket.TextMessage or
// websocket.BinaryMessage, and its bytes, which are the caller's. It blocks until a whole
// message has arrived.
//
// It fails with the error that ended the connection: a [*CloseError], an error of the
// network, [ErrSilent], [ErrReadLimit], [ErrUnsolicited] or the error of OnUnsolicited. If
// the connection had been used before and nothing of an answer arrived, the error matches
// [ErrStale] as well. It fails with [ErrReleased] as soon as the lease ends, with
// [ErrUnfinished] while a message is open in NextReader, and with ctx's error when ctx
// ends; a ctx that ends within the first moments of the read may be heeded up to 20 ms
// late (see hookWithin). If ctx ended before the message began, the lease may read again;
// but unless Exchange is [Unpaired] the connection is destroyed at the end of the lease,
// because the message may still come. If ctx ended inside the message, nothing more can be
// read.
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
func (c *lease) readWhole(ctx context.Context, m incoming) (p []byte, err error) {
	l := c.link
	p, err = l.readAll(m)
	if err = c.endMessage(ctx, m.whole != nil, err); err != nil {
		p = nil
	}
	l.readTurn.give()
	return p, err
}

// ReadJSON reads the next message into v as [encoding/json] does. It blocks and fails as
// ReadMessage, and if the message is not JSON that fits v; the message has been read then.
func (c *Conn) ReadJSON(ctx context.Context, v any) error {
	_, p, err := c.ReadMessage(ctx)
	if err != nil {
		return err
	}
	return decodeJSON(p, v)
}

func decodeJSON(p []byte, v any) error {
	if err := json.Unmarshal(p, v); err != nil {
		return fmt.Errorf("wspool: message is not the JSON that was expected: %w", err)
	}
	return nil
}

// NextReader returns the type of the next message and a reader of its bytes as they
// arrive. It blocks until a message has begun, and fails as ReadMessage. ctx bounds the
// reader too.
//
// The message must be read to its end, io.EOF, before the next one is read, which fails
// with [ErrUnfinished] until then, and before the lease ends, or the connection is
// destroyed; after that the reader returns [ErrReleased]. The reader is for one goroutine
// at a time.
func (c *Conn) NextReader(ctx context.Context) (messageType int, r io.Reader, err error) {
	kind, rd, err := c.nextReader(ctx)
	if err != nil {
		return 0, nil, err
	}
	return kind, rd, nil
}

// nextReader is NextReader.
func (c *Conn) nextReader(ctx context.Context) (messageType int, rd *messageReader, err error) {
	defer runtime.KeepAlive(c)
	m, err := c.next(ctx, false)
	if err != nil {
		return 0, nil, c.orReleased(err)
	}
	l := c.link
	l.mu.Lock()
	l.freeLocked() // between its reads; the open message keeps others from reading
	c.state.running--
	l.mu.Unlock()
	l.readTurn.give()
	rd = &messageReader{c: c, ctx: ctx, r: m.r, whole: m.whole != nil, left: l.hub.cfg.ReadLimit}
	if rd.whole {
		rd.r = bytes.NewReader(m.whole)
	}
	if l.hub.cfg.CheckUTF8 && m.kind == websocket.TextMessage {
		rd.text = new(wsconn.TextCheck)
	}
	return m.kind, rd, nil
}

// messageReader reads one message piece by piece.
type messageReader struct {
	c     *Conn
	ctx   context.Context
	r     io.Reader
	whole bool // r reads a copy of the message, which was taken already
	left  int64
	text  *wsconn.TextCheck // nil: not checked
	err   error             // what the last Read returned, for ever
}

func (r *messageReader) Read(p []byte) (n int, err error) {
	if r.err != nil {
		return 0, r.err
	}
	defer runtime.KeepAlive(r.c)
	l := r.c.link
	l.mu.Lock()
	if l.lease != r.c.lease || l.watch.reader != noReader {
		l.mu.Unlock()
		return 0, ErrReleased
	}
	r.c.state.running++
	l.watch.reader = leaseReader
	l.mu.Unlock()
	n, err = r.r.Read(p)
	if r.left -= int64(n); r.left < 0 && (err == nil || err == io.EOF) {
		n, err = 0, ErrReadLimit
	}
	if r.text != nil && (err == nil || err == io.EOF) && !r.text.Feed(p[:n], err == io.EOF) {
		n, err = 0, ErrNotUTF8
	}
	if err == nil {
		l.mu.Lock()
		l.freeLocked()
		r.c.state.running--
		l.mu.Unlock()
		return n, nil
	}
	if err = r.c.endMessage(r.ctx, r.whole, err); err == nil {
		err = io.EOF
	}
	r.err = r.c.orReleased(err)
	return n, r.err
}

// rebind makes ctx bound the rest of the message in place of the context before, also if that
// has ended since the last Read. Both must be able to end. No Read may run.
func (r *messageReader) rebind(ctx context.Context) {
	if r.ctx == ctx {
		return
	}
	r.ctx = ctx
	if r.err != nil {
		return
	}
	l := r.c.link
	l.mu.Lock()
	if l.lease != r.c.lease || !l.end.usable() { // the interruption may be for that
		l.mu.Unlock()
		return
	}
	unhook := l.raw.Rebind(ctx)
	l.mu.Unlock()
	if unhook != nil {
		unhook()
	}
	l.raw.HookContext(false)
}

// next waits for the turn to read and for a message to begin, which is the caller's to
// read then. If it succeeds endMessage must be called, and the turn given back; if it
// fails nothing is to be ended. In a soft read, a ctx that ends before a message has begun
// harms nothing and makes it return errQuiet, and ctx does not interrupt a message that
// has begun.
func (c *lease) next(ctx context.Context, soft bool) (m incoming, err error) {
	ended := ctx.Err() != nil
	if err := c.openRead(ctx, boundOf(ctx), soft); err != nil {
		return m, err
	}
	m, again, err := c.tryNext(ctx, ended, soft)
	for again {
		ended = ctx.Err() != nil
		c.link.mu.Lock()
		m, again, err = c.tryNext(ctx, ended, soft)
	}
	if err != nil {
		c.closeRead(ctx)
	}
	return m, err
}

// openRead waits for the turn to read and begins a read that bound interrupts; nil: nothing does. If
// it succeeds the caller has readTurn and mu, and the read ends with closeRead or endMessage.
func (c *lease) openRead(ctx, bound context.Context, soft bool) error {
	l := c.link
	l.mu.Lock()
	if l.lease != c {
		l.mu.Unlock()
		return ErrReleased
	}
	c.state.running++
	if !l.readTurn.try() {
		l.mu.Unlock()
		turn := l.readTurn.join()
		select {
		case <-turn:
		case <-ctx.Done():
			l.readTurn.leave(turn)
			c.finish()
			return c.abandoned(ctx, soft)
		}
		l.mu.Lock()
	}
	if l.watch.open { // its messageReader has a read of its own under way
		c.state.running--
		l.mu.Unlock()
		l.readTurn.give()
		return fmt.Errorf("wspool: read: %w: the message before was not read to its end", ErrUnfinished)
	}
	l.holder.ready = nil
	l.raw.BeginRead(bound, soft)
	return nil
}

// closeRead ends a read that has found no message.
func (c *lease) closeRead(ctx context.Context) {
	c.endRead(ctx, false)
	c.link.readTurn.give()
	c.finish()
}

// endRead ends the read that next has begun. whole says that it was successful.
func (c *lease) endRead(ctx context.Context, whole bool) {
	if ctx.Done() != nil {
		c.link.raw.EndRead(whole)
	}
}

// hookWithin is how long the monitor may take to make the context of a read interrupt it:
// a context that ends before is heeded that much later.
const hookWithin = 10 * time.Millisecond

// tryNext is one attempt of next. ended says that ctx had ended before mu was locked: its methods may be
// the caller's. again says that another attempt is needed. It is called with mu held and returns without.
func (c *lease) tryNext(ctx context.Context, ended, soft bool) (m incoming, again bool, err error) {
	l := c.link
	switch {
	case l.lease != c:
		err = ErrReleased
	case ended:
		l.mu.Unlock()
		return m, false, c.abandoned(ctx, soft)
	case l.watch.pending.r != nil:
		switch {
		case l.raw.Enter():
			m, l.watch.pending = l.watch.pending, incoming{}
			l.watch.reader = leaseReader
			c.openLocked()
		case l.end.cause != nil: // the read was interrupted for that
			err = l.end.cause
		default:
			again = true
		}
	case l.end.cause != nil:
		err = l.end.cause
	case l.watch.reader == noReader:
		l.disarmLocked()
		l.watch.reader = leaseReader
		l.mu.Unlock()
		if l.hub.monitor.step > hookWithin {
			l.raw.HookContext(false)
		}
		return c.readDirect(ctx, nil)
	default: // a watcher reads
		if l.ready == nil {
			l.ready = make(chan struct{}, 1)
		}
		ready, gone := l.ready, l.end.done()
		l.mu.Unlock()
		select {
		case <-ready:
		case <-gone:
		case <-ctx.Done():
		}
		return m, true, nil
	}
	l.mu.Unlock()
	return m, again, err
}

// openLocked notes that the lease begins to read a message.
func (c *lease) openLocked() {
	c.state.received()
	c.link.watch.open = true
	c.servedLocked()
}

// readDirect is tryNext where the lease itself is the reader. A message that is taken in one
// piece is appended to dst, unless that is nil.
func (c *lease) readDirect(ctx context.Context, dst []byte) (m incoming, again bool, err error) {
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
		l.freeLocked()
	case !l.frames.MessagePending():
		l.startWatchLocked() // the watcher finds out why the connection ends
	case !c.expects(), l.heartbeat.owesAnswer(): // the watcher decides to which lease the message belongs
		l.raw.StayOutside()
		l.startWatchLocked()
	default:
		c.openLocked()
		var whole bool
		m.kind, m.whole, whole = l.frames.TakeMessage(l.hub.cfg.ReadLimit, dst)
		l.mu.Unlock()
		if whole {
			m.added = dst != nil
			return m, false, nil
		}
		m.kind, m.r, err = l.ws.NextReader()
		if err == nil {
			return m, false, nil
		}
		err = c.readFailed(ctx, err)
		l.mu.Lock()
		l.freeLocked()
		l.mu.Unlock()
		return incoming{}, false, err
	}
	l.mu.Unlock()
	return m, true, nil
}

// endMessage ends the message that next has begun: it was read, or reading it failed with
// err. whole says that it was taken in one piece.
func (c *lease) endMessage(ctx context.Context, whole bool, err error) error {
	l := c.link
	if err == nil || err == io.EOF {
		if !whole {
			l.frames.MessageDone()
		}
		err = nil
	} else {
		err = c.readFailed(ctx, err)
	}
	c.endRead(ctx, err == nil)
	l.handleControls()
	l.mu.Lock()
	defer l.mu.Unlock()
	c.state.running--
	l.watch.open = err != nil // the rest of it is in the way
	l.freeLocked()
	if l.keepalive.readOn(l.hub.clock, l.frames.LastRead.Load()) && l.watchableLocked() {
		l.startWatchLocked()
	}
	return err
}

// readFailed takes the connection out of use after gorilla could not read on, which it
// never can again, and returns why.
func (c *lease) readFailed(ctx context.Context, err error) error {
	l := c.link
	if cause := l.cause(); cause != nil {
		return cause // the read was interrupted for that
	}
	if foreign.Is(err, ErrReadLimit) {
		l.fail(refuseLength(l.ws, err, l.hub.cfg.ReadLimit))
		return l.cause()
	}
	if foreign.Is(err, ErrNotUTF8) {
		l.fail(refuseText(l.ws, err))
		return l.cause()
	}
	if foreign.Timeout(err) {
		if ctx.Err() != nil {
			err = fmt.Errorf("wspool: read: %w", causeOf(ctx, err))
		}
		l.fail(fmt.Errorf("%w: a read was broken off", ErrUnfinished))
		return err
	}
	l.fail(readError(err))
	return l.cause()
}

// abandoned returns the error of a read whose ctx ended before a message began.
func (c *lease) abandoned(ctx context.Context, soft bool) error {
	if soft {
		return errQuiet
	}
	err := fmt.Errorf("wspool: read: %w", ctx.Err())
	if l := c.link; l.hub.cfg.Exchange != Unpaired && !c.early {
		l.mu.Lock()
		l.dirt.giveUp(fmt.Errorf("%w: %w", ErrUnread, err))
		l.mu.Unlock()
	}
	return err
}

// errQuiet: no message has begun within the time of a read.
var errQuiet = errors.New("wspool: no message has come")

var errNoEnd = errors.New("wspool: Drain needs a quiet time or a function that says when it is over")

// Drain reads and drops messages until none has arrived for quiet, or done returns true
// for one, which is the last to be dropped. It is for messages that may follow the last
// one that the caller wants: an optional trailer, or the rest of an answer that was
// cancelled. quiet must be positive, or done not nil; with a quiet of 0 only done ends it.
//
// If done has returned true, the exchange of the lease counts as complete in the sense of
// [Config.Exchange], also if a read was given up before because its ctx ended. After mere
// silence it does not: an answer of which nothing has arrived since the last write may
// still come. Dropped messages do not count as answers with [ReplyEach]; with [ReplyLast]
// one that arrives after the last write does.
//
// It blocks until then and fails as [Conn.ReadMessage], also with ctx's error when ctx
// ends first, after which the connection is destroyed at the end of the lease, unless
// Exchange is [Unpaired]. Waiting for silence harms nothing. Drain may run beside a
// write; reads wait for each other. done is called on the caller's goroutine, may call
// other methods of c, such as WriteMessage to answer a ping, and may keep the message.
func (c *Conn) Drain(ctx context.Context, quiet time.Duration, done func(Message) bool) error {
	defer runtime.KeepAlive(c)
	if quiet <= 0 && done == nil {
		return errNoEnd
	}
	l := c.link
	for {
		m, err := c.nextWithin(ctx, quiet)
		if err == errQuiet {
			return nil
		}
		if err != nil {
			return c.orReleased(err)
		}
		l.hub.count.late.Add(1)
		l.mu.Lock()
		c.state.dropped()
		l.mu.Unlock()
		p, err := c.readWhole(ctx, m)
		if err != nil {
			return c.orReleased(err)
		}
		if done != nil && done(Message{m.kind, p}) {
			l.mu.Lock()
			defer l.mu.Unlock()
			c.state.complete()
			if l.lease == c.lease {
				l.dirt.forgive()
			}
			return nil
		}
	}
}

// nextWithin is next, or errQuiet if no message begins within quiet; 0: no limit.
func (c *lease) nextWithin(ctx context.Context, quiet time.Duration) (incoming, error) {
	if quiet <= 0 {
		return c.next(ctx, false)
	}
	for {
		m, err := c.nextSoft(ctx, quiet)
		if err != errQuiet {
			return m, err
		}
		if ctx.Err() != nil {
			return m, c.abandoned(ctx, false)
		}
		if c.silent() {
			return m, errQuiet
		}
	}
}

// nextSoft waits for a message to begin, for at most quiet. Once a message has begun
// only ctx bounds it.
func (c *lease) nextSoft(ctx context.Context, quiet time.Duration) (incoming, error) {
	limited, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	m, err := c.next(limited, true)
	if err == nil {
		if ctx.Done() == nil {
			ctx = nil
		}
		c.link.raw.Harden(ctx)
	}
	return m, err
}

// silent reports whether no unread part of a message has arrived.
func (c *lease) silent() bool {
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watch.reader == noReader && l.watch.pending.r == nil && l.raw.CanPoll() {
		if _, known := l.frames.TryPoll(false); !known {
			return false // what has arrived is found by the next read
		}
	}
	arrived := l.frames.State()
	return l.watch.pending.r == nil && !arrived.MessagePending && !arrived.Partial
}
