//go:build unix

package main

import (
	"bufio"
	"bytes"
	"fmt"
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

// invocation is the program in a process of its own.
type invocation struct {
	cmd   *exec.Cmd
	lines *bufio.Reader
	errs  *bytes.Buffer
	pids  []int // of the fleet
}

var started = regexp.MustCompile(`(?:starts|joins), process (\d+)`)

// begin starts the program and reads until the line with this text.
func begin(t *testing.T, until string, args ...string) *invocation {
	t.Helper()
	r := &invocation{cmd: exec.CommandContext(t.Context(), os.Args[0], args...), errs: &bytes.Buffer{}}
	r.cmd.Env = append(os.Environ(), asMain+"=1")
	r.cmd.Stderr = r.errs
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.lines = bufio.NewReader(out)
	for {
		line, err := r.lines.ReadString('\n')
		if err != nil {
			t.Fatalf("the program ended: %v: %s", err, r.errs)
		}
		if m := started.FindStringSubmatch(line); m != nil {
			pid, err := strconv.Atoi(m[1])
			if err != nil {
				t.Fatal(err)
			}
			r.pids = append(r.pids, pid)
		}
		if strings.Contains(line, "\x1b") {
			t.Errorf("a color in a pipe: %q", line)
		}
		if strings.Contains(line, until) {
			return r
		}
	}
}

// gone waits until no process of the fleet runs.
func (r *invocation) gone(t *testing.T) {
	t.Helper()
	if len(r.pids) < 4 {
		t.Errorf("only %d processes had started", len(r.pids))
	}
	for _, pid := range r.pids {
		for by := time.Now().Add(time.Minute); alive(pid); time.Sleep(time.Millisecond) { // between looks
			if time.Now().After(by) {
				t.Fatalf("process %d runs although the program has ended", pid)
			}
		}
	}
}

// alive reports whether a process exists and is no zombie: in a container the zombies of
// orphans may stay.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !os.IsNotExist(err) || !hungUpWorks // without /proc the signal decides
	}
	after := stat[bytes.LastIndexByte(stat, ')')+1:]
	return !bytes.HasPrefix(bytes.TrimSpace(after), []byte("Z"))
}

// An interrupt ends the processes of the fleet, a stopped one included. The program shows
// what has happened and exits with status 1.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	for signal, until := range map[syscall.Signal]string{syscall.SIGINT: "is stopped (SIGSTOP)", syscall.SIGTERM: "d starts"} {
		r := begin(t, until, "-for", "5s", "-lease", "1s")
		if err := r.cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(r.lines)
		if err != nil {
			t.Fatal(err)
		}
		err = r.cmd.Wait()
		if code := r.cmd.ProcessState.ExitCode(); code != 1 {
			t.Errorf("%v: %v, want exit status 1", signal, err)
		}
		if got := r.errs.String(); got != "fleet: interrupted\n" {
			t.Errorf("%v: the program says %q", signal, got)
		}
		if !strings.Contains(string(rest), "most sessions at once") {
			t.Errorf("%v: there is no chart:\n%s", signal, rest)
		}
		r.gone(t)
	}
}

// If the program is killed, the processes of the fleet end, a stopped one included.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Parallel()
	r := begin(t, "is stopped (SIGSTOP)", "-for", "5s", "-lease", "1s")
	if err := r.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, r.lines)
	_ = r.cmd.Wait()
	r.gone(t)
}

// A reader that goes away, as head does, ends the program and the fleet.
func TestClosedPipe(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Parallel()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-for", "10s", "-lease", "1s")
	cmd.Env = append(os.Environ(), asMain+"=1")
	cmd.Stdout = write
	err = cmd.Start()
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	r := &invocation{cmd: cmd, lines: bufio.NewReader(read), errs: &bytes.Buffer{}}
	for len(r.pids) < 4 {
		line, err := r.lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if m := started.FindStringSubmatch(line); m != nil {
			pid, _ := strconv.Atoi(m[1])
			r.pids = append(r.pids, pid)
		}
	}
	read.Close()
	if err := cmd.Wait(); err == nil {
		t.Error("the program ended as if its output had been read")
	}
	r.gone(t)
}
