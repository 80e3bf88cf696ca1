package wspool

import (
	"context"
	"sync/atomic"

	"github.com/respool/respool/resource"
)

// Conn is one caller's lease of one connection, from an acquire to the first of
// Release, Fail or Discard. After that its methods return [ErrReleased] or do
// nothing, so a Conn kept by mistake never touches the messages of the next
// caller. Its methods may be called by several goroutines at once.
//
// Pings of the server are answered without the caller's help.
type Conn struct {
	lease    resource.Lease[*link] // none in OnConnect
	early    bool                  // in OnConnect
	link     *link
	ended    atomic.Bool
	released chan struct{} // closed when the lease has ended

	// The reader of the link puts a message here only after it took the token
	// in room, so one message at most is read ahead. The box dies with the
	// lease: what is in it cannot reach anybody else.
	box  chan Message
	room chan struct{}

	// Guarded by link.mu.
	running  int  // reads and writes that have not returned
	wrote    bool // something was written
	awaiting bool // nothing has come in since the last write
}

// ReadMessage returns the next message: its type, websocket.TextMessage or
// websocket.BinaryMessage, and its bytes, which are the caller's. It blocks
// until a message has come whole.
//
// It fails with a [*CloseError] when the peer has closed, with the error of the
// network, with [ErrUnsolicited], with [ErrReleased] as soon as the lease ends,
// or with ctx's error when ctx ends. An abandoned wait does not hurt the
// connection, and the lease may read again; but the connection is destroyed
// when the lease ends, since the late message would reach the next caller.
func (c *Conn) ReadMessage(ctx context.Context) (messageType int, p []byte, err error) {
	if !c.link.begin(c) {
		return 0, nil, ErrReleased
	}
	m, err := c.receive(ctx)
	c.link.finish(c)
	return m.Type, m.Data, c.orReleased(err)
}

// WriteMessage sends one message of type websocket.TextMessage or
// websocket.BinaryMessage. It waits for another WriteMessage of the lease that
// is under way, and then until the bytes are with the network, for no longer
// than [Config.WriteTimeout] and ctx allow. data is not kept.
//
// If ctx ends before the writing began, nothing was sent and nothing is wrong.
// If it ends during the writing, or the writing fails, the message is broken
// off: further writes fail, and the connection is destroyed when the lease
// ends. It fails as well with what ended the connection, such as a
// [*CloseError], with [ErrUnsolicited], or with [ErrReleased].
func (c *Conn) WriteMessage(ctx context.Context, messageType int, data []byte) error {
	if !c.link.begin(c) {
		return ErrReleased
	}
	err := c.send(ctx, messageType, data)
	c.link.finish(c)
	return c.orReleased(err)
}

// orReleased is err, unless the lease has ended meanwhile: then what went wrong
// is the end of the connection behind it.
func (c *Conn) orReleased(err error) error {
	if err != nil && c.ended.Load() {
		return ErrReleased
	}
	return err
}

// Subprotocol returns the one that the server chose, or "".
func (c *Conn) Subprotocol() string { return c.link.ws.Subprotocol() }

// Info returns what is known about the connection, Idle being how long it had
// been idle when it was leased. Once the lease has ended it is the zero Info.
func (c *Conn) Info() resource.Info { return c.lease.Info() }

// Release gives the connection back. It is destroyed instead if it is not
// clean: if a message waits unread or was waited for in vain, a write was
// broken off, a read or write of the lease still runs, or the connection is
// dead. The first end of a lease counts; others do nothing.
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
