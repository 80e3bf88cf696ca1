package wspool_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/outside"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// A process that is stopped (SIGSTOP, a container's pause) and resumed finds its
// timers due before anything is read. These tests stop a child process that has a
// pool.

func init() {
	children["stopped"] = stoppedChild
}

// The child's connections.
const (
	stoppedIdle   = 30
	stoppedLeases = 5               // that wait for an answer
	stoppedFor    = 7 * time.Second // KeepAlive, PongWait, and a little
)

// stoppedChild has idle connections and some leases that wait. It obeys the lines on
// its standard input:
//
//	answers  waits for what the leases wait for, and says how it went
//	lend     leases as many connections at once as were idle, asks a question on
//	         each, and says how that went
func stoppedChild() error {
	var mu sync.Mutex
	causes := map[string]int{}
	cfg := wspool.Config{
		URL: os.Getenv("RESPOOL_URL"), MaxSize: stoppedIdle + stoppedLeases,
		KeepAlive: time.Second, PongWait: 5 * time.Second,
		TLS: &tls.Config{InsecureSkipVerify: true},
		Trace: &resource.Trace{Destroyed: func(e resource.DestroyEvent) {
			mu.Lock()
			defer mu.Unlock()
			causes[e.Cause.Error()]++
		}},
	}
	if os.Getenv("RESPOOL_OPAQUE") != "" {
		cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return struct{ net.Conn }{c}, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p, err := wspool.New(cfg)
	if err != nil {
		return err
	}
	defer p.Close(ctx)
	var conns []*wspool.Conn
	for range cfg.MaxSize {
		c, err := p.Acquire(ctx)
		if err != nil {
			return err
		}
		conns = append(conns, c)
	}
	answers := make(chan error, stoppedLeases)
	// A question is an answer that a connection gets: all have their next ping KeepAlive
	// after it, however long the dials took.
	for i, c := range conns {
		if i >= stoppedLeases {
			if err := question(ctx, c); err != nil {
				return err
			}
			c.Release()
			continue
		}
		if err := c.WriteMessage(ctx, websocket.TextMessage, []byte("wait")); err != nil {
			return err
		}
		go func() {
			_, _, err := c.ReadMessage(ctx)
			c.Release()
			answers <- err
		}()
	}
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var errs []error
		switch lines.Text() {
		case "answers":
			for range stoppedLeases {
				errs = append(errs, <-answers)
			}
		case "lend":
			failed := make(chan error)
			for range stoppedIdle {
				go func() { failed <- p.Do(ctx, question) }()
			}
			for range stoppedIdle {
				errs = append(errs, <-failed)
			}
		}
		mu.Lock()
		fmt.Printf("failed: %q; destroyed: %v\n", fmt.Sprint(errors.Join(errs...)), causes)
		mu.Unlock()
	}
	return nil
}

// stoppedServer is what the child talks to, in the process of the test.
type stoppedServer struct {
	*peer
	mu      sync.Mutex
	gone    bool // connections that there are answer nothing any more
	waiting []func()
	holding bool                     // pings wait for their answers in held
	held    []func()                 // each answers a ping
	pinged  map[*websocket.Conn]bool // since the last call of hold or pong
	lent    int                      // questions on connections that had vanished
}

func stoppedServes(t *testing.T, secure bool) *stoppedServer {
	s := &stoppedServer{pinged: map[*websocket.Conn]bool{}}
	s.peer = listen(t, secure, s.serve)
	return s
}

func (s *stoppedServer) serve(ws *websocket.Conn) {
	s.mu.Lock()
	late := s.gone // it came afterwards, and is served
	s.mu.Unlock()
	vanished := func() bool { return s.gone && !late }
	ws.SetPingHandler(func(data string) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pinged[ws] = true
		pong := func() {
			if !vanished() {
				ws.WriteControl(websocket.PongMessage, []byte(data), deadline())
			}
		}
		if s.holding {
			s.held = append(s.held, pong)
		} else {
			pong()
		}
		return nil
	})
	for {
		kind, m, err := ws.ReadMessage()
		if err != nil {
			return
		}
		s.mu.Lock()
		switch {
		case vanished():
			s.lent++
		case string(m) == "wait":
			s.waiting = append(s.waiting, func() { ws.WriteMessage(kind, m) })
		default:
			ws.WriteMessage(kind, m)
		}
		s.mu.Unlock()
	}
}

// until waits until is, which runs with s locked, returns true.
func (s *stoppedServer) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	eventually(t, what, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return is()
	})
}

// hold answers no ping until pong is called. Without it the pings that are out at one
// time would depend on how far apart the connections were used last.
func (s *stoppedServer) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holding = true
	clear(s.pinged)
}

// pong answers the pings that are held, and from then on each at once.
func (s *stoppedServer) pong() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.held {
		f()
	}
	s.holding, s.held = false, nil
	clear(s.pinged)
}

// untilPinged waits until every connection has sent a ping since hold or pong. One that
// has an answer sends its next ping after it has read that.
func (s *stoppedServer) untilPinged(t *testing.T) {
	t.Helper()
	s.until(t, "pings of all connections", func() bool { return len(s.pinged) == stoppedIdle+stoppedLeases })
}

// answer answers the requests that wait.
func (s *stoppedServer) answer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.waiting {
		f()
	}
}

// child is the process.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
}

func startStopped(t *testing.T, url, opaque string) *child {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asChild+"=stopped", "RESPOOL_URL="+url, "RESPOOL_OPAQUE="+opaque)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(3*patience, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		kill.Stop()
	})
	c := &child{t, cmd, in, bufio.NewScanner(out)}
	if got := c.line(); got != "ready" {
		t.Fatalf("the child says %q", got)
	}
	return c
}

// line is what the child says next.
func (c *child) line() string {
	c.t.Helper()
	if !c.lines.Scan() {
		c.t.Fatalf("the child has ended: %v", c.lines.Err())
	}
	return c.lines.Text()
}

func (c *child) send(what string) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, what+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

func (c *child) signal(s syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// stoppedKind is a kind of connection, and what has come on it.
type stoppedKind struct {
	name   string
	secure bool
	opaque string
	unread bool
}

var stoppedKinds = []stoppedKind{{name: "sockets"}, {name: "tls", secure: true}, {name: "other connections", opaque: "yes"}}

// atOneTime runs f for all kinds at once: most of its time it waits.
func atOneTime(t *testing.T, kinds []stoppedKind, f func(*testing.T, stoppedKind)) {
	var all sync.WaitGroup
	for _, kind := range kinds {
		all.Go(func() { t.Run(kind.name, func(t *testing.T) { f(t, kind) }) })
	}
	all.Wait()
}

// The process stands still for longer than PongWait while pings are out. Their
// answers have come meanwhile: no connection is called silent, idle or leased.
func TestStopped_PingsOut(t *testing.T) {
	atOneTime(t, stoppedKinds, func(t *testing.T, kind stoppedKind) {
		s := stoppedServes(t, kind.secure)
		c := startStopped(t, s.cfg.URL, kind.opaque)
		s.hold()
		s.untilPinged(t)
		outside.Stop(t, c.cmd.Process)
		s.pong()
		time.Sleep(stoppedFor) // it is what is tested
		c.signal(syscall.SIGCONT)
		s.untilPinged(t)
		s.answer()
		c.send("answers")
		if got, want := c.line(), `failed: "<nil>"; destroyed: map[]`; got != want {
			t.Errorf("the child says\n%s, want\n%s", got, want)
		}
	})
}

// The process stands still for longer than KeepAlive and PongWait, and the server
// vanishes meanwhile without a word. Callers at the moment of its resumption are
// lent no dead connection: each is served by a new one. So they are where the
// answers to pings came before the end, and lie there unread.
func TestStopped_ServerVanishes(t *testing.T) {
	var kinds []stoppedKind
	for _, kind := range stoppedKinds {
		kinds = append(kinds, kind)
		kind.name, kind.unread = kind.name+", pongs unread", true
		kinds = append(kinds, kind)
	}
	atOneTime(t, kinds, func(t *testing.T, kind stoppedKind) {
		s := stoppedServes(t, kind.secure)
		c := startStopped(t, s.cfg.URL, kind.opaque)
		s.hold()
		s.untilPinged(t)
		if !kind.unread {
			s.pong()
			s.untilPinged(t)
		}
		outside.Stop(t, c.cmd.Process)
		s.pong()
		s.mu.Lock()
		s.gone = true
		s.mu.Unlock()
		time.Sleep(stoppedFor) // it is what is tested
		c.send("lend")
		c.signal(syscall.SIGCONT)
		if got := c.line(); !strings.HasPrefix(got, `failed: "<nil>"; `) {
			t.Errorf("the child says %s", got)
		}
		s.mu.Lock()
		if s.lent > 0 {
			t.Errorf("%d connections were lent dead", s.lent)
		}
		s.mu.Unlock()
	})
}
