//go:build unix

package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// started matches the line of a server that starts.
var started = regexp.MustCompile(` starts, process (\d+), `)

// TestInterrupt checks that an interrupt ends the servers, one that is stopped included, and that
// the program exits with status 1.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-callers", "4", "-pace", "0s")
	cmd.Env = append(os.Environ(), asMain+"=1")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("the program ended: %v: %s", err, errs.String())
		}
		if m := started.FindStringSubmatch(line); m != nil {
			pid, _ := strconv.Atoi(m[1])
			pids = append(pids, pid)
		}
		if strings.Contains(line, "is stopped (SIGSTOP)") {
			break
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, lines); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 || errs.String() != "cluster: interrupted\n" {
		t.Errorf("%v: the program says %q; want exit status 1 and that it was interrupted", err, errs.String())
	}
	if len(pids) != 5 {
		t.Errorf("%d servers had started, want 5", len(pids))
	}
	for _, pid := range pids { // the program has waited for each, so that none is a zombie
		for by := time.Now().Add(30 * time.Second); syscall.Kill(pid, 0) == nil; time.Sleep(time.Millisecond) { // between looks
			if time.Now().After(by) {
				t.Errorf("process %d runs although the program has ended", pid)
				break
			}
		}
	}
}
