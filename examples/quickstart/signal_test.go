//go:build unix

package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// begin starts the program and waits for its first progress line.
func begin(t *testing.T, args ...string) (cmd *exec.Cmd, out *bufio.Reader) {
	t.Helper()
	cmd = exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asMain+"=1")
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out = bufio.NewReader(pipe)
	until(t, out, "pool: ")
	return cmd, out
}

// until reads lines to the first that begins with prefix.
func until(t *testing.T, out *bufio.Reader, prefix string) {
	t.Helper()
	for {
		line, err := out.ReadString('\n')
		if err != nil {
			t.Fatalf("%v before a line %q", err, prefix)
		}
		if strings.HasPrefix(line, prefix) {
			return
		}
	}
}

func interrupt(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
}

// One interrupt, output into a pipe: progress in plain lines, a drain, a report, exit status 130.
func TestSignal(t *testing.T) {
	cmd, out := begin(t, "-utterances=1000000", "-clients=4", "-size=2")
	interrupt(t, cmd)
	until(t, out, "interrupted: ")
	rest, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("ended with %v, want exit status 130", err)
	}
	if !strings.Contains(string(rest), "Interrupted: the figures are of the work done until then.") {
		t.Errorf("no report:\n%s", rest)
	}
}

// The second interrupt does not wait for utterances without a reply.
func TestSecondSignal(t *testing.T) {
	cmd, out := begin(t, "-inference-delay=1h", "-timeout=1h", "-clients=4", "-size=2")
	interrupt(t, cmd)
	until(t, out, "interrupted: ")
	interrupt(t, cmd)
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Exited() {
		t.Errorf("ended with %v, want the end by a signal", err)
	}
}
