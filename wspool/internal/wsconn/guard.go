package wsconn

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// guardedConn is a net.Conn that the user supplied and that is not a plain socket.
// Its methods are user code that goroutines of the pool call: a panic or Goexit in
// one becomes an error of the connection instead of ending the process.
type guardedConn struct {
	net.Conn
	contained func(where string, recovered any) error
	broken    atomic.Pointer[error] // the error of the first panic or Goexit; nil: none
}

// guardedTryConn is a guardedConn that can be read without blocking.
type guardedTryConn struct {
	*guardedConn
	try tryReader
}

// Guard returns c with the panics of its methods contained. contained turns a
// recovered value into an error and reports it; nil stands for a Goexit. It may be called
// while locks are held, as those methods are, and must not wait. Sockets of package net are returned unchanged: they do not panic, and
// [NewRawConn] recognizes them by their type.
func Guard(c net.Conn, contained func(where string, recovered any) error) net.Conn {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return c
	}
	g := &guardedConn{Conn: c, contained: contained}
	if try, ok := c.(tryReader); ok {
		return guardedTryConn{g, try}
	}
	return g
}

// contain is deferred around a call of the method of that name.
func (c *guardedConn) contain(method string, returned *bool, err *error) {
	if *returned {
		return
	}
	what := c.contained("the "+method+" of what NetDial returned", recover())
	end := fmt.Errorf("wspool: broken connection: %w", what)
	*err = end // keep a copy: if err escaped, each call would allocate
	if c.broken.CompareAndSwap(nil, &end) && method != "Close" {
		c.Close() // wakes a blocked Read, which a deadline may no longer reach
	}
}

// end returns the error of a connection that has panicked, else nil.
func (c *guardedConn) end() error {
	if err := c.broken.Load(); err != nil {
		return *err
	}
	return nil
}

func (c *guardedConn) Read(p []byte) (n int, err error) {
	if err := c.end(); err != nil {
		return 0, err
	}
	returned := false
	defer c.contain("Read", &returned, &err)
	n, err = c.Conn.Read(p)
	returned = true
	return n, err
}

func (c guardedTryConn) TryRead(p []byte) (n int, err error) {
	if err := c.end(); err != nil {
		return 0, err
	}
	returned := false
	defer c.contain("TryRead", &returned, &err)
	n, err = c.try.TryRead(p)
	returned = true
	return n, err
}

func (c *guardedConn) Write(p []byte) (n int, err error) {
	if err := c.end(); err != nil {
		return 0, err
	}
	returned := false
	defer c.contain("Write", &returned, &err)
	n, err = c.Conn.Write(p)
	returned = true
	return n, err
}

func (c *guardedConn) Close() (err error) {
	returned := false
	defer c.contain("Close", &returned, &err)
	err = c.Conn.Close()
	returned = true
	return err
}

func (c *guardedConn) SetDeadline(t time.Time) error {
	return c.set("SetDeadline", c.Conn.SetDeadline, t)
}

func (c *guardedConn) SetReadDeadline(t time.Time) error {
	return c.set("SetReadDeadline", c.Conn.SetReadDeadline, t)
}

func (c *guardedConn) SetWriteDeadline(t time.Time) error {
	return c.set("SetWriteDeadline", c.Conn.SetWriteDeadline, t)
}

func (c *guardedConn) set(method string, f func(time.Time) error, t time.Time) (err error) {
	returned := false
	defer c.contain(method, &returned, &err)
	err = f(t)
	returned = true
	return err
}
