package wspool

import (
	"context"
	"errors"
	"io"
	"math"
	"runtime"
)

// holder has the functions that notify the holder of a lease. It is guarded by link.mu and
// cleared at the end of each lease.
type holder struct {
	ready    func()      // of Watch; nil: none
	onRecall func(error) // of OnRecall; nil: none
	recalled error       // why the pool wants the connection back; nil: it does not
}

// take removes ready and returns it, so that it is called once.
func (h *holder) take() func() {
	f := h.ready
	h.ready = nil
	return f
}

// notify calls a function given to Watch. No lock is held.
func (h *hub) notify(ready func()) {
	_ = h.contain("the function of Conn.Watch", func(error) {}, ready)
}

// recallHolder notifies the holder of the lease that the pool wants the connection back. If the
// lease is about to begin, a later OnRecall finds the cause in recalled.
func recallHolder(l *link, cause error) {
	l.mu.Lock()
	l.holder.recalled = cause
	f := l.holder.onRecall
	l.holder.onRecall = nil
	l.mu.Unlock()
	if f != nil {
		_ = l.hub.contain("the function of Conn.OnRecall", func(error) {}, func() { f(cause) })
	}
}

// OnRecall arranges for f to be called once when the pool wants the connection back before the
// lease has ended; [resource.Config.Recall] says when that is, and which cause f gets. If the
// pool wants the connection back already, OnRecall calls f before it returns. Otherwise f runs on
// a goroutine of the pool, with no lock held, and a panic in it is contained. f should return
// soon and may use c. Another call of OnRecall replaces an f that was not called yet; nil removes
// it. After the end of the lease OnRecall does nothing.
//
// Nothing else happens to the lease: a holder that keeps a connection for long should end the
// lease when its work permits.
func (c *Conn) OnRecall(f func(cause error)) {
	defer runtime.KeepAlive(c)
	l := c.link
	l.mu.Lock()
	cause := l.holder.recalled
	if l.lease != c.lease {
		l.mu.Unlock()
		return
	}
	if cause == nil {
		l.holder.onRecall = f
	}
	l.mu.Unlock()
	if cause != nil && f != nil {
		f(cause)
	}
}

// Done returns a channel that is closed when the connection has ended, whether or not the lease
// has: the peer closed it, the network or the peer failed, or the pool ended it. A running read
// notices the end at once. Otherwise the pool begins to watch the connection 0.1 to 0.2 s after
// the last read (thinkTime and a tick of the monitor), or at once after [Conn.Watch] with soon,
// and notices the end from then on. [Conn.Err] returns the cause. Done does not block.
func (c *Conn) Done() <-chan struct{} {
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end.done()
}

// Err returns why the connection has ended, as a read would, or nil while it has not. After the
// end of the lease it returns [ErrReleased]. It does not block.
func (c *Conn) Err() error {
	defer runtime.KeepAlive(c)
	if c.ended.Load() {
		return ErrReleased
	}
	return c.link.cause()
}

// Watch arranges for ready to be called once, when a message begins to arrive or the connection
// ends while no read of the lease runs; at once if that has happened already. So a holder that
// reads rarely need not keep a goroutine in a read. Watch does not block.
//
// ready runs on a goroutine of its own, with no lock held. It may block, and may use c. A panic
// in it is contained. It may still run shortly after a read has begun or the lease has ended.
// Another call of Watch replaces ready; a nil ready, or the begin of a read, removes it. After
// the end of the lease Watch does nothing.
//
// If soon is false the pool begins to watch the connection 0.1 to 0.2 s later (thinkTime and a
// tick of the monitor), as for any lease that does not read; that costs nothing if the holder
// reads again before. If soon is true the pool watches the connection from now on.
func (c *Conn) Watch(ready func(), soon bool) {
	defer runtime.KeepAlive(c)
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lease != c.lease {
		return
	}
	l.holder.ready = ready
	if ready == nil {
		return
	}
	if l.end.cause != nil || l.watch.pending.r != nil {
		go l.hub.notify(l.holder.take())
		return
	}
	if l.watchableLocked() && (soon || l.frames.MessagePending() || l.frames.EndPending()) {
		l.startWatchLocked()
	}
}

// Errors of [Conn.ReadWhole] after which the connection and the lease are as before. ReadWhole
// does not wrap them.
var (
	// ErrPartial: only a part of a message of more than 4 KiB has arrived.
	ErrPartial = errors.New("wspool: message has arrived in part")
	// ErrQuiet: no whole message had arrived when the context ended.
	ErrQuiet = errQuiet
)

// ReadWhole is ReadMessage for a goroutine that also reads on behalf of others, so that the end of
// its own context must not end the connection. It blocks until a message has arrived whole, and
// appends it to dst, which may be nil; p is the extended slice, or dst after an error.
//
// When ctx ends ReadWhole returns [ErrQuiet] at once, and another read may follow: it takes no part of a
// message that has not arrived whole, and this is not a given-up read in the sense of
// [Config.Exchange]. If ctx has ended before the call, ReadWhole does not block: it returns a
// message that has arrived. (If the connection cannot be read without blocking, as a net.Conn of
// Config.NetDial that is not a socket, only one that the pool has read before.)
//
// If more than 4 KiB (aheadSize) of a message have arrived, and its rest has not, ReadWhole
// returns [ErrPartial], and [Conn.ReadMessage] can read the message. Otherwise it fails as
// ReadMessage.
func (c *Conn) ReadWhole(ctx context.Context, dst []byte) (messageType int, p []byte, err error) {
	defer runtime.KeepAlive(c)
	m, err := c.nextWhole(ctx, dst)
	if err != nil {
		return 0, dst, c.orReleased(err)
	}
	p, err = c.readAppend(m, dst)
	if err = c.endMessage(ctx, m.whole != nil, err); err != nil {
		p = dst
	}
	c.link.readTurn.give()
	return m.kind, p, c.orReleased(err)
}

// nextWhole is next for ReadWhole: it begins to read the next message when that has arrived
// whole, and may have appended it to dst. The caller then has readTurn.
func (c *lease) nextWhole(ctx context.Context, dst []byte) (m incoming, err error) {
	ended := ctx.Err() != nil
	bound, poll := boundOf(ctx), ended
	if poll {
		bound = nil
	}
	if err := c.openRead(ctx, bound, true); err != nil {
		return m, err
	}
	m, again, err := c.tryWhole(ctx, ended, dst, poll)
	for again {
		ended = ctx.Err() != nil
		c.link.mu.Lock()
		m, again, err = c.tryWhole(ctx, ended, dst, poll)
	}
	if err != nil {
		c.closeRead(ctx)
	}
	return m, err
}

// tryWhole is one attempt of nextWhole, with ended and again as in tryNext. It is called with mu held and
// returns without. poll says that it must not block.
func (c *lease) tryWhole(ctx context.Context, ended bool, dst []byte, poll bool) (m incoming, again bool, err error) {
	l := c.link
	switch {
	case l.watch.pending.r != nil && !l.frames.WholePending():
		// Only a reader changes WholePending, and there is no reader while a message is pending.
		l.mu.Unlock()
		return m, false, ErrPartial
	case l.watch.pending.r != nil: // reading it does not block
		return c.tryNext(ctx, ended && !poll, true) // not without ended: its end may have interrupted the read
	case l.lease != c, l.end.cause != nil, l.watch.reader != noReader, ended && !poll:
		return c.tryNext(ctx, ended, true)
	}
	l.disarmLocked()
	l.watch.reader = leaseReader
	l.mu.Unlock()
	on := true
	for on {
		l.handleControls()
		switch {
		case l.frames.WholePending() || l.frames.EndPending():
			return c.readDirect(ctx, dst)
		case l.frames.MessagePending() && !l.frames.HasRoom():
			on, err = false, ErrPartial
		case !poll:
			// The context must interrupt the wait at once: other goroutines depend on this
			// read, so it is not left to the monitor, whose next tick may come 10 ms later.
			on = l.frames.AwaitOutside()
		case !l.raw.CanPoll() || !l.frames.Poll() && !l.frames.EndPending():
			on, err = false, errQuiet
		}
	}
	l.mu.Lock()
	l.freeLocked()
	l.mu.Unlock()
	return m, err == nil, err
}

// readAppend reads a message to its end and appends it to dst.
func (c *lease) readAppend(m incoming, dst []byte) (p []byte, err error) {
	l := c.link
	had := len(dst)
	if m.whole != nil { // a copy that is the caller's
		if p = m.whole; !m.added && cap(dst) > 0 {
			p = append(dst, m.whole...)
		}
		return p, l.hub.checkText(m.kind, p[had:])
	}
	p = dst
	limit := int64(math.MaxInt64)
	if l.hub.cfg.Compression {
		limit = l.hub.cfg.ReadLimit // gorilla limits the bytes that were sent
	}
	for err == nil {
		if len(p) == cap(p) {
			p = append(p, 0)[:len(p)]
		}
		var n int
		n, err = m.r.Read(p[len(p):cap(p)])
		p = p[:len(p)+n]
		if int64(len(p)-had) > limit {
			return dst, ErrReadLimit
		}
	}
	if err != io.EOF {
		return dst, err
	}
	return p, l.hub.checkText(m.kind, p[had:])
}
