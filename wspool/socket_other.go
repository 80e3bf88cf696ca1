//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package wspool

import "syscall"

// socket cannot look into the kernel on this system: what waits there is found
// by the reader alone, some microseconds later.
type socket struct{ raw syscall.RawConn }

func newSocket(*wire) *socket { return nil }

func (*socket) read([]byte) (int, error)     { panic("wspool: no socket") }
func (*socket) writeNow([]byte) (int, error) { panic("wspool: no socket") }
func (*socket) empty() bool                  { panic("wspool: no socket") }
func (*socket) unsent() int                  { panic("wspool: no socket") }
