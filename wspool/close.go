package wspool

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/foreign"
	"github.com/respool/respool/resource"
)

// hangUpWait is how long the peer may take to close TCP first after the closing
// handshake, so that TIME_WAIT is on its side (RFC 6455, section 7.1.1).
const hangUpWait = 50 * time.Millisecond

// maxClosing is how many closing handshakes of a pool run at once, so that the end of a
// large pool does not hit its server all at once. A connection that gets no turn within
// CloseTimeout is closed without a handshake.
const maxClosing = 256

// ending is whether and why a connection is no longer used. The connection's lock guards
// it.
type ending struct {
	cause      error         // why it must not be used; nil: it may be
	broken     chan struct{} // closed when cause is set; nil: no goroutine waits for that
	closing    bool          // the pool ends it: what arrives is dropped
	cut        bool          // it is closed without a closing handshake
	invalidate func(error)   // reports cause to the pool; nil: not registered yet
	giveUp     func()        // ends the closing that runs; nil: none does
	halt       func()        // ends the context of the last OnUnsolicited; nil: there was none
}

// usable reports whether the connection has not ended and the pool does not end it.
func (e *ending) usable() bool { return e.cause == nil && !e.closing }

// begin notes the cause, and reports whether it is the first.
func (e *ending) begin(cause error) (first bool) {
	if e.cause != nil {
		return false
	}
	e.cause = cause
	if e.broken != nil {
		close(e.broken)
	}
	return true
}

// done returns a channel that is closed when the connection has ended.
func (e *ending) done() <-chan struct{} {
	if e.broken == nil {
		e.broken = make(chan struct{})
		if e.cause != nil {
			close(e.broken)
		}
	}
	return e.broken
}

// closing is the closing of one connection.
type closing struct {
	l     *link
	cause error
	over  chan struct{} // closed when its time is over
}

// destroy closes the connection, with a closing handshake if that is possible, within
// CloseTimeout. A connection whose peer is known to be dead, or must be presumed dead,
// holds its slot for moments only. When destroy returns no goroutine reads or writes the
// connection.
func (l *link) destroy(cause error) {
	defer l.hub.count.roster.remove(l)
	c := &closing{l, cause, make(chan struct{})}
	defer c.cut() // also if a function of the user ends the goroutine
	l.endReclaimed(cause)
	giveUp := sync.OnceFunc(func() {
		close(c.over)
		l.raw.Abort()
	})
	l.mu.Lock()
	l.end.closing = true
	l.end.giveUp = giveUp
	l.heartbeat.stop()
	l.watch.closeBell()
	l.mu.Unlock()
	l.fail(cause) // readers and writers that wait get the cause
	l.ticket.ended(nil)
	l.hub.monitor.forget(&l.node)
	limit := time.AfterFunc(l.hub.cfg.CloseTimeout, giveUp)
	defer limit.Stop()
	c.run()
}

// cut closes the socket and waits until no goroutine reads or writes the connection.
func (c *closing) cut() {
	l := c.l
	l.raw.Abort()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.watch.reader != noReader || l.senders > 0 {
		l.freed.Wait()
	}
}

// run closes the connection as far as its peer lets it.
func (c *closing) run() {
	l := c.l
	if c.futile() {
		c.closeUnanswered()
		return
	}
	select {
	case l.hub.closing <- struct{}{}:
		if c.handshake() {
			l.ws.Close() // sends the close alert of TLS too
		}
		<-l.hub.closing
	case <-c.over:
	}
}

// futile reports whether it is of no use to wait for the peer's answer: it has not
// answered a ping, or has been silent for longer than a live peer may, as where the
// process has stood still; or the caller does not want to wait.
func (c *closing) futile() bool {
	l := c.l
	l.mu.Lock()
	first, cut := l.end.cause, l.end.cut
	l.mu.Unlock()
	if cut || foreign.Is(c.cause, ErrSilent) || foreign.Is(first, ErrSilent) {
		return true
	}
	longest := l.hub.longestSilence()
	return longest > 0 && l.hub.clock.Now()-l.frames.LastRead.Load() > longest && !l.raw.Readable()
}

// closeUnanswered sends a close frame to a peer from which no answer is expected, if that can be
// done soon.
func (c *closing) closeUnanswered() {
	l := c.l
	l.mu.Lock()
	busy := l.senders > 0 || l.dirt.mute || l.end.cut
	l.mu.Unlock()
	if !busy && !l.raw.Severed() && c.sendClose(min(l.hub.cfg.CloseTimeout, hangUpWait)) {
		l.ws.Close()
	}
}

// sendClose sends a close frame within that time, and reports whether one has been sent.
func (c *closing) sendClose(within time.Duration) bool {
	code := websocket.CloseNormalClosure
	switch {
	case foreign.Is(c.cause, resource.ErrClosed):
		code = websocket.CloseGoingAway
	case foreign.Is(c.cause, ErrReadLimit):
		code = websocket.CloseMessageTooBig
	case foreign.Is(c.cause, ErrNotUTF8):
		code = websocket.CloseInvalidFramePayloadData
	}
	err := sendClose(c.l.ws, code, within)
	return err == nil || foreign.Is(err, websocket.ErrCloseSent)
}

func sendClose(ws *websocket.Conn, code int, within time.Duration) error {
	return ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(within))
}

// handshake performs the closing handshake and reports whether it was completed.
func (c *closing) handshake() bool {
	l := c.l
	l.mu.Lock()
	for l.senders > 0 { // a ping that arrived before is answered before
		l.freed.Wait()
	}
	mute := l.dirt.mute
	l.mu.Unlock()
	if mute || l.raw.Severed() || !c.sendClose(l.hub.cfg.CloseTimeout) {
		return false
	}
	c.drain()
	return true
}

// drain reads up to the peer's close frame, and then until the peer closes TCP. The time
// limit of destroy bounds it.
func (c *closing) drain() {
	l := c.l
	l.mu.Lock()
	for l.watch.reader != noReader { // a watcher goes on to the end; a lease was interrupted
		l.freed.Wait()
	}
	l.watch.reader = leaseReader
	l.mu.Unlock()
	var err error
	for err == nil {
		_, _, err = l.ws.NextReader()
	}
	if l.raw.Uncut() { // gorilla could not read up to the close frame
		io.Copy(io.Discard, l.frames.Conn)
	} else {
		l.frames.Conn.SetReadDeadline(time.Now().Add(hangUpWait))
		io.Copy(io.Discard, l.frames.Conn)
	}
	l.mu.Lock()
	l.freeLocked()
	l.mu.Unlock()
}

// refuseLength reports to the peer that its message was longer than ReadLimit, as gorilla does
// where gorilla finds it, and returns err with the limit.
func refuseLength(ws *websocket.Conn, err error, limit int64) error {
	sendClose(ws, websocket.CloseMessageTooBig, time.Second)
	return fmt.Errorf("%w: it inflates to more than %d bytes", err, limit)
}

// refuseText reports to the peer that its text message is not UTF-8 (RFC 6455, section 8.1).
func refuseText(ws *websocket.Conn, err error) error {
	sendClose(ws, websocket.CloseInvalidFramePayloadData, time.Second)
	return fmt.Errorf("%w: sent by the peer", err)
}

// cutOff has the connection closed without a closing handshake, at once if it is being
// closed.
func (l *link) cutOff() {
	l.mu.Lock()
	l.end.cut = true
	giveUp := l.end.giveUp
	l.mu.Unlock()
	if giveUp != nil {
		giveUp()
	}
}

// endNow takes the connection out of use, and ends its lease.
func (l *link) endNow(cause error) {
	for {
		l.mu.Lock()
		c := l.lease
		if c == nil || c.detached {
			l.end.closing = true // attachVetted refuses it from now on
			l.mu.Unlock()
			l.fail(cause)
			return
		}
		l.mu.Unlock()
		if c.end(cause, true, func(pooled resource.Lease[*link]) { pooled.Discard(cause) }) {
			return
		}
		// Something else has ended it. If that was an exchange that has sent nothing, it begins a
		// lease again.
		l.mu.Lock()
		ending := l.lease == c
		l.mu.Unlock()
		if ending {
			return
		}
	}
}

// endReclaimed ends the lease on the holder's side if the connection is destroyed because
// its lease was reclaimed. In every other case the lease has ended before the connection
// is destroyed.
func (l *link) endReclaimed(cause error) {
	if cause != resource.ErrReclaimed {
		return
	}
	l.mu.Lock()
	c := l.lease
	l.mu.Unlock()
	if c != nil && !c.detached {
		c.end(cause, true, func(resource.Lease[*link]) {}) // the pool's side has ended already
	}
}

// roster is the set of all connections, of all pools that share it, from their dial to
// the end of their closing.
type roster[T comparable] struct {
	mu   sync.Mutex
	all  map[T]struct{}
	over bool // CloseNow was called
}

// add adds a connection. It reports whether CloseNow was called before.
func (r *roster[T]) add(one T) (over bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = make(map[T]struct{})
	}
	r.all[one] = struct{}{}
	return r.over
}

func (r *roster[T]) remove(one T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, one)
}

// list returns the connections that there are now. over says that CloseNow was called.
func (r *roster[T]) list(over bool) []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = r.over || over
	all := make([]T, 0, len(r.all))
	for one := range r.all {
		all = append(all, one)
	}
	return all
}

// cutOffAll has all connections closed without a closing handshake when they are closed,
// and at once those that are being closed.
func cutOffAll(r *roster[*link]) {
	for _, l := range r.list(false) {
		l.cutOff()
	}
}

// endAllNow ends all connections and their leases.
func endAllNow(r *roster[*link]) {
	for _, l := range r.list(true) {
		l.cutOff()
		l.endNow(resource.ErrClosed)
	}
}

// reclaims counts goroutines that end a lease that its caller has lost. They may still be
// in an Admission or Trace when the connection is gone.
type reclaims struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // closed when n is 0; nil: no goroutine waits for that
}

func (r *reclaims) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
}

func (r *reclaims) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n--; r.n == 0 && r.none != nil {
		close(r.none)
		r.none = nil
	}
}

// await waits until there are none. If ctx ends before, it returns a
// *resource.CloseError.
func (r *reclaims) await(ctx context.Context, load func() resource.Load) error {
	r.mu.Lock()
	n := r.n
	if n > 0 && r.none == nil {
		r.none = make(chan struct{})
	}
	none := r.none
	r.mu.Unlock()
	if n == 0 {
		return nil
	}
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return &resource.CloseError{Err: ctx.Err(), Load: load(), Busy: n}
	}
}
