package wspool

import (
	"fmt"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/random"
	"github.com/respool/respool/internal/readiness"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool/internal/wsconn"
)

// link is the coordinator of one connection: it holds the connection's components
// under one lock, gives them facts, carries out what they decide, and alone lets a
// goroutine read or write the connection.
//
//	component     owns
//	------------------------------------------------------------------------------
//	leaseState    the messages of the current lease
//	dirtiness     why that lease cannot leave the connection clean
//	watchState    the reader, the pending message, the bell
//	keepalive     pings and pongs
//	heartbeat     the application's own keepalive messages
//	quarantine    the time between two leases in which messages are late ones
//	holder        what the holder of the lease is told: Watch, OnRecall
//	messageRate   how many unsolicited messages have arrived
//	ending        why the connection ended, and how it is closed
//	dialTicket    what its dial and its end are evidence of (to the dialGate)
//	monitored     its place in the pool's monitor
//
// A component holds no *link and calls nothing back. Coordinators besides link are
// [Pool], [Manager] and hub (one pool), lease (one lease), asking (one exchange), vetting and watcher (one each),
// closing (one closing handshake), dialing and race (one dial).
//
// # Which goroutine reads
//
// Gorilla sees frames only while a goroutine reads. The reader of a link is a watcher,
// or the goroutine of the lease that reads a message, or none. There is none while the
// link is hot, which it is for Config.WatchAfter after a clean release, and none while its
// lease is not reading; if either lasts the monitor has the link watched. On a
// system that reports readiness, a watched link has an armed bell and no reader; the
// watcher that the bell calls stops when it has dealt with what arrived. A watcher that
// finds a message for the lease leaves it, begun, in watchState.pending; the lease reads
// it on its own goroutine.
//
// # Isolation
//
// An invariant beside those of package resource:
//
//	I13  No message of one lease reaches another, as far as frames and the order of
//	     requests and replies show: what is read belongs to the lease that reads it,
//	     and a connection that its lease did not leave drained is not lent again.
//
// # Lock order
//
// A lock may be acquired while those to its left are held:
//
//	stream.mu → link.mu → monitor.mu
//	            link.mu → dialGate.mu, roster.mu
//	            link.mu → locks of readiness, RawConn.mu, FrameConn.mu
//	            link.mu → the lock under which a frame is written (TryPoll, unless that waits for the network)
//	race.mu → addressBook.mu, handshakes.mu
//
// All others (counts.mu, reclaims.mu, tlsSessions.mu, dialTrace.mu,
// deadline.mu) are leaves. The turns to read and to write are acquired before link.mu,
// or without waiting. RawConn.mu and FrameConn.mu are documented in package wsconn. No
// lock is held while user code runs, with two exceptions: stream.mu and the turns, which
// belong to the caller's own read or write, and methods of a connection that
// Config.NetDial returned, which must not block.
type link struct {
	ws     *websocket.Conn
	frames *wsconn.FrameConn
	raw    *wsconn.RawConn
	hub    *hub
	ticket *dialTicket
	node   monitored[*link]
	dialed int64 // when, on the hub's clock

	readTurn  turn          // of the lease that reads
	writeTurn turn          // of the goroutine that writes a message
	ready     chan struct{} // holds a token when the reader or pending has changed; nil: no lease has waited for that yet; guarded by mu

	// Guarded by mu.
	mu         sync.Mutex
	freed      sync.Cond // signalled when the reader stops or senders falls
	lease      *lease    // nil: none
	dirt       dirtiness
	watch      watchState
	keepalive  keepalive
	heartbeat  *heartbeat // nil: none are sent
	quarantine quarantine
	holder     holder
	end        ending
	trailing   uint64 // messages up to this one had begun to arrive when the last lease ended
	looked     int64  // when attach began to look, on the hub's clock
	senders    int32  // goroutines that send a ping, pongs or a heartbeat
	settling   int32  // goroutines in settle
	value      any    // of Conn.SetValue
	retired    bool   // retire was called

	asking asking              // accessed by the reader
	rate   *messageRate        // accessed by the watcher; nil: none was unsolicited yet
	sizes  wsconn.SizeEstimate // accessed by the reader
	leases int                 // how many leases callers have had; accessed by the goroutine that acquires
}

func newLink(ws *websocket.Conn, f *wsconn.FrameConn, h *hub, t *dialTicket) *link {
	jitter := random.Float64()
	l := &link{
		ws: ws, frames: f, raw: f.Raw, hub: h, ticket: t, dialed: h.clock.Now(),
		keepalive: newKeepalive(&h.cfg, jitter),
		heartbeat: newHeartbeat(&h.cfg, jitter),
	}
	l.node.owner = l
	l.asking.l, l.asking.onEmpty = l, l.asking.send
	l.freed.L = &l.mu
	f.BeginFrames()
	ws.SetReadLimit(h.cfg.ReadLimit)
	control := func(string) error { // FrameConn has the frame already
		l.handleControls()
		return nil
	}
	ws.SetPingHandler(control)
	ws.SetPongHandler(control)
	l.mu.Lock()
	l.end.cut = h.count.roster.add(l) // from here on CloseNow can reach l
	l.mu.Unlock()
	if s := l.raw.SyscallConn(); s != nil {
		l.watch.bell = readiness.New(s, l.onBell)
	}
	return l
}

// fail takes the connection out of use; the first cause counts.
func (l *link) fail(cause error) {
	l.mu.Lock()
	if !l.end.begin(cause) {
		l.mu.Unlock()
		return
	}
	end := l.end
	ready := l.holder.take()
	answered := l.lease != nil && l.lease.state.in > 0
	report := &EndError{Served: l.ticket.proved, Asked: l.lease != nil && !l.lease.detached && l.lease.state.out > 0, Err: cause}
	l.mu.Unlock()
	if end.halt != nil {
		end.halt() // the goroutine that destroys the connection waits for OnUnsolicited
	}
	l.raw.Interrupt() // a lease that reads gets the cause
	if !end.closing {
		l.raw.SeverWaiting() // and so does a lease that writes to a peer that takes nothing
		l.hub.count.end(cause)
		l.ticket.ended(report)
		if o := l.hub.cfg.observer; o != nil && end.invalidate != nil { // else the dial has failed
			o.ConnEnded(cause, answered)
		}
	}
	if end.invalidate != nil {
		end.invalidate(cause)
	}
	if ready != nil {
		go l.hub.notify(ready)
	}
}

// onFail registers invalidate, which reports the end of the connection to the pool. It
// is called at once if the connection has ended.
func (l *link) onFail(invalidate func(error)) {
	l.mu.Lock()
	l.end.invalidate = invalidate
	cause := l.end.cause
	l.mu.Unlock()
	if cause != nil {
		invalidate(cause)
	}
}

// cause returns why the connection must not be used, nil if it may be.
func (l *link) cause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end.cause
}

// markDirty has the connection destroyed at the end of its lease; see dirtiness.mark.
func (l *link) markDirty(why error, mute bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dirt.mark(why, mute)
}

// attach makes c the current lease, if it is certain that the peer lives and that
// everything that has arrived was dealt with. It does not block.
func (l *link) attach(c *lease) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.end.usable() || l.doubtfulLocked() {
		return false
	}
	began := l.hub.clock.Now()
	if !l.lookLocked() {
		return false
	}
	l.looked = began
	l.disarmLocked()
	l.lease = c
	return true
}

// attachVetted makes c the current lease of a connection that has just been vetted, or
// returns why the connection must not be used.
func (l *link) attachVetted(c *lease) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.end.cause != nil:
		return l.end.cause
	case l.end.closing: // by CloseNow
		return resource.ErrClosed
	}
	l.lease = c
	return nil
}

// detachLocked takes the connection from c and returns why c does not leave it clean.
func (l *link) detachLocked(c *lease, destroy bool) error {
	dirty := c.dirtyLocked()
	l.lease, l.holder = nil, holder{}
	if destroy || dirty != nil {
		l.end.closing = true
		if c.state.running > 0 { // these reads and writes return ErrReleased
			l.raw.Interrupt()
			l.raw.Sever()
			l.signalLocked()
		}
		if dirty != nil {
			l.hub.count.tainted.Add(1)
		}
		return dirty
	}
	if c.state.out > 0 {
		c.servedLocked() // also if nothing was to be read
	}
	if c.quarantines() {
		l.quarantine.begin(l.hub.clock.Now())
	}
	l.restLocked()
	return nil
}

// restLocked is called when a clean connection has no lease any more. It leaves the
// connection hot, or has it watched if it must not or cannot be hot.
func (l *link) restLocked() {
	if l.watch.reader != noReader {
		return
	}
	if l.hub.cfg.WatchAfter < 0 || l.quarantine.on || !l.raw.CanPoll() || l.frames.EndPending() || l.frames.ControlsPending() ||
		l.frames.MessagePending() || l.frames.Partial() {
		l.startWatchLocked()
		return
	}
	l.watch.since = l.hub.monitor.tick.Load()
}

// freeLocked notes that no goroutine reads any more.
func (l *link) freeLocked() {
	l.watch.reader = noReader
	l.watch.since = l.hub.monitor.tick.Load()
	l.freed.Broadcast()
	if l.settling > 0 {
		l.raw.Nudge()
	}
}

// signalLocked wakes the goroutine that waits in lease.next.
func (l *link) signalLocked() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// sentLocked notes that a goroutine that sent a control frame or heartbeat is done.
func (l *link) sentLocked() {
	l.senders--
	l.freed.Broadcast()
}

// reservedLocked reports whether reserve has succeeded.
func (l *link) reservedLocked() bool {
	return l.watch.reader == leaseReader && l.lease == nil && !l.end.closing
}

// describe returns the state of the connection for Inspect.
func (l *link) describe() string {
	l.mu.Lock()
	state := ""
	switch {
	case l.end.cause != nil:
		state = "dead"
	case l.end.closing:
		state = "closing"
	case l.quarantine.on:
		state = "in quarantine"
	case l.reservedLocked():
		state = "being hijacked"
	default:
		state = l.watch.String(l.lease != nil)
	}
	l.mu.Unlock()
	if rtt := time.Duration(l.keepalive.rtt.Load()); rtt > 0 {
		return fmt.Sprintf("%s, rtt %v", state, rtt.Round(10*time.Microsecond))
	}
	return state
}
