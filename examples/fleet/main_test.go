package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/respool/respool/internal/outside"
)

// asMain, if set in the environment, makes the test binary run the program.
const asMain = "RESPOOL_EXAMPLE_MAIN"

// TestMain runs a process of the fleet, or the program, if the test binary was started as one.
func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" || os.Getenv(asMain) != "" {
		main()
		return
	}
	flag.Parse()
	_ = flag.Set("test.parallel", "4") // the tests wait for leases most of the time
	goleak.VerifyTestMain(m)
}

// play runs the program in this process and returns what it printed and its exit status.
func play(t *testing.T, args ...string) (out string, status int) {
	t.Helper()
	if seed := os.Getenv("RESPOOL_SEED"); seed != "" { // else it is drawn, and in the output
		args = append(args, "-seed", seed)
	}
	var stdout, stderr bytes.Buffer
	status = program(args, &stdout, &stderr)
	t.Logf("%s\n%s", stdout.String(), stderr.String())
	return stdout.String() + stderr.String(), status
}

// wantAll checks that the output has all of these.
func wantAll(t *testing.T, out string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("the program does not say %q", w)
		}
	}
}

// keeps runs the program and checks that the quota was kept and used.
func keeps(t *testing.T, args ...string) {
	t.Helper()
	lengths := []string{"-for", "8s", "-lease", "1500ms"} // on a slow machine a run takes longer
	if testing.Short() {
		lengths = []string{"-for", "5s", "-lease", "1s"}
	}
	out, status := play(t, append(lengths, args...)...)
	if status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	wantAll(t, out, "is killed (kill -9)", "is stopped (SIGSTOP)", "continues (SIGCONT)", "e joins", "the engine is down",
		"the engine is back, without its data", "it grants again", "5 processes", "most sessions at once    20 of 20")
}

// Through all that happens to them, the processes use 20 sessions and never 21.
func TestRun(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "chart.svg")
	keeps(t, "-plot", file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(text, new(struct{})); err != nil || !bytes.Contains(text, []byte("limit 20")) {
		t.Errorf("the picture is not one: %v", err)
	}
}

// The judge can fail: processes that open what they like while the engine is away exceed the
// limit, and the program says so.
func TestRun_Exceeded(t *testing.T) {
	t.Parallel()
	out, status := play(t, "-for", "5s", "-lease", "1s", "-lost", lostOpen)
	if status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	wantAll(t, out, "fleet: the server counted ", " sessions at ", "; 20 are allowed")
	_, after, _ := strings.Cut(out, "the engine is down")
	during, _, _ := strings.Cut(after, "it grants again")
	if !exceeded(during) {
		t.Errorf("after the engine was cut off, the server never counted more than 20 before it granted again:\n%s", during)
	}
}

// exceeded reports whether a line of the time line has more than limit sessions.
func exceeded(lines string) bool {
	for line := range strings.Lines(lines) {
		if before, _, ok := strings.Cut(line, "/20"); ok {
			if f := strings.Fields(before); len(f) > 0 && len(f[len(f)-1]) == 2 && f[len(f)-1] > "20" {
				return true
			}
		}
	}
	return false
}

// Real engines, started by the test.
func TestRun_Redis(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	external(t, address, "redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--requirepass", "secret", "--dir", t.TempDir())
	keeps(t, "-redis", "redis://:secret@"+address+"/1", "-for", "10s", "-lease", "2s")
}

func TestRun_Etcd(t *testing.T) {
	t.Parallel()
	address, peers := freeAddress(t), "http://"+freeAddress(t)
	external(t, address, "etcd-server", "etcd", "--data-dir", t.TempDir(), "--listen-client-urls", "http://"+address, "--advertise-client-urls", "http://"+address,
		"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "default="+peers)
	keeps(t, "-etcd", address, "-for", "10s", "-lease", "2s")
}

// freeAddress returns an address that is free now. The server that is to listen there fails
// to start if another takes it first.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// external runs an outside program until the test has ended, and waits until it listens.
func external(t *testing.T, address, pkg, name string, args ...string) {
	t.Helper()
	path := outside.Program(t, []string{name}, pkg)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, args...)
	said := &tail{}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { defer close(exited); _ = cmd.Wait() }()
	t.Cleanup(func() { cancel(); <-exited })
	for by := time.Now().Add(time.Minute); ; {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-exited:
			t.Fatalf("%s has ended: %s", name, said)
		case <-time.After(10 * time.Millisecond): // between looks
		}
		if time.Now().After(by) {
			t.Fatalf("%s does not listen: %v: %s", name, err, said)
		}
	}
}

// Invalid arguments get one error that names all of them, and none shows a password.
func TestArguments(t *testing.T) {
	for _, test := range []struct {
		args   []string
		status int
		want   []string
	}{
		{[]string{"-h"}, 0, []string{"-redis address", "-plot file"}},
		{[]string{"-x"}, 2, []string{"not defined: -x"}},
		{
			[]string{"-lease", "1ms", "-for", "1ns", "-down", "0", "-lost", "x", "-redis", "a", "-etcd", "b", "-plot", "a.png", "more"}, 2,
			[]string{"-lease must", "-for must", "-down must", "-lost must be one of closed, share, open", "exclude each other", "-plot must", `["more"]`},
		},
		{[]string{"-redis", "rediss://:secret@h:1"}, 1, []string{"the address of a Redis must be"}},
		{[]string{"-redis", "redis://:secret@%zz"}, 1, []string{"the address of a Redis must be"}},
		{[]string{"-plot", filepath.Join("no", "such", "folder.svg")}, 1, []string{"folder.svg"}},
		{[]string{"-etcd", "h"}, 1, []string{"the address of an etcd must be host:port"}},
		{[]string{"-redis", "redis://:secret@127.0.0.1:1"}, 1, []string{"the Redis at 127.0.0.1:1 does not answer"}},
	} {
		var out bytes.Buffer
		if status := program(test.args, &out, &out); status != test.status {
			t.Errorf("%q: exit status %d, want %d", test.args, status, test.status)
		}
		wantAll(t, out.String(), test.want...)
		if strings.Contains(out.String(), "secret") {
			t.Errorf("%q: the output has the password: %s", test.args, out.String())
		}
	}
}

// A run in which the limit was not reached shows nothing, unless it was cut short.
func TestVerdict(t *testing.T) {
	for _, test := range []struct {
		most int
		cut  bool
		want string
	}{
		{20, false, ""}, {20, true, ""}, {3, true, ""},
		{19, false, "never used more than 19"}, {21, false, "counted 21"}, {21, true, "counted 21"},
	} {
		err := verdict(&history{most: test.most}, test.cut)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%d sessions: %v, want %q", test.most, err, test.want)
		}
	}
}

// A process without orders exits with status 2.
func TestChild_NoOrders(t *testing.T) {
	for _, in := range []string{"", "{}", "{\n"} {
		var out bytes.Buffer
		if status := child(strings.NewReader(in), io.Discard, &out); status != 2 || !strings.Contains(out.String(), "no orders") {
			t.Errorf("%q: exit status %d: %s", in, status, out.String())
		}
	}
	if _, _, err := openLedger(order{Kind: "x"}); err == nil || errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("an engine that does not exist: %v", err)
	}
}
