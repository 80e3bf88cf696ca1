// Package relay is a TCP proxy on loopback that injects network faults: delays, half-closes,
// resets and black holes.
//
//	r, err := relay.New(server.Addr().String())
//	defer r.Close()
//	// the client dials r.Addr()
//
// A fault is one call, on an open connection or in a hook that is called for each
// connection before its first byte:
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

// Relay forwards each connection that it accepts to a new connection to the target. Its
// methods, and those of Conn and Way, are safe for concurrent use.
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

// New listens on loopback, on a port chosen by the system.
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

// Addr returns the address for clients to dial.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// OnConn sets a function that is called with every connection accepted from now on, when
// both sides are connected and before a byte is forwarded. f must not block. Nil removes
// it.
func (r *Relay) OnConn(f func(*Conn)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hook = f
}

// Conns returns the open connections, the oldest first. A connection is included at the
// latest when its client has received a byte from the server.
func (r *Relay) Conns() []*Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.conns)
}

// Refuse stops listening for good, so the system refuses dials. Connections stay open.
func (r *Relay) Refuse() { r.listener.Close() }

// Close ends all connections, whatever their faults, and waits for their goroutines.
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

// Up returns the direction from the client to the server.
func (c *Conn) Up() *Way { return c.up }

// Down returns the direction from the server to the client.
func (c *Conn) Down() *Way { return c.down }

// Close closes both sides as a killed process does: with FIN if all received bytes were
// read, otherwise with RST.
func (c *Conn) Close() { c.end((*net.TCPConn).Close) }

// Reset closes both sides with RST.
func (c *Conn) Reset() { c.end(reset) }

// BlackHole keeps both sides open and forwards nothing any more, EOF included, until Close
// or Reset.
func (c *Conn) BlackHole() {
	c.up.BlackHole()
	c.down.BlackHole()
}

// Pause forwards nothing in either direction until Resume.
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
