package servers

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// daemon is a server that is controlled by signals, with all its processes.
type daemon struct {
	cmd  *exec.Cmd
	at   string
	log  *tail
	gone chan struct{}
}

// startDaemon starts a program and waits until it listens on addr.
func startDaemon(t testing.TB, addr, program string, args ...string) *daemon {
	t.Helper()
	d := &daemon{cmd: exec.Command(program, args...), at: addr, log: new(tail), gone: make(chan struct{})}
	// A separate process group, so that no process outlives the test.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	d.cmd.WaitDelay = patience // child processes may keep the output open
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(d.gone)
		d.cmd.Wait() // the exit status does not matter
	}()
	t.Cleanup(func() {
		d.signal(t, syscall.SIGKILL)
		d.wait(t)
		if t.Failed() {
			t.Logf("%s said: %s", filepath.Base(program), d.log)
		}
	})
	by := time.Now().Add(2 * patience)
	for !listens(t, addr) {
		select {
		case <-d.gone:
			t.Fatalf("%s ended as soon as it began: %s", program, d.log)
		default:
		}
		if time.Now().After(by) {
			t.Fatalf("%s does not listen: %s", program, d.log)
		}
		time.Sleep(time.Millisecond) // polling interval: it does not report it
	}
	return d
}

// signal sends a signal to all its processes; it is no error if there are none.
func (d *daemon) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(-d.cmd.Process.Pid, s); err != nil && err != syscall.ESRCH {
		t.Errorf("%v: %v", s, err)
	}
}

func (d *daemon) wait(t testing.TB) {
	t.Helper()
	select {
	case <-d.gone:
	case <-time.After(2 * patience):
		t.Fatalf("the server does not end: %s", d.log)
	}
}

func (d *daemon) address() string { return d.at }

func (d *daemon) end(t testing.TB, f fault) {
	t.Helper()
	if f == kill {
		d.signal(t, syscall.SIGKILL)
	} else if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	d.wait(t)
	d.signal(t, syscall.SIGKILL) // the remaining processes
}

func (d *daemon) count(t testing.TB) int { return connected(t, d.at) }

func (d *daemon) empty(t testing.TB) []string {
	t.Helper()
	awaitEmpty(t, d.at)
	return nil // unknown
}

// tail keeps the end of the output of a program.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(p)
	l.buf.Next(max(0, l.buf.Len()-4000))
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// States of /proc/net/tcp.
const (
	stateEstablished = "01"
	stateCloseWait   = "08" // closed by the client and not yet by the server
	stateListen      = "0A"
)

// sockets counts the sockets with one of the local addresses in one of the states. It asks
// the kernel, since not every server reports its connections.
func sockets(t testing.TB, local []string, states ...string) int {
	t.Helper()
	n := 0
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(table)) {
			// Number, local address, remote address, state.
			if f := strings.Fields(line); len(f) > 3 && slices.Contains(local, f[1]) && slices.Contains(states, f[3]) {
				n++
			}
		}
	}
	return n
}

// kernelAddress returns an address in the form of /proc/net/tcp and tcp6, and the wildcard
// address with the same port.
func kernelAddress(t testing.TB, addr string) (local, wildcard []string) {
	t.Helper()
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	ip4 := at.Addr().As4()
	ip, mapped := binary.NativeEndian.Uint32(ip4[:]), binary.NativeEndian.Uint32([]byte{0, 0, 0xff, 0xff})
	return []string{fmt.Sprintf("%08X:%04X", ip, at.Port()), fmt.Sprintf("%016X%08X%08X:%04X", 0, mapped, ip, at.Port())},
		[]string{fmt.Sprintf("%08X:%04X", 0, at.Port()), fmt.Sprintf("%032X:%04X", 0, at.Port())}
}

func listens(t testing.TB, addr string) bool {
	t.Helper()
	local, wildcard := kernelAddress(t, addr)
	return sockets(t, append(local, wildcard...), stateListen) > 0
}

func connected(t testing.TB, addr string) int {
	t.Helper()
	local, _ := kernelAddress(t, addr)
	return sockets(t, local, stateEstablished, stateCloseWait)
}

func awaitEmpty(t testing.TB, addr string) {
	t.Helper()
	by := time.Now().Add(patience)
	for n := connected(t, addr); n > 0; n = connected(t, addr) {
		if time.Now().After(by) {
			t.Fatalf("the server still has %d connections", n)
		}
		time.Sleep(time.Millisecond) // polling interval
	}
}

// addresses is the number of addresses returned by unused.
var addresses atomic.Int32

// unused returns an unused loopback address, for servers that cannot choose a port
// themselves. Its host is used by this process alone, so the port stays free.
func unused(t testing.TB) string {
	t.Helper()
	pid, n := os.Getpid(), int(addresses.Add(1))
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+(pid>>8)%254, pid%256, 1+n%254))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// orUnused returns addr, or an unused address if addr has port 0.
func orUnused(t testing.TB, addr string) string {
	t.Helper()
	if strings.HasSuffix(addr, ":0") {
		return unused(t)
	}
	return addr
}

// unusedPort is unused for a server that listens on every address: a port outside the
// ephemeral range.
func unusedPort(t testing.TB) string {
	t.Helper()
	const first, last = 10000, 30000 // below the ephemeral range of Linux
	for range 100 {
		n := first + (os.Getpid()*37+int(addresses.Add(1))*101)%(last-first)
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", n))
		if err == nil {
			l.Close()
			return fmt.Sprintf("127.0.0.1:%d", n)
		}
	}
	t.Fatal("no port is free")
	panic("unreachable")
}

// configured writes a configuration file to a directory of the test.
func configured(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// signalled are the faults of servers controlled by signals.
func signalled(t *testing.T, b brand) {
	for _, f := range []fault{stop, kill} {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			endure(t, b, f)
		})
	}
}
