//go:build unix

package main

import (
	"os"
	"os/exec"
	"syscall"
)

// detach gives the process a group of its own, so that a terminal does not interrupt it. If
// the parent is killed while the process is stopped, the group is orphaned: the kernel sends
// SIGHUP and SIGCONT to it, which end the process.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// suspend and wake stop a process and continue it.
func suspend(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }
func wake(p *os.Process) error    { return p.Signal(syscall.SIGCONT) }
