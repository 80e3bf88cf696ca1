package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/respool/respool/wspool/cluster"
	"go.uber.org/goleak"
)

// asMain, if set in the environment, makes the test binary run the program.
const asMain = "RESPOOL_EXAMPLE_MAIN"

// TestMain runs a server, or the program, if the test binary was started as one.
func TestMain(m *testing.M) {
	if os.Getenv(asServer) != "" || os.Getenv(asMain) != "" {
		main()
		return
	}
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// TestRun runs the program and checks what it says about every event.
func TestRun(t *testing.T) {
	args := []string{"-callers", "12", "-pace", "100ms", "-patience", "3s"} // on a slow machine a reply takes longer
	if testing.Short() {
		args[5] = "1500ms"
	}
	var stdout, stderr bytes.Buffer
	status := program(args, &stdout, &stderr)
	out := stdout.String()
	t.Logf("%s%s", out, stderr.String())
	if status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	rest := out
	for _, want := range []string{
		"12 callers begin\n", "every server has its share\n",
		"c is killed (kill -9)\n", "c is ejected\n", "c is removed from the registry\n", "it is forgotten, and every server has its share\n",
		"d is stopped (SIGSTOP)\n", "d is ejected\n", "no caller waits for it any more; ", "d continues (SIGCONT)\n", "every server has its share again\n",
		"f joins\n", "every server has its share\n",
		"a is restarted (1001) as a2\n", "b is restarted (1001) as b2\n", "d is restarted (1001) as d2\n",
		"e is restarted (1001) as e2\n", "f is restarted (1001) as f2\n", "all servers are restarted\n", "every server has its share\n",
		"\nexchanges failed     0\n",
	} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Errorf("the program does not say %q at its place", want)
			continue
		}
		rest = after
	}
	if strings.Contains(out, "\x1b") {
		t.Error("an escape sequence in a pipe")
	}
	line := regexp.MustCompile(`(?m)^ *\d+\.\d s +\d+(  (\d+ \d+|killed|stopped|-) *){6}$`)
	if n := len(line.FindAllString(out, -1)); n < 5 {
		t.Errorf("%d lines show the load, want at least 5", n)
	}
}

// TestArguments checks the exit status for arguments that are invalid, and that the message names each.
func TestArguments(t *testing.T) {
	for _, test := range []struct {
		args   string
		status int
		want   []string
	}{
		{"-h", 0, []string{"-callers", "-work", "-pace", "-patience"}},
		{"-nonsense", 2, []string{"-nonsense", "-h lists the flags"}},
		{"-callers 0 -work 1h -pace -1s -patience 1ms more", 2, []string{"-callers", "-work", "-pace", "-patience", `"more"`}},
	} {
		var stderr bytes.Buffer
		if status := program(strings.Fields(test.args), io.Discard, &stderr); status != test.status {
			t.Errorf("%s: exit status %d, want %d", test.args, status, test.status)
		}
		for _, want := range test.want {
			if !strings.Contains(stderr.String(), want) {
				t.Errorf("%s: %q does not contain %q", test.args, stderr.String(), want)
			}
		}
	}
}

// TestServerFails checks that the failure of a server to start, or its end, is an error that says why.
func TestServerEndsByItself(t *testing.T) {
	sh := &show{settings: settings{callers: 10, work: 5 * time.Millisecond, patience: 5 * time.Second}, display: newDisplay(io.Discard)}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		sh.columns = append(sh.columns, &column{name: name})
	}
	defer func() {
		if err := errors.Join(sh.client.close(), sh.end()); err == nil || !strings.Contains(err.Error(), "server b") {
			t.Errorf("the error at the end is %v, want one about server b", err)
		}
	}()
	if err := sh.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := sh.columns[1].server.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	err := sh.await(t.Context(), "", func(cluster.Stats) bool { return false })
	if err == nil || !strings.Contains(err.Error(), "server b ended by itself") {
		t.Errorf("got %v, want that server b ended by itself", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	sh.columns[1].server.killed = false
	if err := sh.pause(ctx); err == nil {
		t.Error("an interrupted run goes on")
	}
}

// TestBars checks the picture on a terminal: it is drawn over the last one, and events stay above it.
func TestBars(t *testing.T) {
	var out bytes.Buffer
	d := &display{w: &out, bars: true}
	sh := &show{}
	d.last = []string{"one", "two"}
	d.draw()
	d.event(sh, "something happens")
	d.erase()
	d.erase()
	got := out.String()
	at := strings.Index(got, "something happens")
	if want := "one\ntwo\n\r\x1b[2A\x1b[J"; !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "something happens\none\ntwo\n\r\x1b[2A\x1b[J") || at < len(want) {
		t.Errorf("the screen got %q", got)
	}
}
