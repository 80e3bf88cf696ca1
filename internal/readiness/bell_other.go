//go:build !linux

package readiness

import "syscall"

// New returns nil: there are no bells on this system.
func New(syscall.RawConn, func()) *Bell { return nil }

type socket struct{}

func (socket) set(*poller, bool) bool { return false }
func (socket) remove(*poller)         {}

type poller struct{}

func (*poller) leave(*Bell) {}
