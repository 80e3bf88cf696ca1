//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package wsconn

import "syscall"

// socket is not implemented on this system, where the kernel's buffer cannot be
// inspected: only the reader finds what has arrived, some microseconds later.
type socket struct{ raw syscall.RawConn }

func newSocket(*RawConn) *socket { return nil }

func (*socket) read([]byte) (int, error)     { panic("wsconn: no socket") }
func (*socket) writeNow([]byte) (int, error) { panic("wsconn: no socket") }
func (*socket) empty() bool                  { panic("wsconn: no socket") }
func (*socket) unsent() int                  { panic("wsconn: no socket") }
