//go:build unix

package main

import (
	"os"
	"syscall"
)

// suspend and wake stop a process and continue it.
func suspend(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }
func wake(p *os.Process) error    { return p.Signal(syscall.SIGCONT) }
