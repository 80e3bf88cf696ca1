package wspool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
)

// hearWait is how long a failed write waits for the reader, which knows better
// why the connection is gone: a close frame often came just before.
const hearWait = 100 * time.Millisecond

// lend makes the lease of a link a Conn. If it fails it has ended the lease.
func lend(ctx context.Context, lease resource.Lease[*link]) (*Conn, error) {
	l := lease.Value()
	if err := l.settle(ctx); err != nil {
		if errors.Is(err, ctx.Err()) {
			lease.Release()
		} else {
			lease.Discard(err)
		}
		return nil, err
	}
	c := &Conn{
		lease:    lease,
		link:     l,
		released: make(chan struct{}),
		box:      make(chan Message, 1),
		room:     make(chan struct{}, 1),
	}
	c.room <- struct{}{}
	l.mu.Lock()
	cause := l.cause
	if cause == nil {
		l.tenant = c
	}
	l.mu.Unlock()
	if cause != nil {
		lease.Discard(cause)
		return nil, cause
	}
	return c, nil
}

// end ends the lease once: by give if the link is clean, or if the caller has
// it destroyed anyway.
func (c *Conn) end(err error, destroy bool, give func(resource.Lease[*link])) {
	if c.early {
		c.endEarly(err, destroy)
		return
	}
	if !c.ended.CompareAndSwap(false, true) {
		return
	}
	taint := c.link.vacate(c, destroy)
	close(c.released)
	switch {
	case taint == nil || destroy:
		give(c.lease)
	case err != nil:
		c.lease.Discard(err)
	default:
		c.lease.Discard(taint)
	}
}

// vacate takes the link from c and returns why it is not clean.
func (l *link) vacate(c *Conn, destroy bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var taint error
	switch {
	case l.cause != nil:
		taint = l.cause
	case l.taint != nil:
		taint = l.taint
	case c.running > 0:
		taint = ErrUnfinished
	case l.incoming || len(c.box) > 0:
		taint = fmt.Errorf("%w: one is waiting", ErrUnread)
	case l.wire.torn():
		taint = fmt.Errorf("%w: part of one has come", ErrUnread)
	case c.awaiting && l.cfg.Exchange != AnswerNone:
		taint = fmt.Errorf("%w: none was read since the last was written", ErrUnread)
	}
	l.tenant = nil
	l.closing = destroy || taint != nil
	return taint
}

// begin notes that a read or write runs. It returns false if the lease is over.
func (l *link) begin(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tenant != c {
		return false
	}
	c.running++
	return true
}

func (l *link) finish(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.running--
}

// spoil has the link destroyed at the end of the lease; the first taint counts.
// mute says that nothing more can be sent.
func (l *link) spoil(taint error, mute bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.taint == nil {
		l.taint = taint
	}
	l.mute = l.mute || mute
}

// receive waits for a message in the box.
func (c *Conn) receive(ctx context.Context) (Message, error) {
	l := c.link
	if ctx.Err() == nil {
		select {
		case m := <-c.box:
			c.room <- struct{}{}
			return m, nil
		case <-c.released:
			return Message{}, ErrReleased
		case <-l.broken:
			select {
			case m := <-c.box: // it came before the end
				c.room <- struct{}{}
				return m, nil
			default:
			}
			return Message{}, l.why()
		case <-ctx.Done():
		}
	}
	err := fmt.Errorf("wspool: read: %w", ctx.Err())
	l.spoil(fmt.Errorf("%w: %w", ErrUnread, err), false)
	return Message{}, err
}

// why returns why the link must not be used.
func (l *link) why() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// send waits for its turn and writes one message.
func (c *Conn) send(ctx context.Context, kind int, data []byte) error {
	l := c.link
	if kind != websocket.TextMessage && kind != websocket.BinaryMessage {
		return fmt.Errorf("wspool: write: %d is not the type of a message", kind)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wspool: write: %w", err)
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-l.broken:
		return l.why()
	case <-c.released:
		return ErrReleased
	case <-ctx.Done():
		return fmt.Errorf("wspool: write: %w", ctx.Err())
	}
	if err := c.mayWrite(ctx); err != nil {
		return err
	}
	return c.write(ctx, kind, data)
}

// mayWrite notes that the lease writes, unless it must not. Whatever came in
// before its first write cannot be an answer to it; so that is dealt with first.
func (c *Conn) mayWrite(ctx context.Context) error {
	l := c.link
	l.mu.Lock()
	first := !c.wrote && l.cfg.Exchange != AnswerNone
	l.mu.Unlock()
	if first {
		if err := l.settle(ctx); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.tenant != c:
		return ErrReleased
	case l.cause != nil:
		return l.cause
	case l.mute:
		return fmt.Errorf("wspool: write: %w", l.taint)
	}
	c.wrote, c.awaiting = true, true
	return nil
}

// write sends one message; the caller has the turn.
func (c *Conn) write(ctx context.Context, kind int, data []byte) error {
	l := c.link
	by := time.Now().Add(l.cfg.WriteTimeout)
	if at, ok := ctx.Deadline(); ok && at.Before(by) {
		by = at
	}
	l.ws.SetWriteDeadline(by)
	stop := func() bool { return true }
	if ctx.Done() != nil {
		stop = context.AfterFunc(ctx, l.wire.sever)
	}
	err := l.ws.WriteMessage(kind, data)
	if !stop() || err != nil {
		l.spoil(fmt.Errorf("%w: a write was broken off", ErrUnfinished), true)
	}
	if err == nil {
		l.wire.calm()
		return nil
	}
	return c.writeError(ctx, err)
}

// writeError finds the true reason of a failed write.
func (c *Conn) writeError(ctx context.Context, err error) error {
	l := c.link
	var ne net.Error
	if timeout := errors.As(err, &ne) && ne.Timeout(); !timeout {
		t := time.NewTimer(hearWait)
		defer t.Stop()
		select {
		case <-l.broken:
			return l.why()
		case <-c.released:
			return ErrReleased
		case <-t.C:
		}
	}
	if err = causeOf(ctx, err); ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("wspool: write: %w", err)
}
