package wspool_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/internal/memnet"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// patience bounds what must happen; nothing waits for it to pass.
const patience = 20 * time.Second

// peer is a WebSocket server whose every connection is served by one function,
// and closed when that returns.
type peer struct {
	cfg      wspool.Config // how to reach it
	upgrader websocket.Upgrader
	serve    func(*websocket.Conn)
	refuse   func(w http.ResponseWriter, r *http.Request) bool // answered it otherwise; nil: never

	mu    sync.Mutex
	conns map[*websocket.Conn]bool
	all   sync.WaitGroup
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.refuse != nil && p.refuse(w, r) {
		return
	}
	ws, err := p.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the client left
	}
	p.mu.Lock()
	p.conns[ws] = true
	p.all.Add(1)
	p.mu.Unlock()
	p.serve(ws)
	ws.Close()
	p.mu.Lock()
	delete(p.conns, ws)
	p.mu.Unlock()
	p.all.Done()
}

// hangUp closes what is still open and waits for the functions that serve. No
// connection may come meanwhile.
func (p *peer) hangUp() {
	p.cut()
	p.all.Wait()
}

// cut closes what is open now.
func (p *peer) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ws := range p.conns {
		ws.Close()
	}
}

// open is how many connections the peer has.
func (p *peer) open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// listen starts a peer on loopback, with TLS if secure.
func listen(t testing.TB, secure bool, serve func(*websocket.Conn)) *peer {
	p := &peer{serve: serve, conns: map[*websocket.Conn]bool{}}
	s := httptest.NewUnstartedServer(p)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of handshakes that fail on purpose
	if secure {
		s.StartTLS()
		p.cfg.TLS = s.Client().Transport.(*http.Transport).TLSClientConfig
	} else {
		s.Start()
	}
	p.cfg.URL = "ws" + strings.TrimPrefix(s.URL, "http")
	p.cfg.MaxSize = 4
	t.Cleanup(func() { s.Close(); p.hangUp() })
	return p
}

// listenMem starts a peer in memory, for synctest bubbles. A connection holds
// size bytes each way.
func listenMem(t testing.TB, size int, serve func(*websocket.Conn)) *peer {
	p := &peer{serve: serve, conns: map[*websocket.Conn]bool{}}
	l := memnet.Listen(size)
	s := &http.Server{Handler: p}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	p.cfg = wspool.Config{URL: "ws://mem/", NetDial: l.Dial, MaxSize: 4}
	t.Cleanup(func() { s.Close(); p.hangUp(); <-done })
	return p
}

// pool returns a pool that is closed, and must have nothing left, at the end.
func pool(t testing.TB, cfg wspool.Config) *wspool.Pool {
	t.Helper()
	p, err := wspool.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		if s := p.Stats(); s.Made != s.Destroyed+s.Hijacked || s.Idle+s.Leased+s.Making+s.Destroying != 0 {
			t.Errorf("after Close: %+v", s)
		}
	})
	return p
}

// ends makes cfg tell what was destroyed.
func ends(cfg *wspool.Config) <-chan resource.DestroyEvent {
	ch := make(chan resource.DestroyEvent, 1000)
	cfg.Trace = &resource.Trace{Destroyed: func(e resource.DestroyEvent) { ch <- e }}
	return ch
}

// next returns what comes on ch.
func next[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s", what)
		panic("unreachable")
	}
}

func acquire(t testing.TB, p *wspool.Pool) *wspool.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := p.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t testing.TB, c *wspool.Conn, s string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(s)); err != nil {
		t.Fatalf("write %q: %v", s, err)
	}
}

func read(t testing.TB, c *wspool.Conn, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	kind, p, err := c.ReadMessage(ctx)
	if err != nil || kind != websocket.TextMessage || string(p) != want {
		t.Fatalf("read %d %q, %v; want %q", kind, p, err, want)
	}
}

// ask writes s and wants it back.
func ask(t testing.TB, c *wspool.Conn, s string) {
	t.Helper()
	write(t, c, s)
	read(t, c, s)
}

// echo is a peer that sends everything back.
func echo(ws *websocket.Conn) {
	for {
		kind, p, err := ws.ReadMessage()
		if err != nil || ws.WriteMessage(kind, p) != nil {
			return
		}
	}
}

// drain reads until the connection ends and returns how.
func drain(ws *websocket.Conn) error {
	for {
		if _, _, err := ws.ReadMessage(); err != nil {
			return err
		}
	}
}

// frame returns a server's frame with a short payload.
func frame(opcode byte, payload string) []byte {
	return append([]byte{0x80 | opcode, byte(len(payload))}, payload...)
}

// tcp returns the connection below TLS.
func tcp(ws *websocket.Conn) *net.TCPConn {
	c := ws.NetConn()
	if s, ok := c.(*tls.Conn); ok {
		c = s.NetConn()
	}
	return c.(*net.TCPConn)
}

// deadline is far enough away.
func deadline() time.Time { return time.Now().Add(patience) }
