// Package memnet is an in-memory network: a listener, and connections with buffers of a
// given size and deadlines. Unlike real sockets it works in a synctest bubble, and
// unlike net.Pipe, which has no buffer, it does not make each write wait for a read.
package memnet

import (
	"cmp"
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

// Listen returns a listener whose connections buffer size bytes in each direction.
func Listen(size int) *Listener {
	return &Listener{size: size, queue: make(chan net.Conn), done: make(chan struct{})}
}

// Dial connects to l. It blocks until the connection is accepted, ctx ends or l is closed.
// It has the signature of net.Dialer.DialContext; network is ignored, and address is only that of RemoteAddr.
func (l *Listener) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	client, server := Pipe(l.size)
	client.peer = addr(address)
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

// Close makes Accept and Dial fail. Connections stay open.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr returns the name of the network.
func (l *Listener) Addr() net.Addr { return addr("") }

// addr is an address; empty: the name of the network.
type addr string

func (addr) Network() string { return "mem" }

func (a addr) String() string { return cmp.Or(string(a), "mem") }

func opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "mem", Addr: addr(""), Err: err}
}
