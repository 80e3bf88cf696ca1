//go:build unix

package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// After SIGTERM running questions are answered, the pool is closed, and the program exits
// with status 0.
func TestSIGTERM(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-serve")
	cmd.Env = append(os.Environ(), asMain+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "serving\n" {
		t.Fatalf("the program said %q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(lines)
	if err != nil {
		t.Fatal(err)
	}
	const want = "stopped\nclosed: every worker that was started has exited: true\n"
	if string(rest) != want {
		t.Errorf("after SIGTERM the program said\n%s\nwant\n%s", rest, want)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v, want exit status 0", err)
	}
}
