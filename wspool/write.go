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

// hearWait is how long a failed write waits for the reader, which knows better
// why the connection is gone: a close frame often came just before.
const hearWait = 100 * time.Millisecond

// WriteMessage sends one message of type websocket.TextMessage or
// websocket.BinaryMessage, in fragments if it is longer than
// [Config.WriteFrameSize]. It waits for another write of the lease that is under
// way, and then until the bytes are with the network, for as long as ctx allows
// and the network takes some within [Config.WriteTimeout]. data is not kept. Unless Exchange is
// [Unpaired], the first write of a lease also waits until what came in before
// it, which cannot be an answer, has been dealt with: see Config.OnUnsolicited.
//
// If ctx ends before the writing began, nothing was sent and nothing is wrong.
// If it ends during the writing, or the writing fails, the message is broken
// off: further writes fail, and the connection is destroyed when the lease
// ends. It fails as well with what ended the connection, as ReadMessage does, and
// with [ErrReleased]. That it returns nil does not mean that the peer has it.
func (c *Conn) WriteMessage(ctx context.Context, messageType int, data []byte) error {
	defer runtime.KeepAlive(c)
	if err := c.link.hub.checkText(messageType, data); err != nil {
		return fmt.Errorf("wspool: write: %w", err)
	}
	return c.send(ctx, messageType, func() error { return c.link.ws.WriteMessage(messageType, data) })
}

// WriteJSON sends v as [encoding/json] writes it, in one text message. It blocks
// and fails as WriteMessage, and if v cannot be written so; then nothing was
// sent.
func (c *Conn) WriteJSON(ctx context.Context, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("wspool: write: %w", err)
	}
	return c.WriteMessage(ctx, websocket.TextMessage, data)
}

// WritePrepared sends a message that was prepared once for many connections, of a
// type that WriteMessage sends, which is not checked. It blocks and fails as
// WriteMessage, but gorilla sends it in fragments of 4 KiB whatever
// [Config.WriteFrameSize] is, and masks it with the same key for all of them, so it must not be a secret that somebody on the way may not see.
func (c *Conn) WritePrepared(ctx context.Context, m *websocket.PreparedMessage) error {
	defer runtime.KeepAlive(c)
	return c.send(ctx, websocket.BinaryMessage, func() error { return c.link.ws.WritePreparedMessage(m) })
}

// NextWriter returns a writer of one message, which is sent whenever
// [Config.WriteFrameSize] bytes are written, and ends with Close. It waits for another write of the lease that
// is under way, and others, of the same goroutine too, wait for Close. It, Write
// and Close fail as WriteMessage; ctx goes for the writer too, and
// [Config.WriteTimeout] for each piece. A Close that fails has not ended the
// message. A lease that ends with a writer open destroys the connection. The
// writer is for one goroutine at a time.
func (c *Conn) NextWriter(ctx context.Context, messageType int) (io.WriteCloser, error) {
	defer runtime.KeepAlive(c)
	l := c.link
	if err := c.ready(ctx, messageType); err != nil {
		return nil, err
	}
	defer l.finish(c.tenant)
	w, err := l.ws.NextWriter(messageType)
	if err != nil {
		<-l.writeTurn
		return nil, c.orReleased(c.writeError(ctx, err))
	}
	l.mu.Lock()
	c.writing = true
	l.mu.Unlock()
	wr := &writing{c: c, ctx: ctx, w: w}
	if l.hub.cfg.CheckUTF8 && messageType == websocket.TextMessage {
		wr.text = new(wsconn.TextCheck)
	}
	return wr, nil
}

// writing is a message that a lease writes piece by piece.
type writing struct {
	c      *Conn
	ctx    context.Context
	w      io.WriteCloser
	text   *wsconn.TextCheck // nil: it is not checked
	broken error             // why nothing more may be written of a text that is none
	closed bool
}

func (w *writing) Write(p []byte) (n int, err error) {
	w.check(p, false)
	err = w.step(func() error { n, err = w.w.Write(p); return err })
	return n, err
}

// check breaks the message off if p, of which nothing was sent, makes it no text.
func (w *writing) check(p []byte, end bool) {
	if w.text != nil && w.broken == nil && !w.closed && !w.text.Feed(p, end) {
		w.broken = fmt.Errorf("wspool: write: %w", ErrNotUTF8)
		w.c.link.spoil(fmt.Errorf("%w: %w", ErrUnfinished, w.broken), true)
	}
}

func (w *writing) Close() error {
	if w.closed {
		return nil
	}
	w.check(nil, true)
	err := w.step(w.w.Close)
	if errors.Is(err, ErrReleased) {
		return err
	}
	w.closed = true
	l := w.c.link
	l.mu.Lock()
	w.c.writing = false
	l.mu.Unlock()
	<-l.writeTurn
	return err
}

// step does one piece of the writing.
func (w *writing) step(f func() error) error {
	defer runtime.KeepAlive(w.c)
	l := w.c.link
	if w.closed {
		return fmt.Errorf("wspool: write: %w", errWriterClosed)
	}
	if !l.begin(w.c.tenant) {
		return ErrReleased
	}
	defer l.finish(w.c.tenant)
	if w.broken != nil {
		return w.broken
	}
	if err := w.ctx.Err(); err != nil {
		err = fmt.Errorf("wspool: write: %w", err)
		l.spoil(fmt.Errorf("%w: a write was broken off", ErrUnfinished), true)
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

// send waits for its turn and writes one message.
func (c *tenant) send(ctx context.Context, kind int, write func() error) error {
	l := c.link
	if err := c.ready(ctx, kind); err != nil {
		return err
	}
	defer l.finish(c)
	defer func() { <-l.writeTurn }()
	if err := l.put(ctx, write); err != nil {
		return c.orReleased(c.writeError(ctx, err))
	}
	return nil
}

// ready waits for the turn, and notes that the lease writes, unless it must not.
// Whatever came in before its first write cannot be an answer to it; so that is
// dealt with first, and before the turn is taken, since it may call for an answer
// that is written. If it fails nothing is to be finished.
func (c *tenant) ready(ctx context.Context, kind int) error {
	l := c.link
	if !isData(kind) {
		return fmt.Errorf("wspool: write: %w", badType(kind))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tenant != c {
		return ErrReleased
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wspool: write: %w", err)
	}
	c.running++
	err := c.tryReady()
	if err == errNotYet {
		l.mu.Unlock()
		err = c.await(ctx)
		l.mu.Lock()
	}
	if err == nil {
		c.out++
		c.awaiting = true
		return nil
	}
	c.running--
	l.mu.Unlock()
	err = c.orReleased(err)
	l.mu.Lock()
	return err
}

var errNotYet = errors.New("wspool: it has to wait")

// tryReady is ready where nothing is to be waited for; else it returns
// errNotYet. If it returns nil it has the turn. The link is locked.
func (c *tenant) tryReady() error {
	l := c.link
	switch {
	case l.tenant != c:
		return ErrReleased
	case l.cause != nil:
		return l.cause
	case l.mute:
		return fmt.Errorf("wspool: write: %w", l.taint)
	case !c.expects() && !l.look():
		return errNotYet
	}
	select {
	case l.writeTurn <- struct{}{}:
		return nil
	default:
		return errNotYet
	}
}

// await waits for what tryReady has not waited for. If it returns nil the link
// is as tryReady leaves it.
func (c *tenant) await(ctx context.Context) error {
	l := c.link
	l.mu.Lock()
	first := !c.expects()
	l.mu.Unlock()
	if first {
		if err := l.settle(ctx, quietWait); err != nil {
			return err
		}
	}
	select {
	case l.writeTurn <- struct{}{}:
	case <-l.broken:
		return l.why()
	case <-ctx.Done():
		return fmt.Errorf("wspool: write: %w", ctx.Err())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	err := error(nil)
	switch {
	case l.tenant != c:
		err = ErrReleased
	case l.cause != nil:
		err = l.cause
	case l.mute:
		err = fmt.Errorf("wspool: write: %w", l.taint)
	default:
		return nil
	}
	<-l.writeTurn
	return err
}

// put writes a message or a piece of one; the caller has the turn.
func (l *link) put(ctx context.Context, write func() error) error {
	l.raw.BeginMessage(ctx)
	err := write()
	if h := l.heartbeat; h != nil {
		h.written.Store(l.hub.clock.Now())
	}
	if l.raw.EndMessage() || err != nil {
		l.spoil(fmt.Errorf("%w: a write was broken off", ErrUnfinished), true)
	}
	return err
}

// writeError finds the true reason of a failed write.
func (c *tenant) writeError(ctx context.Context, err error) error {
	l := c.link
	var ne net.Error
	if timeout := errors.As(err, &ne) && ne.Timeout(); !timeout {
		l.attend()
		t := time.NewTimer(hearWait)
		defer t.Stop()
		select {
		case <-l.broken:
			return l.why()
		case <-t.C:
		}
	} else if cause := l.why(); cause != nil && ctx.Err() == nil {
		return cause // it was broken off for that
	}
	if err = causeOf(ctx, err); ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("wspool: write: %w", err)
}

// attend puts a watcher to a link that nobody reads, if it may have one.
func (l *link) attend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reader == nobody && l.pending.r == nil && !l.open && !l.closing && l.cause == nil {
		l.startWatch()
	}
}
