//go:build unix

package suite

import (
	"math"
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

// peeks looks n times into a connection without data to read.
var peeks = func(n int) {
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	c := must(net.Dial("tcp", l.Addr().String()))
	defer c.Close()
	other := must(l.Accept())
	defer other.Close()
	raw := must(c.(*net.TCPConn).SyscallConn())
	var b [1]byte
	look := func(fd uintptr) {
		if _, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT); err != syscall.EAGAIN {
			check(err) // the other end neither writes nor closes
		}
	}
	for range n {
		check(raw.Control(look))
	}
}

// descriptors returns how many files this process may have open.
func descriptors() int {
	var l syscall.Rlimit
	check(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l))
	return int(min(l.Cur, math.MaxInt32))
}
