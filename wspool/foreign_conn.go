package wspool

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// foreignConn is a connection of Config.NetDial that is no plain socket. Its
// methods are the user's code and are called by the pool's goroutines: a panic in
// one becomes an error of the connection instead of the end of the process.
type foreignConn struct {
	net.Conn
	report func(error)
	broken atomic.Pointer[error] // what the first panic or Goexit was; nil: none
}

// foreignTryConn is a foreignConn that can be read without waiting.
type foreignTryConn struct {
	*foreignConn
	try tryReader
}

// guardConn returns c with panics contained. Sockets of package net are left as
// they are: they do not panic, and wire knows them by their type.
func guardConn(c net.Conn, report func(error)) net.Conn {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return c
	}
	f := &foreignConn{Conn: c, report: report}
	if try, ok := c.(tryReader); ok {
		return foreignTryConn{f, try}
	}
	return f
}

// contain is deferred around a call of the method of that name.
func (c *foreignConn) contain(method string, returned *bool, err *error) {
	if *returned {
		return
	}
	what := panicked("the "+method+" of what NetDial returned", recover())
	end := fmt.Errorf("wspool: broken connection: %w", what)
	*err = end // a copy is kept: err must not escape, which would cost each call an allocation
	if c.broken.CompareAndSwap(nil, &end) && method != "Close" {
		c.Close() // wakes a Read that waits, which a deadline may not reach any more
	}
	c.report(what)
}

// end returns the error of a connection that has panicked, else nil.
func (c *foreignConn) end() error {
	if err := c.broken.Load(); err != nil {
		return *err
	}
	return nil
}

func (c *foreignConn) Read(p []byte) (n int, err error) {
	if err := c.end(); err != nil {
		return 0, err
	}
	returned := false
	defer c.contain("Read", &returned, &err)
	n, err = c.Conn.Read(p)
	returned = true
	return n, err
}

func (c foreignTryConn) TryRead(p []byte) (n int, err error) {
	if err := c.end(); err != nil {
		return 0, err
	}
	returned := false
	defer c.contain("TryRead", &returned, &err)
	n, err = c.try.TryRead(p)
	returned = true
	return n, err
}

func (c *foreignConn) Write(p []byte) (n int, err error) {
	if err := c.end(); err != nil {
		return 0, err
	}
	returned := false
	defer c.contain("Write", &returned, &err)
	n, err = c.Conn.Write(p)
	returned = true
	return n, err
}

func (c *foreignConn) Close() (err error) {
	returned := false
	defer c.contain("Close", &returned, &err)
	err = c.Conn.Close()
	returned = true
	return err
}

func (c *foreignConn) SetDeadline(t time.Time) error {
	return c.set("SetDeadline", c.Conn.SetDeadline, t)
}

func (c *foreignConn) SetReadDeadline(t time.Time) error {
	return c.set("SetReadDeadline", c.Conn.SetReadDeadline, t)
}

func (c *foreignConn) SetWriteDeadline(t time.Time) error {
	return c.set("SetWriteDeadline", c.Conn.SetWriteDeadline, t)
}

func (c *foreignConn) set(method string, f func(time.Time) error, t time.Time) (err error) {
	returned := false
	defer c.contain(method, &returned, &err)
	err = f(t)
	returned = true
	return err
}
