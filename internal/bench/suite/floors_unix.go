//go:build unix

package suite

import (
	"errors"
	"net"
	"syscall"
)

// openPeek returns a way to look into a connection that has nothing to read.
func openPeek() (peek func(n int), end func() error, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	other, err := l.Accept()
	if err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return nil, nil, errors.Join(err, c.Close(), other.Close())
	}
	var b [1]byte
	look := func(fd uintptr) {
		if _, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT); err != syscall.EAGAIN {
			panic(err) // nobody writes, and nobody closes
		}
	}
	return func(n int) {
		for range n {
			if err := raw.Control(look); err != nil {
				panic(err)
			}
		}
	}, func() error { return errors.Join(c.Close(), other.Close()) }, nil
}
