package wspool

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/respool/respool/wspool/internal/wsconn"
)

// QuietPatience is how long after [Config.Quiet] a connection that a lease has given
// back may go on sending messages before it is destroyed.
const QuietPatience = 10 * time.Second

// quarantine is the time between a lease and the next in which every message that
// arrives belongs to the first. It begins with the end of the lease, before the pool
// knows of that, and the pool lends the connection when serveQuarantine has returned.
// The connection's lock guards it.
type quarantine struct {
	on    bool
	heard int64 // when the lease ended, or the last message after it arrived
}

func (q *quarantine) begin(now int64) { *q = quarantine{on: true, heard: now} }

// message notes that a message has arrived.
func (q *quarantine) message(now int64) { q.heard = now }

// left returns how much longer nothing may arrive.
func (q *quarantine) left(now, quiet int64) int64 { return q.heard + quiet - now }

// tryEnd ends the quarantine if nothing has arrived for quiet.
func (q *quarantine) tryEnd(now, quiet int64) bool {
	over := q.left(now, quiet) <= 0
	q.on = q.on && !over
	return over
}

// onRelease returns what the pool calls before it lends a connection again.
func (h *hub) onRelease() func(context.Context, *link) error {
	if h.cfg.Quiet == 0 {
		return nil // a call would cost more than the lease
	}
	return func(ctx context.Context, l *link) error { return l.serveQuarantine(ctx) }
}

// serveQuarantine waits until no message has arrived for Config.Quiet. It returns an
// error if that takes too long or the connection ends.
func (l *link) serveQuarantine(ctx context.Context) error {
	l.mu.Lock()
	if !l.quarantine.on {
		l.mu.Unlock()
		return nil
	}
	l.mu.Unlock()
	l.hub.count.quarantined.Add(1)
	defer l.hub.count.quarantined.Add(-1)
	quiet := int64(l.hub.cfg.Quiet)
	end := l.hub.clock.Now() + quiet + int64(QuietPatience)
	endless := fmt.Errorf("%w: messages still came %v after its end", ErrUnread, l.hub.cfg.Quiet+QuietPatience)
	for {
		now := l.hub.clock.Now()
		l.mu.Lock()
		left := l.quarantine.left(now, quiet)
		l.mu.Unlock()
		switch {
		case now > end:
			return endless
		case left > 0:
			if err := l.wait(ctx, time.Duration(min(left, end-now+1))); err != nil {
				return err
			}
			continue
		}
		// What has arrived just now, whole or in part, is late too.
		if err := l.settle(ctx, time.Duration(end-now+1)); errors.Is(err, wsconn.ErrNotQuiet) {
			return endless
		} else if err != nil {
			return err
		}
		l.mu.Lock()
		over := l.quarantine.tryEnd(now, quiet)
		l.mu.Unlock()
		if over {
			return nil
		}
	}
}

// wait waits for d. It returns an error as soon as the connection or ctx ends.
func (l *link) wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-l.end.broken:
		return l.cause()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
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
		if c.link.silent() {
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
func (l *link) silent() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watch.reader == noReader && l.watch.pending.r == nil && l.raw.CanPoll() {
		l.frames.Poll()
	}
	arrived := l.frames.State()
	return l.watch.pending.r == nil && !arrived.MessagePending && !arrived.Partial
}
