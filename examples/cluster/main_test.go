package main

import (
	"bytes"
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
	_ = flag.Set("test.parallel", "3") // the tests wait most of the time
	goleak.VerifyTestMain(m)
}

// TestRun runs the program and checks what it says about every event.
func TestRun(t *testing.T) {
	t.Parallel()
	// On a slow machine a reply takes longer than a caller of the program waits.
	set := settings{callers: 12, work: 20 * time.Millisecond, pace: 100 * time.Millisecond, patience: 1500 * time.Millisecond, brief: testing.Short()}
	var stdout bytes.Buffer
	err := run(t.Context(), set, &stdout)
	out := stdout.String()
	t.Log(out)
	if err != nil {
		t.Error(err)
	}
	events := []string{
		"12 callers begin", "every server has its share",
		"c is killed (kill -9)", "c is ejected", "c is removed from the registry", "it is forgotten, and every server has its share",
	}
	if !set.brief {
		events = append(events, "d is stopped (SIGSTOP)", "d is ejected", "had no reply", "d continues (SIGCONT)", "every server has its share again")
	}
	events = append(events, "f joins", "every server has its share", "a is restarted (1001) as a2", "b is restarted (1001) as b2",
		"d is restarted (1001) as d2", "e is restarted (1001) as e2", "f is restarted (1001) as f2", "all servers are restarted",
		"every server has its share", "exchanges failed     0")
	rest := out
	for _, want := range events {
		_, after, found := strings.Cut(rest, want+"\n")
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

// TestArguments checks the exit status for arguments that are invalid, and that the message names
// each.
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

// TestServerEndsByItself checks that the end of a server by itself is an error that names it.
func TestServerEndsByItself(t *testing.T) {
	t.Parallel()
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
}

// TestBars checks the picture on a terminal: it is drawn over the last one, and events stay above
// it.
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
