package main

import (
	"net"

	"golang.org/x/sys/unix"
)

// hungUpWorks says that hungUp can tell.
const hungUpWorks = true

// hungUp reports whether the peer has closed the connection, whether or not all that it sent
// has been read. It does not wait for the goroutine that reads conn.
func hungUp(conn net.Conn) (yes bool) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return true // closed here
	}
	err = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(fds, 0)
		yes = err == nil && n == 1 && fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	})
	return yes || err != nil
}
