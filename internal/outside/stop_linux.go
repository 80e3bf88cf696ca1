package outside

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// stopWait bounds the time until a process stands still.
const stopWait = 30 * time.Second

// Stop stops p with SIGSTOP and returns when none of its threads runs any more. kill(2) returns
// earlier, and on a busy machine the process may work on for a while. SIGCONT ends the stop.
func Stop(t testing.TB, p *os.Process) {
	t.Helper()
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Errorf("SIGSTOP: %v", err)
		return
	}
	for began := time.Now(); !still(p.Pid); {
		if time.Since(began) > stopWait {
			t.Errorf("process %d runs %v after SIGSTOP", p.Pid, stopWait)
			return
		}
		time.Sleep(time.Millisecond) // polls: the kernel tells only the parent, through wait4
	}
}

// still reports whether no thread of a process runs, because they are stopped or have ended.
func still(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false // the pattern is constant but for a number
	}
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if err != nil {
			continue // it has ended
		}
		// proc_pid_stat(5): the state follows the name, which is in parentheses and may contain others.
		name := bytes.LastIndexByte(stat, ')')
		if name < 0 || name+2 >= len(stat) || !bytes.ContainsRune([]byte("TtZX"), rune(stat[name+2])) {
			return false
		}
	}
	return true
}
