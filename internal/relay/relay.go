// Package relay stands between a client and a server on loopback and does to
// their TCP connections what networks do: delays, cuts, resets, and silence.
//
//	r, err := relay.New(server.Addr().String())
//	defer r.Close()
//	// the client dials r.Addr()
//
// A fault is one call, on a connection that lives or in a hook that sees each
// before its first byte:
//
//	r.Conns()[0].BlackHole()                              // half-open from now on
//	r.Conns()[0].Down().Cut()                             // the client reads the end
//	r.OnConn(func(c *relay.Conn) { c.Reset() })           // accepted, and reset
//	r.OnConn(func(c *relay.Conn) { c.Up().Trickle(pause) }) // one byte at a time
//	c.Down().After(100, c.Reset)                          // within the server's answer
package relay

import (
	"context"
	"net"
	"slices"
	"sync"
)

// Relay passes each connection that it accepts on to one of its own to the
// target. Its methods, and those of Conn and Way, may be called by several
// goroutines at once.
type Relay struct {
	target   string
	listener net.Listener
	ctx      context.Context // ends at Close
	cancel   context.CancelFunc
	running  sync.WaitGroup

	mu    sync.Mutex
	hook  func(*Conn)
	conns []*Conn
}

// New listens on loopback, on a port of the system's choice.
func New(target string) (*Relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Relay{target: target, listener: l}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.running.Go(r.accept)
	return r, nil
}

// Addr is where clients dial.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// OnConn has f called with every connection accepted from now on, when both of
// its sides stand and before a byte passes. f must not block. Nil: nothing is
// called.
func (r *Relay) OnConn(f func(*Conn)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hook = f
}

// Conns returns the connections that are open, the oldest first. Once a client
// has heard anything from the server its connection is among them.
func (r *Relay) Conns() []*Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.conns)
}

// Refuse stops listening for good: dials are refused by the system. Connections
// stay.
func (r *Relay) Refuse() { r.listener.Close() }

// Close ends everything, however it is stuck, and waits for it.
func (r *Relay) Close() {
	r.cancel()
	r.Refuse()
	r.running.Wait()
}

// accept returns when the listener is closed.
func (r *Relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.running.Go(func() { r.serve(client.(*net.TCPConn)) })
	}
}

func (r *Relay) serve(client *net.TCPConn) {
	var d net.Dialer
	server, err := d.DialContext(r.ctx, "tcp", r.target)
	if err != nil {
		reset(client)
		return
	}
	c := newConn(client, server.(*net.TCPConn))
	r.mu.Lock()
	r.conns = append(r.conns, c)
	hook := r.hook
	r.mu.Unlock()
	stop := context.AfterFunc(r.ctx, c.Close)
	defer stop()
	if hook != nil {
		hook(c)
	}
	c.serve()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns = slices.DeleteFunc(r.conns, func(o *Conn) bool { return o == c })
}

// Conn is one connection through the relay.
type Conn struct {
	up, down *Way
	done     chan struct{} // closed when it ends as a whole
	once     sync.Once
}

func newConn(client, server *net.TCPConn) *Conn {
	c := &Conn{done: make(chan struct{})}
	c.up = newWay(c, client, server)
	c.down = newWay(c, server, client)
	return c
}

// Up is the way from the client to the server.
func (c *Conn) Up() *Way { return c.up }

// Down is the way from the server to the client.
func (c *Conn) Down() *Way { return c.down }

// Close ends both sides as a process does that is killed: with FIN if all that
// came was read.
func (c *Conn) Close() { c.end((*net.TCPConn).Close) }

// Reset ends both sides with RST.
func (c *Conn) Reset() { c.end(reset) }

// BlackHole keeps both sides open and passes nothing on any more, the end
// included, until Close or Reset.
func (c *Conn) BlackHole() {
	c.up.BlackHole()
	c.down.BlackHole()
}

// Pause passes nothing on in either way until Resume.
func (c *Conn) Pause() {
	c.up.Pause()
	c.down.Pause()
}

// Resume ends a Pause.
func (c *Conn) Resume() {
	c.up.Resume()
	c.down.Resume()
}

func (c *Conn) end(how func(*net.TCPConn) error) {
	c.once.Do(func() {
		close(c.done)
		how(c.up.from)
		how(c.down.from)
	})
}

// serve returns when the connection has ended.
func (c *Conn) serve() {
	var both sync.WaitGroup
	both.Go(c.up.pump)
	both.Go(c.down.pump)
	both.Wait()
	c.Close()
}

// reset closes c with RST.
func reset(c *net.TCPConn) error {
	c.SetLinger(0)
	return c.Close()
}
