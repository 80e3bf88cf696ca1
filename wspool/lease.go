package wspool

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"github.com/respool/respool/resource"
)

// lease is one caller's use of a connection. The caller holds it through a [Conn];
// nothing that the pool holds leads to that Conn, so that the garbage collector can
// find a Conn that its caller has lost.
type lease struct {
	pooled   resource.Lease[*link] // the zero Lease if detached
	link     *link
	detached bool            // of OnConnect or a Health: no caller of the pool has it
	early    bool            // of OnConnect: Exchange does not apply
	given    *detachment     // of a detached lease; else nil
	ended    atomic.Bool     // the first end counts
	lost     runtime.Cleanup // calls dropped, if Config.Reclaim is set

	state leaseState // guarded by link.mu
}

// detachment is what a lease that is not the pool's can be asked for.
type detachment struct {
	info     resource.Info
	answer   atomic.Pointer[Response] // to the handshake, while OnConnect runs
	greeting *Message                 // guarded by link.mu; nil: none
}

// newConn returns a Conn for the next lease of l.
func newConn(l *link) *Conn {
	if l.hub.cfg.Reclaim {
		return &Conn{&lease{link: l}}
	}
	both := new(struct {
		conn  Conn
		lease lease
	}) // one allocation: without Reclaim neither has to become unreachable alone
	both.lease.link = l
	both.conn.lease = &both.lease
	return &both.conn
}

// end ends the lease once, and has the garbage collector no longer look for c.
func (c *Conn) end(err error, destroy bool, give func(resource.Lease[*link])) {
	defer runtime.KeepAlive(c)
	c.lost.Stop()
	c.lease.end(err, destroy, give)
}

// end ends the lease once. It calls give if the connection is clean, or if the caller
// wants it destroyed anyway; otherwise it destroys the connection.
func (c *lease) end(err error, destroy bool, give func(resource.Lease[*link])) {
	if !c.ended.CompareAndSwap(false, true) {
		return
	}
	dirty := c.link.detach(c, destroy)
	if destroy || dirty != nil {
		c.link.raw.UnhookContext() // of a reader that is still open
	}
	switch {
	case c.detached: // the connection is destroyed on any error
		switch {
		case err != nil:
			c.link.fail(err)
		case dirty != nil:
			c.link.fail(dirty)
		case destroy:
			c.link.fail(resource.ErrDiscarded)
		}
	case dirty == nil || destroy:
		give(c.pooled)
	case err != nil:
		c.pooled.Discard(err)
	default:
		c.pooled.Discard(dirty)
	}
}

// reclaimable has the lease ended if the garbage collector finds c unreachable.
func (c *Conn) reclaimable() {
	if c.link.hub.cfg.Reclaim {
		c.lost = runtime.AddCleanup(c, (*lease).dropped, c.lease)
	}
}

// dropped ends a lease whose Conn is unreachable. It does so on a goroutine of its own:
// ending a lease can take a while and calls user code, and cleanups must not block.
func (c *lease) dropped() {
	count := c.link.hub.count
	count.reclaims.begin()
	go func() {
		defer count.reclaims.end()
		c.end(ErrDropped, true, func(l resource.Lease[*link]) {
			count.dropped.Add(1)
			l.Discard(ErrDropped)
		})
	}()
}

// orReleased returns err, or ErrReleased if the lease has ended meanwhile: then the
// error is about the end of the connection after it. If the connection had been used
// before and nothing has arrived since, the error matches ErrStale as well.
func (c *lease) orReleased(err error) error {
	if err == nil {
		return nil
	}
	if c.ended.Load() {
		return ErrReleased
	}
	l := c.link
	l.mu.Lock()
	dead := l.end.cause != nil && errors.Is(err, l.end.cause) || l.dirt.mute
	stale := dead && c.state.in == 0 && !l.frames.State().MessagePending && !c.detached
	l.mu.Unlock()
	if !stale || errors.Is(err, ErrUnsolicited) || errors.Is(err, context.Canceled) ||
		errors.Is(err, context.DeadlineExceeded) || c.pooled.Info().Leases <= 1 {
		return err
	}
	l.mu.Lock()
	reported := c.state.stale
	c.state.stale = true
	l.mu.Unlock()
	if !reported {
		l.hub.stale()
	}
	return fmt.Errorf("%w: %w", ErrStale, err)
}

// unsent reports whether err is why the connection ended, and the lease has written
// nothing, so that the peer cannot have acted on it.
func (c *lease) unsent(err error) bool {
	if err == nil {
		return false
	}
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	return c.state.out == 0 && l.lease == c && l.end.cause != nil && errors.Is(err, l.end.cause)
}

// received reports whether the lease has read a message.
func (c *lease) received() bool {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.state.in > 0
}

// leaseState counts the messages of a lease and decides whether the exchange is
// complete.
type leaseState struct {
	running int  // reads and writes that have not returned
	out, in int  // messages written, and begun to be read
	awaits  bool // no message has been read since the last was written
	writing bool // a writer is open
	stale   bool // it has failed with ErrStale
	drained bool // Drain has dropped messages, which do not count as in
}

// sent counts a message that is written.
func (s *leaseState) sent() {
	s.out++
	s.awaits = true
}

// received counts a message that begins to be read.
func (s *leaseState) received() {
	s.in++
	s.awaits = false
}

// dropped notes that the message counted last is dropped by Drain.
func (s *leaseState) dropped() {
	s.in--
	s.drained = true
}

// complete notes that no more messages will answer what was written.
func (s *leaseState) complete() {
	s.awaits = false
	s.in = s.out
}

// exchanged reports whether messages were written, read or dropped.
func (s *leaseState) exchanged() bool { return s.out > 0 || s.in > 0 || s.drained }

// unfinished returns why the lease cannot end cleanly, apart from its messages; open
// says that a message is being read.
func (s *leaseState) unfinished(open bool) error {
	switch {
	case s.running > 0:
		return fmt.Errorf("%w: a read or write still runs", ErrUnfinished)
	case s.writing:
		return fmt.Errorf("%w: a writer is open", ErrUnfinished)
	case open:
		return fmt.Errorf("%w: a message was read in part", ErrUnread)
	}
	return nil
}

// incomplete returns how the messages do not keep x.
func (s *leaseState) incomplete(x Exchange) error {
	switch x {
	case ReplyLast:
		if s.awaits {
			return fmt.Errorf("%w: none was read since the last was written", ErrUnread)
		}
	case ReplyEach:
		if s.in != s.out {
			return fmt.Errorf("%w: %d were written and %d read", ErrUnread, s.out, s.in)
		}
	}
	return nil
}

// expects reports whether a message that arrives now can be for the lease.
func (c *lease) expects() bool {
	return c.state.out > 0 || c.detached || c.link.hub.cfg.Exchange == Unpaired
}

// incomplete returns how the lease has not kept Config.Exchange. A Health that has
// only written declares thereby that nothing is answered.
func (c *lease) incomplete() error {
	if c.early || c.detached && c.state.in == 0 {
		return nil
	}
	return c.state.incomplete(c.link.hub.cfg.Exchange)
}

// dirtiness is why a lease cannot leave its connection clean.
type dirtiness struct {
	why    error // nil: it can
	gaveUp bool  // why is that a read was given up before its message began
	mute   bool  // a write failed: nothing more can be sent
}

// mark notes why; the first reason counts. mute says that a write failed.
func (d *dirtiness) mark(why error, mute bool) {
	if d.why == nil || d.gaveUp {
		d.why, d.gaveUp = why, false
	}
	d.mute = d.mute || mute
}

// giveUp is mark where a read was given up, which Drain can make good.
func (d *dirtiness) giveUp(why error) {
	if d.why == nil {
		d.why, d.gaveUp = why, true
	}
}

// forgive takes giveUp back.
func (d *dirtiness) forgive() {
	if d.gaveUp {
		d.why, d.gaveUp = nil, false
	}
}
