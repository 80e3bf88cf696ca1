package servers

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/internal/outside"
)

// patience bounds events that must happen. No successful test waits for it to pass.
const patience = 20 * time.Second

// fault is how a server ends.
type fault string

const (
	stop  fault = "stop"  // it closes all connections
	drain fault = "drain" // it sends close frames first
	kill  fault = "kill"  // kill -9
)

// running is a running server. It ends at the end of the test at the latest.
type running interface {
	address() string
	end(t testing.TB, f fault) // returns when the process has ended
	count(t testing.TB) int    // number of clients
	empty(t testing.TB) []string
}

// process is a server that obeys the commands of child_test.go.
type process struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	said chan string // its lines; closed at EOF
	gone chan struct{}
	at   string
}

// launch starts the server, which listens on addr.
func launch(t testing.TB, env []string, addr, program string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(program, args...), said: make(chan string, 16), gone: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.gone)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.said <- lines.Text()
		}
		close(p.said)
		p.cmd.Wait() // the exit status does not matter
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.in.Close()
		p.wait(t)
	})
	p.at = p.hear(t, "listening")
	return p
}

// hear returns the rest of the next line of the process, which must begin with word.
func (p *process) hear(t testing.TB, word string) string {
	t.Helper()
	select {
	case line := <-p.said:
		said, rest, _ := strings.Cut(line, " ")
		if said != word {
			t.Fatalf("the server says %q, not %q", line, word)
		}
		return rest
	case <-time.After(patience):
		t.Fatalf("the server does not say %q", word)
		panic("unreachable")
	}
}

func (p *process) tell(t testing.TB, word string) {
	t.Helper()
	if _, err := io.WriteString(p.in, word+"\n"); err != nil {
		t.Fatalf("the server does not listen: %v", err)
	}
}

func (p *process) wait(t testing.TB) {
	t.Helper()
	select {
	case <-p.gone:
	case <-time.After(patience):
		t.Fatal("the server does not end")
	}
}

func (p *process) address() string { return p.at }

func (p *process) end(t testing.TB, f fault) {
	t.Helper()
	if f == kill {
		p.cmd.Process.Kill()
	} else {
		p.tell(t, string(f))
	}
	p.wait(t)
}

func (p *process) count(t testing.TB) int {
	t.Helper()
	p.tell(t, "count")
	return number(t, p.hear(t, "count"))
}

// pongs returns how many of its pings were answered, if it reports that.
func (p *process) pongs(t testing.TB) int {
	t.Helper()
	p.tell(t, "pongs")
	return number(t, p.hear(t, "pongs"))
}

// empty waits until the server has no clients and returns the close codes of those that have
// left.
func (p *process) empty(t testing.TB) []string {
	t.Helper()
	p.tell(t, "empty")
	return strings.Fields(p.hear(t, "empty"))
}

// own starts the test binary as a server.
func own(name string) func(testing.TB, string) running {
	return func(t testing.TB, addr string) running {
		t.Helper()
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		return launch(t, []string{asServer + "=" + name}, addr, self, addr)
	}
}

// script starts a server that Node runs.
func script(name string) func(testing.TB, string) running {
	return func(t testing.TB, addr string) running {
		t.Helper()
		outside.Wanted(t, "node and npm")
		node := outside.Program(t, []string{"node"}, "nodejs", "npm")
		modules := filepath.Join(installed(t), "node_modules")
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		return launch(t, []string{"NODE_PATH=" + modules}, addr, node, filepath.Join("testdata", name), host, port)
	}
}

// python starts a server that Debian's Python runs.
func python(name, library string) func(testing.TB, string) running {
	return func(t testing.TB, addr string) running {
		t.Helper()
		debian(t, filepath.Join("/usr/lib/python3/dist-packages", library))
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		return launch(t, nil, addr, "/usr/bin/python3", "-B", filepath.Join("testdata", name), host, port)
	}
}

// packages are the Debian packages of the servers. The first test that misses one installs
// all of them at once.
var packages = []string{"python3-websockets", "python3-aiohttp", "websocketd", "mosquitto", "tomcat10", "tomcat10-examples",
	"nginx", "haproxy", "iproute2"}

// debian returns the path, after installing the packages if it does not exist.
func debian(t testing.TB, path string) string {
	t.Helper()
	return outside.Path(t, path, func() string {
		if _, err := os.Stat(path); err != nil {
			return ""
		}
		return path
	}, packages...)
}

// npm is the directory of the installed packages.
var npm struct {
	sync.Mutex
	dir string
}

// pins are the tested versions of the npm packages.
var pins = []string{"ws@8.18.3", "websocket@1.0.35", "engine.io@6.6.13", "socket.io@4.8.4", "graphql@16.15.0", "graphql-ws@6.4.2",
	"rpc-websockets@10.0.1"}

// installed installs the npm packages once and returns their directory.
func installed(t testing.TB) string {
	t.Helper()
	npm.Lock()
	defer npm.Unlock()
	if npm.dir != "" {
		return npm.dir
	}
	program := outside.Program(t, []string{"npm"}, "nodejs", "npm")
	dir, err := os.MkdirTemp("", "respool-npm-")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"install", "--prefix", dir, "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--no-package-lock"}
	for try := range 2 { // a registry may fail once
		cmd := exec.Command(program, append(args, pins...)...)
		timer := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
		out, err := cmd.CombinedOutput()
		timer.Stop()
		if err == nil {
			npm.dir = dir
			return dir
		}
		if try > 0 {
			os.RemoveAll(dir)
			t.Fatalf("npm install %v: %v\n%s", pins, err, out)
		}
	}
	panic("unreachable")
}
