package wspool

import (
	"syscall"
	"unsafe"
)

// outQueue is how many bytes the kernel has of what was written to a socket that
// the peer has not acknowledged: SIOCOUTQ, see tcp(7). It is 0 if that fails.
func outQueue(fd int) int {
	var n int32
	if _, _, err := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n))); err != 0 {
		return 0
	}
	return int(n)
}
