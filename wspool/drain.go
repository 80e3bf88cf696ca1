package wspool

import (
	"context"
	"errors"
	"runtime"
	"time"
)

// errQuiet: no message has begun for as long as a read was to wait for one.
var errQuiet = errors.New("wspool: no message has come")

var errNoEnd = errors.New("wspool: Drain needs a quiet time or a function that says when it is over")

// Drain reads and drops messages, until none has come for quiet, or done returns
// true for one, which is the last to be dropped. It is for messages that may come
// behind the last one that the caller wants: an optional trailer, or what is
// under way of an answer that was cancelled. quiet must be positive, or done not
// nil; with a quiet of 0 only done ends it.
//
// If done has returned true, the exchange of the lease counts as complete, as
// [Config.Exchange] has it, also where a read was given up before because its ctx
// ended. After mere silence it does not: an answer of which
// nothing has come since the last write may still come. Dropped messages do not
// count as answers with [ReplyEach]; with [ReplyLast] one that comes after the
// last write does.
//
// It blocks until then and fails as [Conn.ReadMessage], also with ctx's error when
// ctx ends first, after which the connection is destroyed at the end of the lease,
// unless Exchange is [Unpaired]. The wait for silence spoils nothing. Drain may
// run beside a write; reads wait for each other. done is called on the caller's
// goroutine, may call other methods of c, such as WriteMessage to answer a ping,
// and may keep the message.
func (c *Conn) Drain(ctx context.Context, quiet time.Duration, done func(Message) bool) error {
	defer runtime.KeepAlive(c)
	if quiet <= 0 && done == nil {
		return errNoEnd
	}
	for {
		m, err := c.nextWithin(ctx, quiet)
		if err == errQuiet {
			return nil
		}
		if err != nil {
			return c.orReleased(err)
		}
		c.link.count(c.tenant)
		p, err := c.readWhole(ctx, m)
		if err != nil {
			return c.orReleased(err)
		}
		if done != nil && done(Message{m.kind, p}) {
			c.complete()
			return nil
		}
	}
}

// count notes that c drops the message that next has begun.
func (l *link) count(c *tenant) {
	l.hub.count.late.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	c.in--
	c.drained = true
}

// complete notes that no more messages are to come for what c has written.
func (c *tenant) complete() {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.awaiting = false
	c.in = c.out
	if c.gaveUp {
		c.gaveUp, c.link.taint = false, nil
	}
}

// nextWithin is next, but errQuiet if no message begins for that long; 0: for ever.
func (c *tenant) nextWithin(ctx context.Context, quiet time.Duration) (incoming, error) {
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
		if c.link.silent() {
			return m, errQuiet
		}
	}
}

// nextSoft waits for a message to begin, for at most quiet. A message that has
// begun is bound to ctx alone.
func (c *tenant) nextSoft(ctx context.Context, quiet time.Duration) (incoming, error) {
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

// silent reports whether no part of a message has come in that nobody has read.
func (l *link) silent() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reader == nobody && l.pending.r == nil && l.raw.CanPoll() {
		l.frames.Poll()
	}
	return l.pending.r == nil && !l.frames.State().MessagePending && !l.frames.State().Partial
}
