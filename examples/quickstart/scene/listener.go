package scene

import (
	"net"
	"sync"
)

// countListener counts connections from accept to close, so that none is hidden,
// handshakes included.
type countListener struct {
	net.Listener

	mu       sync.Mutex
	open     map[*countConn]struct{}
	accepted int64
	peak     int64 // most open at once
	closed   bool
}

func (l *countListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		c.Close()
		return nil, net.ErrClosed
	}
	cc := &countConn{Conn: c, in: l}
	l.open[cc] = struct{}{}
	l.accepted++
	l.peak = max(l.peak, int64(len(l.open)))
	return cc, nil
}

// counts returns how many connections were accepted, and the most at once.
func (l *countListener) counts() (accepted, peak int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted, l.peak
}

// closeAll closes every connection, and every later one at its accept.
func (l *countListener) closeAll() {
	l.mu.Lock()
	l.closed = true
	var all []*countConn
	for c := range l.open {
		all = append(all, c)
	}
	l.mu.Unlock()
	for _, c := range all {
		c.Close()
	}
}

type countConn struct {
	net.Conn
	in *countListener
}

func (c *countConn) Close() error {
	err := c.Conn.Close()
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	delete(c.in.open, c)
	return err
}
