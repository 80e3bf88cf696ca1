package wspool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/foreign"
	"github.com/respool/respool/wspool/internal/wsconn"
)

// hearWait is how long a failed write waits for the reader, which knows better why the
// connection ended: a close frame often arrives just before.
const hearWait = 100 * time.Millisecond

// WriteMessage sends one message of type websocket.TextMessage or websocket.BinaryMessage,
// in fragments if it is longer than [Config.WriteFrameSize]. It waits for another write of
// the lease that is under way, and then until the network has taken the bytes, for as long
// as ctx allows and the network takes some within [Config.WriteTimeout]. data is not kept.
// Unless Exchange is [Unpaired], the first write of a lease also waits until everything
// that arrived before it, which cannot be an answer, was dealt with: see
// Config.OnUnsolicited. A first write within 2 µs after the acquire (lookAge) relies on
// what the acquire has found.
//
// If ctx ends before the write began, nothing was sent and nothing is wrong. If ctx ends
// during the write, or the write fails, the message is broken off: further writes fail,
// and the connection is destroyed when the lease ends. It fails as well with the error
// that ended the connection, as ReadMessage does, and with [ErrReleased]. A nil error does
// not mean that the peer has the message.
func (c *Conn) WriteMessage(ctx context.Context, messageType int, data []byte) error {
	defer runtime.KeepAlive(c)
	if err := c.link.hub.checkText(messageType, data); err != nil {
		return fmt.Errorf("wspool: write: %w", err)
	}
	return c.send(ctx, Message{messageType, data})
}

// write sends m over l. Gorilla sends a message that is long or compressed.
func write(l *link, m Message) error {
	if len(m.Data) <= min(wsconn.MaxShort, l.hub.cfg.WriteFrameSize) && !l.hub.cfg.Compression {
		return l.frames.WriteShort(m.Type, m.Data)
	}
	return l.ws.WriteMessage(m.Type, m.Data)
}

// WriteJSON sends v, encoded by [encoding/json], in one text message. It blocks and fails
// as WriteMessage, and if v cannot be encoded; then nothing was sent.
func (c *Conn) WriteJSON(ctx context.Context, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("wspool: write: %w", err)
	}
	return c.WriteMessage(ctx, websocket.TextMessage, data)
}

// WritePrepared sends a message that was prepared once for many connections, of a type
// that WriteMessage sends; the type is not checked. It blocks and fails as WriteMessage,
// but gorilla sends it in fragments of 4 KiB whatever [Config.WriteFrameSize] is, and masks
// it with the same key on all connections: it must not be a secret that an intermediary may
// not see.
func (c *Conn) WritePrepared(ctx context.Context, m *websocket.PreparedMessage) error {
	defer runtime.KeepAlive(c)
	return c.sendBy(ctx, websocket.BinaryMessage, func() error { return c.link.ws.WritePreparedMessage(m) })
}

// NextWriter returns a writer of one message, which is sent whenever
// [Config.WriteFrameSize] bytes were written, and ends with Close. It waits for another
// write of the lease that is under way; other writes, also of the same goroutine, wait for
// Close. It, Write and Close fail as WriteMessage; ctx bounds the writer too, and
// [Config.WriteTimeout] each piece. A Close that fails has not ended the message. A lease
// that ends with a writer open destroys the connection. The writer is for one goroutine at
// a time.
func (c *Conn) NextWriter(ctx context.Context, messageType int) (io.WriteCloser, error) {
	defer runtime.KeepAlive(c)
	l := c.link
	if err := c.readyToWrite(ctx, messageType); err != nil {
		return nil, err
	}
	defer c.finish()
	w, err := l.ws.NextWriter(messageType)
	if err != nil {
		l.writeTurn.give()
		return nil, c.orReleased(c.writeError(ctx, err))
	}
	l.mu.Lock()
	c.state.writing = true
	l.mu.Unlock()
	wr := &messageWriter{c: c, ctx: ctx, w: w}
	if l.hub.cfg.CheckUTF8 && messageType == websocket.TextMessage {
		wr.text = new(wsconn.TextCheck)
	}
	return wr, nil
}

// messageWriter writes one message piece by piece.
type messageWriter struct {
	c      *Conn
	ctx    context.Context
	w      io.WriteCloser
	text   *wsconn.TextCheck // nil: not checked
	broken error             // the text is not UTF-8, so nothing more may be written
	closed bool
}

func (w *messageWriter) Write(p []byte) (n int, err error) {
	w.check(p, false)
	err = w.step(func() error { n, err = w.w.Write(p); return err })
	return n, err
}

// check breaks the message off if p, of which nothing was sent, makes it invalid text.
func (w *messageWriter) check(p []byte, end bool) {
	if w.text != nil && w.broken == nil && !w.closed && !w.text.Feed(p, end) {
		w.broken = fmt.Errorf("wspool: write: %w", ErrNotUTF8)
		w.c.link.markDirty(fmt.Errorf("%w: %w", ErrUnfinished, w.broken), true)
	}
}

func (w *messageWriter) Close() error {
	if w.closed {
		return nil
	}
	w.check(nil, true)
	err := w.step(w.w.Close)
	if foreign.Is(err, ErrReleased) {
		return err
	}
	w.closed = true
	l := w.c.link
	l.mu.Lock()
	w.c.state.writing = false
	l.mu.Unlock()
	l.writeTurn.give()
	return err
}

// step writes one piece.
func (w *messageWriter) step(f func() error) error {
	defer runtime.KeepAlive(w.c)
	l := w.c.link
	if w.closed {
		return fmt.Errorf("wspool: write: %w", errWriterClosed)
	}
	if !w.c.begin() {
		return ErrReleased
	}
	defer w.c.finish()
	if w.broken != nil {
		return w.broken
	}
	if err := w.ctx.Err(); err != nil {
		err = fmt.Errorf("wspool: write: %w", err)
		l.markDirty(fmt.Errorf("%w: a write was broken off", ErrUnfinished), true)
		return err
	}
	if err := l.put(w.ctx, f); err != nil {
		return w.c.orReleased(w.c.writeError(w.ctx, err))
	}
	return nil
}

var errWriterClosed = errors.New("the writer is closed")

func isData(kind int) bool { return kind == websocket.TextMessage || kind == websocket.BinaryMessage }

func badType(kind int) error { return fmt.Errorf("%d is not the type of a message", kind) }

// checkText returns ErrNotUTF8 if Config.CheckUTF8 is set and data is a text message that
// is not UTF-8.
func (h *hub) checkText(kind int, data []byte) error {
	if h.cfg.CheckUTF8 && kind == websocket.TextMessage && !utf8.Valid(data) {
		return ErrNotUTF8
	}
	return nil
}

// send waits for its turn and writes one message.
func (c *lease) send(ctx context.Context, m Message) error {
	return c.sendBy(ctx, m.Type, func() error { return write(c.link, m) })
}

// sendBy waits for its turn and has write write one message.
func (c *lease) sendBy(ctx context.Context, kind int, write func() error) error {
	l := c.link
	if err := c.readyToWrite(ctx, kind); err != nil {
		return err
	}
	defer c.finish()
	defer l.writeTurn.give()
	if err := l.put(ctx, write); err != nil {
		return c.orReleased(c.writeError(ctx, err))
	}
	return nil
}

// readyToWrite acquires the turn to write. What has arrived before the first write of a
// lease cannot be an answer to it, so that is dealt with first, and before the turn is
// acquired, because OnUnsolicited may write an answer. If it fails nothing is to be ended.
func (c *lease) readyToWrite(ctx context.Context, kind int) error {
	l := c.link
	if !isData(kind) {
		return fmt.Errorf("wspool: write: %w", badType(kind))
	}
	ended := ctx.Err() // before the lock: ctx may be of a type of the caller's
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lease != c {
		return ErrReleased
	}
	if ended != nil {
		return fmt.Errorf("wspool: write: %w", ended)
	}
	c.state.running++
	err := c.tryWriteLocked()
	if err == errNotYet {
		l.mu.Unlock()
		err = c.awaitWrite(ctx)
		l.mu.Lock()
	}
	if err == nil {
		c.state.sent()
		return nil
	}
	c.state.running--
	l.mu.Unlock()
	err = c.orReleased(err)
	l.mu.Lock()
	return err
}

var errNotYet = errors.New("wspool: it has to wait")

// tryWriteLocked is readyToWrite without waiting: it returns errNotYet instead. If it
// returns nil the lease has the turn.
func (c *lease) tryWriteLocked() error {
	if err := c.writableLocked(); err != nil {
		return err
	}
	l := c.link
	if !c.expects() && !c.lookedLocked() && !l.lookLocked() {
		return errNotYet
	}
	if !l.writeTurn.try() {
		return errNotYet
	}
	return nil
}

// lookedLocked reports whether the look of attach is so recent that another would find the same.
func (c *lease) lookedLocked() bool {
	l := c.link
	return l.raw.CanAsk() && l.watch.free() && l.frames.Drained() && l.hub.clock.Now()-l.looked < int64(lookAge)
}

// writableLocked returns why the lease cannot write.
func (c *lease) writableLocked() error {
	l := c.link
	switch {
	case l.lease != c:
		return ErrReleased
	case l.end.cause != nil:
		return l.end.cause
	case l.dirt.mute:
		return fmt.Errorf("wspool: write: %w", l.dirt.why)
	}
	return nil
}

// awaitWrite waits where tryWriteLocked did not. If it returns nil the lease has the turn.
func (c *lease) awaitWrite(ctx context.Context) error {
	l := c.link
	l.mu.Lock()
	first, gone := !c.expects(), l.end.done()
	l.mu.Unlock()
	if first {
		if err := l.settle(ctx, quietWait); err != nil {
			return err
		}
	}
	turn := l.writeTurn.join()
	select {
	case <-turn:
	case <-gone:
		l.writeTurn.leave(turn)
		return l.cause()
	case <-ctx.Done():
		l.writeTurn.leave(turn)
		return fmt.Errorf("wspool: write: %w", ctx.Err())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	err := c.writableLocked()
	if err != nil {
		l.writeTurn.give()
	}
	return err
}

// put writes a message or a piece of one. The caller has the turn.
func (l *link) put(ctx context.Context, write func() error) error {
	l.raw.BeginMessage(ctx)
	err := write()
	l.raw.EndMessage()
	wrote(l, err)
	return err
}

// wrote notes that a message, or a piece of one, was written over l or failed with err.
func wrote(l *link, err error) {
	if l.heartbeat != nil {
		l.heartbeat.wrote(l.hub.clock.Now())
	}
	if err != nil || l.raw.Severed() {
		l.markDirty(fmt.Errorf("%w: a write was broken off", ErrUnfinished), true)
	}
}

// writeError returns the true reason of a failed write.
func (c *lease) writeError(ctx context.Context, err error) error {
	if c.ended.Load() {
		return err // orReleased replaces it
	}
	l := c.link
	if !foreign.Timeout(err) {
		l.mu.Lock()
		if l.watchableLocked() {
			l.startWatchLocked() // the watcher finds out
		}
		gone := l.end.done()
		l.mu.Unlock()
		t := time.NewTimer(hearWait)
		defer t.Stop()
		select {
		case <-gone:
			return l.cause()
		case <-t.C:
		}
	} else if cause := l.cause(); cause != nil && ctx.Err() == nil {
		return cause // the write was cut off for that
	}
	if err = causeOf(ctx, err); ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("wspool: write: %w", err)
}
