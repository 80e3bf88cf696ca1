package wspool

import (
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/readiness"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool/internal/wsconn"
)

// link is one connection, as the pool keeps it.
//
// Gorilla sees control frames only while somebody reads. So somebody always
// does, but for moments: a watcher, which is a goroutine in NextReader, or the
// goroutine of the lease that reads a message. Nobody reads a link that is hot,
// which one is for some milliseconds after a lease that left it clean, and one
// whose lease has not come to read yet; the keeper has it watched if that lasts.
// Where the system can say when something comes in on a socket, to be watched is
// to have a bell that is armed: nobody reads until it rings, and the watcher that
// comes then goes when it has dealt with what came. A watcher that is handed a
// message for the lease leaves it, begun, in pending, and goes: the lease reads it
// on its own goroutine.
type link struct {
	ws     *websocket.Conn
	frames *wsconn.FrameConn
	raw    *wsconn.RawConn
	hub    *hub
	tie    *tie // to the gate of dials

	dialed  int64                    // when, on the hub's clock
	upgrade atomic.Pointer[Response] // the answer to the handshake, while OnConnect runs

	readTurn  chan struct{} // holds a token while a lease reads
	writeTurn chan struct{} // holds a token while a message is written
	ready     chan struct{} // holds a token when the reading or pending has changed
	broken    chan struct{} // closed when cause is set

	// mu decides whose an incoming message is, and who reads.
	mu         sync.Mutex
	freed      sync.Cond   // reader has become nobody, or pinging ended
	reader     reader      // who reads
	tenant     *tenant     // the lease that runs; nil: none
	pending    incoming    // a message for the tenant that has begun
	open       bool        // the tenant is reading a message
	closing    bool        // what comes in is dropped
	proved     bool        // it has served a lease
	doubts     uint32      // the gate's when it last did
	taint      error       // why the tenant cannot leave it clean
	mute       bool        // a write failed: nothing more can be sent
	cause      error       // why it must not be used
	invalidate func(error) // tells the pool of cause; nil until watched
	halt       func()      // ends what the last OnUnsolicited has time for; nil: none yet
	cut        bool        // it is closed without a farewell
	giveUp     func()      // ends the closing that runs; nil: none does

	bell  *readiness.Bell // nil: a watcher stays. Guarded by mu
	armed bool            // the bell is to ring, and nobody reads

	value      any            // the user's, for all leases
	info       *resource.Info // of a tenant that is detached
	greeting   *Message       // until OnConnect has returned; nil: none
	trail      uint64         // messages that had begun to come in when the last lease ended
	quarantine quarantine
	heartbeat  *heartbeat // nil: there are none

	sizes    wsconn.SizeEstimate // of who reads
	lent     int                 // leases that callers have had; of who has the lease
	settling int                 // callers in settle
	care     care                // the keeper's; see there
}

// reader is who reads a link.
type reader uint8

const (
	nobody reader = iota
	watcher
	lessee // the tenant, or who destroys the link
)

// incoming is a message that has begun to come in.
type incoming struct {
	kind int
	r    io.Reader // nil: there is none
}

func newLink(ws *websocket.Conn, f *wsconn.FrameConn, h *hub, to *tie) *link {
	l := &link{
		ws: ws, frames: f, raw: f.Raw, hub: h, tie: to, dialed: h.clock.Now(),
		care:      care{spread: rand.Float64()},
		readTurn:  make(chan struct{}, 1),
		writeTurn: make(chan struct{}, 1),
		ready:     make(chan struct{}, 1),
		broken:    make(chan struct{}),
	}
	l.freed.L = &l.mu
	if h.cfg.Heartbeat.Every > 0 {
		l.heartbeat = new(heartbeat)
	}
	ws.SetReadLimit(h.cfg.ReadLimit)
	control := func(string) error {
		l.handleControls()
		return nil
	}
	ws.SetPingHandler(control) // a control frame inside a message
	ws.SetPongHandler(control)
	h.count.roster.add(l)
	if s := l.raw.SyscallConn(); s != nil {
		l.bell = readiness.New(s, l.rung)
	}
	return l
}

// unread reports whether gorilla is in the midst of a message, or has begun one:
// then nobody but its reader may read. l is locked.
func (l *link) unread() bool { return l.open || l.pending.r != nil }

// free notes that nobody reads l any more. l is locked.
func (l *link) free() {
	l.reader = nobody
	l.care.since = l.hub.keeper.tick.Load()
	l.freed.Broadcast()
	if l.settling > 0 {
		l.raw.Nudge()
	}
}

// signal tells who waits in Conn.next to look again.
func (l *link) signal() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// whose is whom a message is for.
type whose uint8

const (
	claimed  whose = iota // the tenant
	stray                 // nobody
	trailing              // nobody: the lease before left it unread
	late                  // nobody: it comes in the quarantine after a lease
	dropped               // nobody, and that does not matter any more
)

// claim decides whose the message is that has begun to come in, and leaves it to
// the tenant if it is his.
func (l *link) claim(m incoming) whose {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tenant
	switch {
	case l.closing || l.cause != nil:
		return dropped
	case t != nil && t.expects():
		l.pending = m
		l.leave() // at once: the tenant may be at it before this goroutine ends
		return claimed
	case l.quarantine.on:
		return late
	case l.frames.State().Taken < l.trail:
		return trailing
	}
	return stray
}

// fail takes the connection out of use; the first cause counts.
func (l *link) fail(cause error) {
	l.mu.Lock()
	if l.cause != nil {
		l.mu.Unlock()
		return
	}
	l.cause = cause
	close(l.broken)
	invalidate, ours, halt := l.invalidate, l.closing, l.halt
	served, asked := l.proved, l.tenant != nil && !l.tenant.detached && l.tenant.out > 0
	l.mu.Unlock()
	if halt != nil {
		halt() // who destroys the connection waits for it
	}
	l.raw.Interrupt() // a lease that reads itself hears of it so
	if !ours {
		l.raw.SeverWaiting() // and so does one that writes to a peer that takes nothing
		l.hub.count.end(cause)
		l.tie.ended(&EndError{Served: served, Asked: asked, Err: cause})
	}
	if invalidate != nil {
		invalidate(cause)
	}
}

// watched keeps invalidate, and uses it if it comes too late.
func (l *link) watched(invalidate func(error)) {
	l.mu.Lock()
	l.invalidate = invalidate
	cause := l.cause
	l.mu.Unlock()
	if cause != nil {
		invalidate(cause)
	}
}

// why returns why the link must not be used.
func (l *link) why() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// spoil has the link destroyed at the end of the lease; the first taint counts.
// mute says that nothing more can be sent.
func (l *link) spoil(taint error, mute bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.tenant; l.taint == nil || t != nil && t.gaveUp {
		l.taint = taint
		if t != nil {
			t.gaveUp = false
		}
	}
	l.mute = l.mute || mute
}

// spoilFor is spoil where c has given up a read, which Drain may make good.
func (l *link) spoilFor(c *tenant, taint error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.taint == nil {
		l.taint, c.gaveUp = taint, true
	}
}
