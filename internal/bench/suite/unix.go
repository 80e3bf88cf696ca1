//go:build unix

package suite

import (
	"net"
	"syscall"
	"time"
)

// cpuNow returns the CPU time that this process has used so far.
func cpuNow() time.Duration {
	var u syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// openPeek returns a loop that looks into a connection without data to read; nil: not
// supported.
func openPeek() (peek func(n int), end func()) {
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	c := must(net.Dial("tcp", l.Addr().String()))
	other := must(l.Accept())
	raw := must(c.(*net.TCPConn).SyscallConn())
	var b [1]byte
	look := func(fd uintptr) {
		if _, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT); err != syscall.EAGAIN {
			check(err) // the other end neither writes nor closes
		}
	}
	return func(n int) {
		for range n {
			check(raw.Control(look))
		}
	}, func() { c.Close(); other.Close() }
}
