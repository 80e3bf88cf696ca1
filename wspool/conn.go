package wspool

import (
	"runtime"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
)

// Conn is one caller's lease of one connection, from an acquire to the first of
// Release, Fail, Discard or Hijack. After that nothing can be read or written
// ([ErrReleased]) and another end does nothing, so a Conn kept by mistake never
// touches the messages of the next caller.
//
// Its methods may be called by several goroutines at once. A read and a write
// run at the same time; reads wait for each other, and so do writes.
//
// Pings of the server are answered without the caller's help, within about a
// tenth of a second where the caller does not read; only while a message waits
// that the caller has not read to its end they wait behind it.
type Conn struct {
	*tenant // as long as one of its methods runs the Conn is in use: see Config.Reclaim
}

// Subprotocol returns the one of [Config.Subprotocols] that the server chose, or
// "" if none was offered.
func (c *Conn) Subprotocol() string { return c.link.ws.Subprotocol() }

// Response returns the server's answer to the handshake: the status and the
// headers, such as a session's id. It is for [Config.OnConnect], which copies what
// leases need later; anywhere else it is nil. To keep the headers would cost each
// connection about 1.7 KiB.
func (c *Conn) Response() *Response {
	defer runtime.KeepAlive(c)
	if !c.early {
		return nil
	}
	return c.link.upgrade.Load()
}

// Info returns what is known about the connection, Idle being how long it had
// been idle when it was leased. In [Config.OnConnect] it has the ID that the
// connection will have in the pool, and as Age the time since the dial began; in
// [Config.Health] it is the Info that the check gets beside. Once the lease has
// ended it is the zero Info.
func (c *Conn) Info() resource.Info {
	defer runtime.KeepAlive(c)
	if c.detached {
		return c.link.detachedInfo(c.tenant)
	}
	return c.lease.Info()
}

// Greeting returns the message with which the server spoke first, if
// [Config.Greeting] is set. It is there in [Config.OnConnect] alone, and false
// elsewhere.
func (c *Conn) Greeting() (m Message, ok bool) {
	defer runtime.KeepAlive(c)
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tenant != c.tenant || l.greeting == nil {
		return Message{}, false
	}
	return *l.greeting, true
}

// SetValue keeps v with the connection for all its leases, this one and those to
// come: a session id, a negotiated model. It is usually called in
// [Config.OnConnect]. A lease that calls it leaves v to other callers. Once the
// lease has ended it does nothing.
func (c *Conn) SetValue(v any) {
	defer runtime.KeepAlive(c)
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tenant == c.tenant {
		l.value = v
	}
}

// Value returns what SetValue kept last, or nil; and nil once the lease has ended.
// See also [ValueOf].
func (c *Conn) Value() any {
	defer runtime.KeepAlive(c)
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tenant != c.tenant {
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

// RTT returns how long pings of this connection took to be answered, those of
// the keepalive and of Ping, smoothed as RFC 6298 does, section 2; 0 if none has
// been yet.
func (c *Conn) RTT() time.Duration { return time.Duration(c.link.care.rtt.Load()) }

// Release gives the connection back. It is destroyed instead if it is not
// clean: if a message waits unread (but see [Config.OnUnsolicited] and
// [Config.Quiet]) or is read in part, if one was waited for in vain and Exchange is not Unpaired, if there are fewer or more answers than
// [Config.Exchange] wants, if a write was broken off or a writer is open, if a
// read or write of the lease still runs (it returns [ErrReleased]), or if the
// connection is dead. A message that came in though the lease has written nothing
// is not this lease's, unless Exchange is Unpaired: the connection is kept, and
// [Config.OnUnsolicited] gets the message. The first end of a lease counts; others
// do nothing. No end waits for the connection: closing is done in the background.
func (c *Conn) Release() { c.end(nil, false, resource.Lease[*link].Release) }

// Fail ends the lease after the caller's work failed with err:
// [Config.Broken] decides whether the connection is destroyed with err as
// cause or given back as by Release. A nil err is a Release.
func (c *Conn) Fail(err error) {
	c.end(err, false, func(l resource.Lease[*link]) { l.Fail(err) })
}

// Discard ends the lease and destroys the connection. The cause is what Trace
// sees; nil means [resource.ErrDiscarded].
func (c *Conn) Discard(cause error) {
	c.end(cause, true, func(l resource.Lease[*link]) { l.Discard(cause) })
}

// Hijack ends the lease and takes the connection out of the pool, which makes
// room for another: it is the caller's, who reads it, answers its pings by
// reading, and closes it. It returns false, and nothing has changed, if the lease
// is over, a read, a reader, a write or a writer of it is open, a message has
// come in, the answer to a heartbeat has not, or the connection is dead, and
// always in OnConnect and in a Health:
// the caller still ends the lease then. Its read limit stays; its handlers are
// gorilla's own. It takes microseconds, and 2 s at most if the peer floods.
func (c *Conn) Hijack() (*websocket.Conn, bool) {
	defer runtime.KeepAlive(c)
	l := c.link
	if c.detached || c.ended.Load() || !l.evacuate(c.tenant) {
		return nil, false
	}
	if !c.ended.CompareAndSwap(false, true) {
		l.readmit()
		return nil, false
	}
	if _, ok := c.lease.Hijack(); !ok {
		l.readmit()
		c.lease.Discard(nil)
		return nil, false
	}
	c.lost.Stop()
	l.handOver()
	return l.ws, true
}
