package outside

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// TestStop: a process that was stopped uses no processor until SIGCONT.
func TestStop(t *testing.T) {
	cmd := exec.Command("sh", "-c", "while :; do :; done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	used := func() string {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return string(bytes.Join(bytes.Fields(stat)[13:15], []byte(" "))) // utime and stime: proc_pid_stat(5)
	}
	for range 3 {
		began := used()
		for end := time.Now().Add(10 * time.Second); used() == began; time.Sleep(time.Millisecond) { // polls: there is no event
			if time.Now().After(end) {
				t.Fatal("it does not run")
			}
		}
		Stop(t, cmd.Process)
		stopped := used()
		time.Sleep(100 * time.Millisecond) // the time in which it would run
		if now := used(); now != stopped {
			t.Errorf("it runs: %s ticks, then %s", stopped, now)
		}
		if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
}
