package wspool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
)

// holder is what the holder of a lease is told without asking. The connection's lock guards
// it. It is cleared at the end of each lease.
type holder struct {
	ready    func()      // of Watch; nil: none
	onRecall func(error) // of OnRecall; nil: none
	recalled error       // why the pool wants the connection back; nil: it does not
}

// take returns ready, which is called once.
func (h *holder) take() func() {
	f := h.ready
	h.ready = nil
	return f
}

// notify calls a function of Watch. No lock is held.
func (h *hub) notify(ready func()) {
	_ = h.contain("the function of Conn.Watch", func(error) {}, ready)
}

// recallHolder tells the holder of the lease that the pool wants the connection back. A lease
// that is about to begin finds it noted.
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

// OnRecall has f called, once, when the pool wants the connection back before the lease has
// ended: see [resource.Config.Recall] for when and why. It is called at once, on the caller's
// goroutine, if the pool wants it back already; otherwise on a goroutine of the pool, with no
// lock held. It should return soon and may use c. Another call of OnRecall replaces f. Nothing
// else happens to the lease: a holder that keeps a connection for long ends the lease when its
// work allows.
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
	if cause != nil {
		f(cause)
	}
}

// Done returns a channel that is closed when the connection has ended, whether or not the
// lease has: the peer has closed it, the network or the peer is gone, or the pool ends it. The
// end is noticed within about a tenth of a second (thinkTime) while the lease does not read,
// and at once after [Conn.Watch] with soon. [Conn.Err] says why.
func (c *Conn) Done() <-chan struct{} { return c.link.end.broken }

// Err returns why the connection has ended, as a read of it would, or nil while it has not. Once
// the lease has ended it returns [ErrReleased].
func (c *Conn) Err() error {
	defer runtime.KeepAlive(c)
	if c.ended.Load() {
		return ErrReleased
	}
	return c.link.cause()
}

// Watch has ready called, once, when a message begins to arrive or the connection ends while no
// read of the lease runs; at once if that is so already. So a holder that reads only now and
// then need not keep a goroutine in a read. ready runs on a goroutine of its own, which it may
// keep, with no lock held, and may use c. It may still run shortly after a read has begun or the
// lease has ended, but not before Watch was called. Another Watch replaces ready, nil and any
// read drop it.
//
// If soon is false the connection is watched about a tenth of a second (thinkTime) later, like
// any lease that does not read, which costs a holder nothing that reads again before. If it is
// true the connection is watched from now on.
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

// Errors of [Conn.ReadWhole], which harm nothing. They are returned as they are.
var (
	// ErrPartial: a longer message arrives in parts.
	ErrPartial = errors.New("wspool: message has arrived in part")
	// ErrQuiet: no message had arrived when the context ended.
	ErrQuiet = errQuiet
)

// ReadWhole is ReadMessage for a goroutine that reads for others too, and whose own context
// must not harm the connection. The message is appended to dst, which may be nil, and p is the
// extended slice.
//
// The end of ctx never harms the connection, nor is it a given-up read in the sense of
// [Config.Exchange]: ReadWhole returns [ErrQuiet], dst is unchanged, and another read may
// follow. So it begins to read a message only once that has arrived whole. With a ctx that has
// ended before, it returns a message that has arrived, and does not wait for one. If a message is
// longer than is taken in ahead, 4 KiB, and its rest is missing, ReadWhole returns
// [ErrPartial], and [Conn.ReadMessage] reads the message. Otherwise it fails as ReadMessage.
func (c *Conn) ReadWhole(ctx context.Context, dst []byte) (messageType int, p []byte, err error) {
	defer runtime.KeepAlive(c)
	m, err := c.nextWhole(ctx)
	if err != nil {
		return 0, dst, c.orReleased(err)
	}
	p, err = c.readAppend(m, dst)
	if err = c.endMessage(ctx, m.whole != nil, err); err != nil {
		p = dst
	}
	<-c.link.readTurn
	return m.kind, p, c.orReleased(err)
}

// nextWhole is next for ReadWhole: it begins the next message when that has arrived whole.
func (c *lease) nextWhole(ctx context.Context) (m incoming, err error) {
	l := c.link
	l.mu.Lock()
	if l.lease != c {
		l.mu.Unlock()
		return m, ErrReleased
	}
	c.state.running++
	select {
	case l.readTurn <- struct{}{}:
	default:
		l.mu.Unlock()
		select {
		case l.readTurn <- struct{}{}:
		case <-ctx.Done():
			c.finish()
			return m, errQuiet
		}
		l.mu.Lock()
	}
	if l.watch.open {
		c.state.running--
		l.mu.Unlock()
		<-l.readTurn
		return m, fmt.Errorf("wspool: read: %w: the message before was not read to its end", ErrUnfinished)
	}
	l.holder.ready = nil
	bound, poll := ctx, ctx.Err() != nil
	if ctx.Done() == nil || poll {
		bound = nil
	}
	l.raw.BeginRead(bound, true)
	m, again, err := c.tryWhole(ctx, poll)
	for again {
		l.mu.Lock()
		m, again, err = c.tryWhole(ctx, poll)
	}
	if err != nil {
		c.endRead(ctx, false)
		<-l.readTurn
		c.finish()
	}
	return m, err
}

// tryWhole is one attempt of nextWhole. It is called with mu held and returns without. poll says
// that it must not block.
func (c *lease) tryWhole(ctx context.Context, poll bool) (m incoming, again bool, err error) {
	l := c.link
	switch {
	case l.watch.pending.r != nil && !l.frames.WholePending():
		// Only the reader changes whether it is, and there is none while a message is pending.
		l.mu.Unlock()
		return m, false, ErrPartial
	case l.watch.pending.r != nil: // reading it does not block
		return c.tryNext(context.Background(), true)
	case l.lease != c, l.end.cause != nil, l.watch.reader != noReader, ctx.Err() != nil && !poll:
		return c.tryNext(ctx, true)
	}
	l.disarmLocked()
	l.watch.reader = leaseReader
	l.mu.Unlock()
	if l.hub.monitor.step > hookWithin {
		l.raw.HookContext(false)
	}
	on := true
	for on {
		l.handleControls()
		switch {
		case l.frames.WholePending() || l.frames.EndPending():
			return c.readDirect(ctx)
		case l.frames.MessagePending() && !l.frames.HasRoom():
			on, err = false, ErrPartial
		case !poll:
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
	if m.whole != nil { // a copy that is the caller's
		if p = m.whole; cap(dst) > 0 {
			p = append(dst, m.whole...)
		}
		return p, l.hub.checkText(m.kind, m.whole)
	}
	p, had := dst, len(dst)
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
