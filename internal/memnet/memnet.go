// Package memnet is a network in memory: a listener, and connections with
// buffers of a stated size and working deadlines. It runs in a synctest bubble,
// where real sockets do not, and where net.Pipe, which has no buffer, makes
// peers wait for each other as they never do on a network.
package memnet

import (
	"context"
	"net"
	"sync"
)

// Listener accepts the connections that Dial makes.
type Listener struct {
	size  int
	queue chan net.Conn
	done  chan struct{}
	once  sync.Once
}

var _ net.Listener = (*Listener)(nil)

// Listen returns a listener whose connections hold size bytes each way that the
// other side has not read yet.
func Listen(size int) *Listener {
	return &Listener{size: size, queue: make(chan net.Conn), done: make(chan struct{})}
}

// Dial connects to l. It waits until the connection is accepted, ctx ends or l
// is closed. It fits net.Dialer's DialContext; network and address do not
// matter.
func (l *Listener) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := Pipe(l.size)
	select {
	case l.queue <- server:
		return client, nil
	case <-ctx.Done():
		return nil, opError("dial", ctx.Err())
	case <-l.done:
		return nil, opError("dial", net.ErrClosed)
	}
}

// Accept returns the next connection, or an error once l is closed.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.done:
		return nil, opError("accept", net.ErrClosed)
	}
}

// Close ends Accept and Dial. Connections stay.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr returns an address that names the network alone.
func (l *Listener) Addr() net.Addr { return addr{} }

type addr struct{}

func (addr) Network() string { return "mem" }
func (addr) String() string  { return "mem" }

func opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "mem", Addr: addr{}, Err: err}
}
