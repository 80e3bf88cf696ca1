package wsconn

import (
	"syscall"
	"unsafe"
)

// outQueue returns how many bytes written to a socket the kernel holds that the peer
// has not acknowledged: SIOCOUTQ, see tcp(7). It returns 0 if that fails.
func outQueue(fd int) int {
	var n int32
	if _, _, err := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n))); err != 0 {
		return 0
	}
	return int(n)
}
