package cluster_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/internal/outside"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/cluster"
	"github.com/respool/respool/wspool/mux"
)

// process is a server in a child process.
type process struct {
	t    testing.TB
	addr string
	cmd  *exec.Cmd
	in   io.Closer
}

// start starts a server, which is killed at the end of the test.
func start(t testing.TB, o orders) *process {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(self)}
	p.cmd.Env = append(os.Environ(), asChild+"="+string(text))
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in = in
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	p.addr = strings.TrimSpace(line)
	return p
}

// startAll starts n servers.
func startAll(t testing.TB, n int, o orders) (all []*process) {
	if testing.Short() {
		t.Skip("child processes under load take seconds")
	}
	o.Addr = "127.0.0.1:0"
	for range n {
		all = append(all, start(t, o))
	}
	return all
}

func (p *process) signal(s syscall.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Error(err)
	}
}

// kill kills the process and waits for its end: its connections are closed then.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	}
}

// restart has the server go away, waits for its end and starts it again at the same address.
func (p *process) restart(o orders) *process {
	p.signal(syscall.SIGINT)
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("%s did not drain: %v", p.addr, err)
	}
	o.Addr = p.addr
	return start(p.t, o)
}

func addrs(all []*process) (list []string) {
	for _, p := range all {
		list = append(list, p.addr)
	}
	return list
}

// openReal returns a cluster of real servers.
func openReal(t testing.TB, all []*process, change func(*wspool.Config)) *cluster.Cluster {
	t.Helper()
	return open(t, cluster.Config{
		Resolver: static(list(addrs(all)...)), MaxTotal: 200,
		ProbeDelay: 200 * time.Millisecond, MaxProbeDelay: time.Second,
		Config: func(e endpoint.Endpoint) (wspool.Config, error) {
			c := wspool.Config{URL: "ws://" + e.Addr + "/"}
			if change != nil {
				change(&c)
			}
			return c, nil
		},
	})
}

// tally counts the results of exchanges by where and when they began.
type tally struct {
	t     testing.TB
	mu    sync.Mutex
	phase int
	late  []error          // failures of exchanges that began in the phase in which they failed
	other int              // other failures
	at    []map[string]int // successes by phase
}

// next begins the next phase.
func (y *tally) next() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.phase++
	y.late = nil
	y.at = append(y.at, map[string]int{})
}

// run makes exchanges until stop is called.
func (y *tally) run(c *cluster.Cluster, callers int, timeout time.Duration) (stop func()) {
	y.next()
	over := make(chan struct{})
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				y.mu.Lock()
				began := y.phase
				y.mu.Unlock()
				ctx, cancel := context.WithTimeout(context.Background(), timeout)
				where, err := exchange(ctx, c)
				cancel()
				y.mu.Lock()
				switch {
				case err == nil && began == y.phase:
					y.at[began-1][where]++
				case err != nil && began == y.phase:
					y.late = append(y.late, err)
				case err != nil:
					y.other++
				}
				y.mu.Unlock()
			}
		})
	}
	return func() { close(over); wg.Wait() }
}

// await waits until this phase has seen n exchanges of each of some servers.
func (y *tally) await(what string, n int, of ...string) {
	y.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) { // between looks
		y.mu.Lock()
		at := y.at[len(y.at)-1]
		enough := true
		for _, addr := range of {
			enough = enough && at[addr] >= n
		}
		shown := fmt.Sprint(at)
		y.mu.Unlock()
		if enough {
			return
		}
		if time.Now().After(end) {
			y.t.Fatalf("%s: never %d exchanges of each of %v: %s", what, n, of, shown)
		}
	}
}

// failures returns how many exchanges failed that began in this phase, and how many succeeded.
func (y *tally) failures() (failed []error, succeeded map[string]int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	return slices.Clone(y.late), maps.Clone(y.at[len(y.at)-1])
}

// One of five servers is killed under load. No exchange fails that began after its end, and the
// others have even parts. When it is started again it is used again.
func TestProcessKilled(t *testing.T) {
	o := orders{Take: time.Millisecond}
	all := startAll(t, 5, o)
	c := openReal(t, all, nil)
	y := &tally{t: t}
	stop := y.run(c, 20, patience)
	defer stop()
	y.await("at first", 100, addrs(all)...)
	victim := all[2]
	victim.kill()
	killed := time.Now()
	y.next()
	rest := append(addrs(all[:2]), addrs(all[3:])...)
	y.await("after the end of one", 100, rest...)
	even := time.Since(killed)
	y.mu.Lock()
	other := y.other
	y.mu.Unlock()
	failed, at := y.failures()
	if len(failed) > 0 || other > 20 {
		t.Errorf("%d exchanges failed that began after the end of the server, such as %v; %d were in flight", len(failed), failed[0], other)
	}
	most, least := 0, 1<<30
	for _, addr := range rest {
		most, least = max(most, at[addr]), min(least, at[addr])
	}
	if most > 2*least {
		t.Errorf("the load is uneven: %v", at)
	}
	t.Logf("%d exchanges in flight failed; 100 exchanges of each of the others within %v: %v", other, even, at)
	o.Addr = victim.addr
	start(t, o)
	y.next()
	y.await("after it was started again", 100, addrs(all)...)
	if failed, _ := y.failures(); len(failed) > 0 {
		t.Errorf("%d exchanges failed, such as %v", len(failed), failed[0])
	}
}

// One of five servers is stopped: it accepts connections and answers nothing. From one second later
// on at most one of a hundred exchanges meets it. When it continues it is used again.
func TestProcessStopped(t *testing.T) {
	all := startAll(t, 5, orders{Take: time.Millisecond})
	c := openReal(t, all, func(c *wspool.Config) { c.DialTimeout, c.PongWait = 2*time.Second, time.Second })
	y := &tally{t: t}
	stop := y.run(c, 20, 1500*time.Millisecond)
	defer stop()
	y.await("at first", 100, addrs(all)...)
	victim := all[1]
	outside.Stop(t, victim.cmd.Process)
	y.next()
	time.Sleep(time.Second) // the figure is that of the time after it
	y.next()
	rest := append(addrs(all[:1]), addrs(all[2:])...)
	y.await("after one was stopped", 500, rest...)
	failed, at := y.failures()
	n := 0
	for _, k := range at {
		n += k
	}
	if len(failed)*100 > n {
		t.Errorf("%d of %d exchanges failed, such as %v", len(failed), n, failed[0])
	}
	t.Logf("%d of %d failed", len(failed), n)
	victim.signal(syscall.SIGCONT)
	y.next()
	y.await("after it continued", 20, addrs(all)...)
}

// Five servers restart one after the other, under load by mux: each announces that it leaves,
// answers what it has, and ends when its connections are closed. No call fails, and none is made
// twice.
func TestProcessRollingRestart(t *testing.T) {
	o := orders{RPC: true, Take: time.Millisecond}
	all := startAll(t, 5, o)
	c := openReal(t, all, nil)
	m := newMux(t, c, mux.Config{MaxConns: 10, GrowAt: 1})
	stop := calls(t, m, 20, 5*time.Millisecond, false)
	for i, p := range all {
		before := m.Stats().Acquired
		all[i] = p.restart(o)
		for end := time.Now().Add(patience); m.Stats().Acquired == before; time.Sleep(5 * time.Millisecond) { // between looks
			if time.Now().After(end) {
				t.Fatal("no connection was replaced")
			}
		}
		time.Sleep(100 * time.Millisecond) // some load between the restarts
	}
	at, failed := stop()
	n := 0
	for _, k := range at {
		n += k
	}
	if failed > 0 || n < 200 {
		t.Errorf("%d of %d calls failed", failed, n+failed)
	}
	t.Logf("%d calls, %d failed: %v", n, failed, at)
}
