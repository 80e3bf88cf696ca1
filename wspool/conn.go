package wspool

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool/internal/bridge"
)

// Message is one whole data message.
type Message struct {
	Type int    // websocket.TextMessage or websocket.BinaryMessage
	Data []byte // a function that is given a Message may keep them
}

// Exchange says how the messages of one lease belong together. It decides at the end of
// the lease whether an answer may still come, which the next lease would take for its own.
type Exchange uint8

const (
	// ReplyLast is the exchange of requests and replies, any number of messages in each:
	// a lease begins with a write, and ends after it has read what arrived after its last
	// write.
	ReplyLast Exchange = iota
	// ReplyEach is ReplyLast where each message written is answered by exactly one: as
	// many were read as written.
	ReplyEach
	// Unpaired says that messages are not requests and replies: a lease may read before it
	// has written, and end with a write that is not answered. It is clean if nothing has
	// arrived that it did not read. A message that arrives later goes to the next lease, if
	// there is one by then.
	Unpaired
)

// String is the name of the constant.
func (e Exchange) String() string {
	switch e {
	case ReplyLast:
		return "ReplyLast"
	case ReplyEach:
		return "ReplyEach"
	case Unpaired:
		return "Unpaired"
	}
	return fmt.Sprintf("Exchange(%d)", uint8(e))
}

// DropUnsolicited is a [Config.OnUnsolicited] that drops every message, as many as
// [Config.UnsolicitedLimit] allows. With it a late answer is dropped as well, if no lease
// has written by then.
func DropUnsolicited(context.Context, Message) (*Message, error) { return nil, nil }

// Conn is one caller's lease of one connection, from an acquire to the first of Release,
// Fail, Discard or Hijack. After that nothing can be read or written ([ErrReleased]) and
// another end does nothing, so a Conn kept by mistake never touches the messages of the
// next caller.
//
// Several goroutines may call its methods at once. A read and a write run at the same
// time; reads wait for each other, and so do writes.
//
// Pings of the server are answered without the caller's help, within about a tenth of a
// second (thinkTime) while the caller does not read. Pings behind a message that the caller
// has not read to its end wait for that.
type Conn struct {
	*lease // while one of its methods runs the Conn is in use: see Config.Reclaim
}

// Subprotocol returns the one of [Config.Subprotocols] that the server chose, or "" if
// none was offered.
func (c *Conn) Subprotocol() string { return c.link.ws.Subprotocol() }

// Response returns the server's answer to the handshake: the status and the headers, such
// as the id of a session. It is for [Config.OnConnect], which copies what leases need
// later; anywhere else it is nil. Keeping the headers would cost each connection about
// 1.7 KiB.
func (c *Conn) Response() *Response {
	defer runtime.KeepAlive(c)
	if !c.early {
		return nil
	}
	return c.facts.answer.Load()
}

// RemoteAddr returns the address of the peer of the network connection: of the proxy, if there is
// one. It is nil if a net.Conn of [Config.NetDial] has none, and the same after the lease.
func (c *Conn) RemoteAddr() net.Addr { return c.link.ws.RemoteAddr() }

// Info returns facts about the connection; Idle is how long it had been idle when it was
// leased. In [Config.OnConnect] it has the ID that the connection will have in the pool,
// and as Age the time since the dial began; in [Config.Health] it is the Info that the
// check is given. Once the lease has ended it is the zero Info.
func (c *Conn) Info() resource.Info {
	defer runtime.KeepAlive(c)
	if !c.detached {
		return c.pooled.Info()
	}
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lease != c.lease {
		return resource.Info{}
	}
	return c.facts.info
}

// Greeting returns the message with which the server spoke first, if [Config.Greeting] is
// set. It is available in [Config.OnConnect] only; elsewhere it returns false.
func (c *Conn) Greeting() (m Message, ok bool) {
	defer runtime.KeepAlive(c)
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lease != c.lease || c.facts == nil || c.facts.greeting == nil {
		return Message{}, false
	}
	return *c.facts.greeting, true
}

// SetValue keeps v with the connection for all its leases, this one and later ones: the id
// of a session, a negotiated model. It is usually called in [Config.OnConnect]. A lease
// that calls it leaves v to other callers. Once the lease has ended it does nothing.
func (c *Conn) SetValue(v any) {
	defer runtime.KeepAlive(c)
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lease == c.lease {
		l.value = v
	}
}

// Value returns the value of the last SetValue, or nil; and nil once the lease has ended.
// See also [ValueOf].
func (c *Conn) Value() any {
	defer runtime.KeepAlive(c)
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lease != c.lease {
		return nil
	}
	return l.value
}

// ValueOf returns [Conn.Value] as a T; false if it is none.
func ValueOf[T any](c *Conn) (v T, ok bool) {
	v, ok = c.Value().(T)
	return v, ok
}

// Reused reports whether the connection has served a lease before this one.
func (c *Conn) Reused() bool { return c.Info().Leases > 1 }

// RTT returns the round-trip time of the pings of this connection, those of the keepalive
// and of Ping, smoothed as in RFC 6298, section 2; 0 if none has been answered yet.
func (c *Conn) RTT() time.Duration { return time.Duration(c.link.keepalive.rtt.Load()) }

// Release gives the connection back. It is destroyed instead if it is not clean: if a
// message waits unread (but see [Config.OnUnsolicited] and [Config.Quiet]) or was read in
// part, if a read for a message was given up and Exchange is not Unpaired, if there are
// fewer or more answers than [Config.Exchange] requires, if a write was broken off or a
// writer is open, if a read or write of the lease still runs (it returns [ErrReleased]), or
// if the connection is dead. A message that arrived although the lease has written nothing
// does not belong to this lease, unless Exchange is Unpaired: the connection is kept, and
// [Config.OnUnsolicited] gets the message. The first end of a lease counts; others do
// nothing. No end waits for the connection: closing is done in the background.
func (c *Conn) Release() { c.end(nil, false, resource.Lease[*link].Release) }

// Fail ends the lease after the caller's work failed with err: [Config.Broken] decides
// whether the connection is destroyed with err as cause or given back as by Release. A nil
// err is a Release.
func (c *Conn) Fail(err error) {
	c.end(err, false, func(l resource.Lease[*link]) { l.Fail(err) })
}

// Discard ends the lease and destroys the connection. Trace gets the cause; nil means
// [resource.ErrDiscarded]. Closing is done in the background, and Discard does not wait
// for it.
func (c *Conn) Discard(cause error) {
	c.end(cause, true, func(l resource.Lease[*link]) { l.Discard(cause) })
}

// Hijack ends the lease and takes the connection out of the pool, which makes room for
// another. The caller owns the connection then, reads it, answers its pings by reading, and
// closes it. Hijack returns false, and nothing has changed, if the lease is over, a read, a
// reader, a write or a writer of it is open, a message has arrived, the answer to a
// heartbeat is awaited, or the connection is dead, and always in OnConnect and in a Health:
// the caller still ends the lease then. The read limit stays; the handlers are gorilla's
// own. It takes microseconds, and 2 s at most if the peer floods.
func (c *Conn) Hijack() (*websocket.Conn, bool) {
	defer runtime.KeepAlive(c)
	l := c.link
	if c.detached || c.ended.Load() || !c.reserve() {
		return nil, false
	}
	if !c.ended.CompareAndSwap(false, true) {
		c.unreserve()
		return nil, false
	}
	if c.claim != nil {
		// When the pool does not count it any more. Deferred: a policy may end the goroutine.
		defer c.claim.Use.Ended(bridge.LeaseEnd{Hijacked: true})
	}
	if _, ok := c.pooled.Hijack(); !ok {
		c.unreserve()
		c.pooled.Discard(nil)
		return nil, false
	}
	c.lost.Stop()
	c.handOver()
	return l.ws, true
}
