package redisd

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/respool/respool/internal/outside"
)

// patience bounds the start and the end of a server.
const patience = 30 * time.Second

// Server is one redis-server with a directory and an address of its own. Its methods
// must not be called concurrently, except Addr.
type Server struct {
	t       testing.TB
	program string
	dir     string
	addr    string
	args    []string
	env     []string
	cmd     *exec.Cmd
	log     *log
	gone    chan struct{} // closed when the process has ended
}

// Program returns the path of redis-server. It skips the test like outside.Program.
func Program(t testing.TB) string {
	t.Helper()
	return outside.Program(t, []string{"redis-server"}, "redis-server")
}

// Start starts a server without data, which writes no data unless the arguments say so, and
// waits until it accepts connections. The end of the test kills it.
func Start(t testing.TB, args ...string) *Server { return StartEnv(t, nil, args...) }

// StartEnv is Start with additions to the environment.
func StartEnv(t testing.TB, env []string, args ...string) *Server {
	t.Helper()
	s := prepare(t, t.TempDir(), args...)
	s.env = env
	s.Restart()
	return s
}

// Load starts a server with the data files of a directory, and does not wait for it.
func Load(t testing.TB, dir string, args ...string) *Server {
	t.Helper()
	s := prepare(t, dir, args...)
	s.start()
	return s
}

// Sentinel starts a Sentinel with the lines of its configuration.
func Sentinel(t testing.TB, lines ...string) *Server {
	t.Helper()
	s := prepare(t, t.TempDir())
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	lines = append([]string{"bind " + host, "port " + port, "dir " + s.dir, "protected-mode no"}, lines...)
	conf := filepath.Join(s.dir, "sentinel.conf")
	if err := os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.args = []string{conf, "--sentinel"}
	s.Restart()
	return s
}

func prepare(t testing.TB, dir string, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, program: Program(t), dir: dir, addr: unused(t)}
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	s.args = append([]string{"--bind", host, "--port", port, "--dir", s.dir, "--save", "", "--appendonly", "no", "--daemonize", "no",
		"--protected-mode", "no", "--repl-diskless-sync-delay", "0", "--replica-announce-ip", host, "--cluster-announce-ip", host}, args...)
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("redis-server at %s said: %s", s.addr, s.log)
		}
	})
	return s
}

// Addr returns host:port, which a restart does not change.
func (s *Server) Addr() string { return s.addr }

// Dir returns the directory of its files.
func (s *Server) Dir() string { return s.dir }

// Restart starts the server again after Kill or Terminate, with the data that it wrote, and
// waits until it accepts connections.
func (s *Server) Restart() {
	s.t.Helper()
	ready := s.start()
	select {
	case <-ready:
	case <-s.gone:
		s.t.Fatalf("redis-server ended as soon as it began: %s", s.log)
	case <-time.After(patience):
		s.t.Fatalf("redis-server does not accept connections: %s", s.log)
	}
}

// start starts the process. The channel is closed when it accepts connections.
func (s *Server) start() <-chan struct{} {
	s.t.Helper()
	s.cmd = exec.Command(s.program, s.args...)
	s.cmd.Env = append(os.Environ(), s.env...)
	s.cmd.Dir = s.dir
	// No server outlives the test, even if the test is killed.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	s.log = new(log)
	s.cmd.Stderr = s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ready, gone := make(chan struct{}), make(chan struct{})
	s.gone = gone
	cmd, log := s.cmd, s.log
	go func() {
		defer close(gone)
		once := sync.OnceFunc(func() { close(ready) })
		for lines := bufio.NewScanner(out); lines.Scan(); {
			log.add(lines.Text())
			// A Sentinel says the latter.
			if strings.Contains(lines.Text(), "Ready to accept connections") || strings.Contains(lines.Text(), "+monitor master") {
				once()
			}
		}
		cmd.Wait() // the exit status does not matter
	}()
	return ready
}

// Kill kills the process, as a crash does, and waits for its end. It does nothing if it has
// ended.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Terminate ends the process in order: it writes its data if it is configured to.
func (s *Server) Terminate() { s.end(syscall.SIGTERM) }

func (s *Server) end(sig syscall.Signal) {
	s.t.Helper()
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	s.signal(sig)
	select {
	case <-s.gone:
	case <-time.After(patience):
		s.t.Errorf("redis-server does not end: %s", s.log)
	}
}

// Stop stops the process until Continue, as a machine does that is overloaded or
// suspended. Its connections stay open.
func (s *Server) Stop() {
	s.t.Helper()
	select {
	case <-s.gone: // it is no error if the process has ended
	default:
		outside.Stop(s.t, s.cmd.Process)
	}
}

// Continue ends a Stop.
func (s *Server) Continue() { s.signal(syscall.SIGCONT) }

// signal sends a signal; it is no error if the process has ended.
func (s *Server) signal(sig syscall.Signal) {
	select {
	case <-s.gone:
	default:
		s.cmd.Process.Signal(sig)
	}
}

// Wipe removes the data files of a server that does not run.
func (s *Server) Wipe() {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "*"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range files {
		if err := os.RemoveAll(f); err != nil {
			s.t.Fatal(err)
		}
	}
}

// CPU returns the processor time that the running process has used, from /proc.
func (s *Server) CPU() time.Duration {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	// The name, in parentheses, may contain spaces. The times are fields 14 and 15.
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		s.t.Fatalf("/proc has %q", text)
	}
	var ticks int64
	for _, word := range f[11:13] {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			s.t.Fatal(err)
		}
		ticks += n
	}
	const perSecond = 100 // USER_HZ on Linux
	return time.Duration(ticks) * (time.Second / perSecond)
}

// log keeps the end of the output.
type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	const most = 40
	l.lines = l.lines[max(0, len(l.lines)-most):]
}

func (l *log) Write(p []byte) (int, error) {
	l.add(string(p))
	return len(p), nil
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// addresses is the number of addresses returned by unused.
var addresses atomic.Int32

// unused returns an address that only this process uses, below the ephemeral ports so that
// no outgoing connection takes the port, also of the cluster bus, which is 10000 higher.
func unused(t testing.TB) string {
	t.Helper()
	pid, n := os.Getpid(), int(addresses.Add(1))
	for try := range 100 {
		addr := fmt.Sprintf("127.%d.%d.%d:%d", 1+(pid>>8)%254, pid%256, 1+n%254, 10000+(n*13+try)%12000)
		l, err := net.Listen("tcp", addr)
		if err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	panic("unreachable")
}
