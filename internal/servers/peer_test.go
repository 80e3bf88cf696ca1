package servers

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/internal/memnet"
)

// peer is a server in this process, for behavior that other servers do not offer. handle
// owns each connection until it returns.
type peer struct {
	accept func(*http.Request) bool // nil: all
	handle func(*websocket.Conn)

	mu      sync.Mutex
	open    map[*websocket.Conn]bool
	dials   int
	running sync.WaitGroup
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.running.Add(1)
	defer p.running.Done()
	if p.accept != nil && !p.accept(r) {
		http.Error(w, "not you", http.StatusUnauthorized)
		return
	}
	c, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	p.mu.Lock()
	p.open[c] = true
	p.dials++
	p.mu.Unlock()
	p.handle(c)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
}

func (p *peer) close() {
	p.mu.Lock()
	for c := range p.open {
		c.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
}

// dialed returns the number of accepted connections.
func (p *peer) dialed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dials
}

// listen starts a peer on loopback and returns its URL.
func (p *peer) listen(t testing.TB) string {
	t.Helper()
	p.open = map[*websocket.Conn]bool{}
	s := httptest.NewServer(p)
	t.Cleanup(func() { s.Close(); p.close() })
	return "ws" + strings.TrimPrefix(s.URL, "http") + "/"
}

// inMemory starts a peer in a bubble of virtual time.
func (p *peer) inMemory(t testing.TB) *memnet.Listener {
	t.Helper()
	p.open = map[*websocket.Conn]bool{}
	l := memnet.Listen(1 << 16)
	s := &http.Server{Handler: p}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Close(); p.close(); <-done })
	return l
}

// echo echoes each message.
func echo(c *websocket.Conn) {
	for {
		kind, p, err := c.ReadMessage()
		if err != nil || c.WriteMessage(kind, p) != nil {
			return
		}
	}
}

// deaf is echo without pongs.
func deaf(c *websocket.Conn) {
	c.SetPingHandler(func(string) error { return nil })
	echo(c)
}

// shortSessions is echo that closes the connection after an hour.
func shortSessions(expired func()) func(*websocket.Conn) {
	return func(c *websocket.Conn) {
		timer := time.AfterFunc(time.Hour, func() {
			expired()
			c.Close()
		})
		defer timer.Stop()
		echo(c)
	}
}
