package scenes_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/proof/testkit"
	"github.com/respool/respool/wspool"
)

// A request is "kind number rest". The reply is the request unless stated otherwise.
const (
	plain = "plain" // replied to at once
	hello = "hello" // the same; the number is the ID of the connection in the pool
	held  = "held"  // replied to by session.answerHeld
	bye   = "bye"   // the reply is followed by a close frame in the same segment
	weigh = "weigh" // the reply is its length
	much  = "much"  // the reply has that number of bytes
)

// server is the WebSocket server of a scene.
type server struct {
	upgrader websocket.Upgrader
	complain func(format string, args ...any)
	shaking  func()         // called in each handshake before the response, if set
	farewell func() bool    // whether a close frame follows a handshake response in the same segment; nil: never
	holding  chan *session  // sessions with a held request
	all      sync.WaitGroup // sessions
	open     atomic.Int64   // TCP connections
	dials    atomic.Int64   // of those, without a handshake response so far
	most     atomic.Int64   // largest number of dials

	mu       sync.Mutex
	sessions map[*session]bool
}

// session is one connection of the server.
type session struct {
	*server
	ws     *websocket.Conn
	id     atomic.Uint64 // from its hello request
	asked  atomic.Int64  // the unanswered ping; 0: none
	struck atomic.Int64  // Unix time of the event
	stays  atomic.Bool   // keep the TCP connection open after the close frames

	talking sync.Mutex

	mu   sync.Mutex
	held []string // held requests
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.all.Add(1)
	defer s.all.Done()
	if s.shaking != nil {
		s.shaking()
	}
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the client closed the connection
	}
	x := &session{server: s, ws: ws}
	ws.SetPongHandler(x.ponged)
	s.mu.Lock()
	s.sessions[x] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.sessions, x)
		s.mu.Unlock()
		ws.Close()
	}()
	for {
		kind, p, err := ws.ReadMessage()
		if err != nil {
			break
		}
		if err := x.reply(kind, string(p)); err != nil {
			break
		}
	}
	if x.stays.Load() {
		_, _ = io.Copy(io.Discard, ws.NetConn()) // until the client closes the connection
	}
}

// reply replies to a request according to its kind.
func (x *session) reply(kind int, request string) error {
	manner, rest, _ := strings.Cut(request, " ")
	number, _, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		x.complain("the server received %.80q, which was never sent", request)
		return err
	}
	switch manner {
	case hello:
		x.id.Store(n)
	case held:
		x.mu.Lock()
		x.held = append(x.held, request)
		x.mu.Unlock()
		x.holding <- x
		return nil
	case bye:
		x.strike(func(*session) { x.write(append(frame(kind, request), goingAway()...)) })
		return nil
	case weigh:
		request = strconv.Itoa(len(request))
	case much:
		request = strings.Repeat("x", int(n))
	}
	return x.say(kind, request)
}

// say sends a message.
func (x *session) say(kind int, text string) error {
	x.talking.Lock()
	defer x.talking.Unlock()
	return x.ws.WriteMessage(kind, []byte(text))
}

// answerHeld replies to the held requests.
func (x *session) answerHeld() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, request := range x.held {
		_ = x.say(websocket.TextMessage, request) // fails if the client has left
	}
	x.held = nil
}

// frame returns a frame of a server with a short payload.
func frame(opcode int, payload string) []byte {
	return append([]byte{0x80 | byte(opcode), byte(len(payload))}, payload...)
}

func goingAway() []byte {
	return frame(websocket.CloseMessage, string(websocket.FormatCloseMessage(websocket.CloseGoingAway, "")))
}

// snapshot returns the open sessions.
func (s *server) snapshot() (all []*session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for x := range s.sessions {
		all = append(all, x)
	}
	return all
}

// strike records the time and calls f.
func (x *session) strike(do func(*session)) {
	x.struck.Store(time.Now().UnixNano())
	do(x)
}

// tcp returns the TCP connection.
func (x *session) tcp() *net.TCPConn {
	c := x.ws.NetConn().(*greeter).Conn
	if s, ok := c.(*tls.Conn); ok {
		c = s.NetConn()
	}
	return c.(*counted).TCPConn
}

// The ticks of a server that demands pongs. The limit is counted in ticks, so that a delay of
// the machine is not counted.
const (
	tick     = 50 * time.Millisecond
	pingEach = 2 // ticks
	demanded = 7 // ticks: 350 ms
)

// demand pings every session and closes those that do not answer in time, until stop. It
// returns how many it closed.
func (s *server) demand() (stop func() (ended int)) {
	quit, done := make(chan struct{}), make(chan int)
	go func() {
		ended := 0
		defer func() { done <- ended }()
		for now := int64(1); ; now++ {
			select {
			case <-quit:
				return
			case <-time.After(tick):
			}
			for _, x := range s.snapshot() {
				asked := x.asked.Load()
				if asked != 0 && now-asked > demanded {
					x.ws.Close()
					ended++
				}
				if now%pingEach != 0 {
					continue
				}
				x.asked.CompareAndSwap(0, now)
				_ = x.ws.WriteControl(websocket.PingMessage, strconv.AppendInt(nil, now, 10), time.Now().Add(patience))
			}
		}
	}()
	return func() int { close(quit); return <-done }
}

// ponged records the reply to the oldest ping.
func (x *session) ponged(data string) error {
	if n, err := strconv.ParseInt(data, 10, 64); err == nil && n >= x.asked.Load() {
		x.asked.Store(0)
	}
	return nil
}

// counted is a counted TCP connection of the server.
type counted struct {
	*net.TCPConn
	s    *server
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { c.s.open.Add(-1) })
	return c.TCPConn.Close()
}

// greeter is the connection used by the HTTP server.
type greeter struct {
	net.Conn
	s    *server
	once sync.Once
}

// shaken records the end of the handshake.
func (g *greeter) shaken() { g.once.Do(func() { g.s.dials.Add(-1) }) }

func (g *greeter) Close() error {
	g.shaken()
	return g.Conn.Close()
}

func (g *greeter) Write(p []byte) (int, error) {
	if !bytes.HasPrefix(p, []byte("HTTP/1.1 101")) {
		return g.Conn.Write(p)
	}
	g.shaken()
	if g.s.farewell == nil || !g.s.farewell() {
		return g.Conn.Write(p)
	}
	if _, err := g.Conn.Write(append(bytes.Clone(p), goingAway()...)); err != nil {
		return 0, err
	}
	return len(p), nil
}

type listener struct {
	net.Listener
	s      *server
	secure *tls.Config // nil: none
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.s.open.Add(1)
	n := l.s.dials.Add(1)
	for m := l.s.most.Load(); n > m && !l.s.most.CompareAndSwap(m, n); m = l.s.most.Load() {
	}
	c = &counted{TCPConn: c.(*net.TCPConn), s: l.s}
	if l.secure != nil {
		c = tls.Server(c, l.secure)
	}
	return &greeter{Conn: c, s: l.s}, nil
}

// listen starts a server on loopback and returns the Config to dial it, and its address.
func listen(t *testing.T, secure bool) (s *server, cfg wspool.Config, addr string) {
	t.Helper()
	s = &server{complain: t.Errorf, holding: make(chan *session, 1000), sessions: map[*session]bool{}}
	base, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = base.Addr().String()
	l := listener{Listener: base, s: s}
	cfg.URL = "ws://" + addr
	if secure {
		l.secure, cfg.TLS = testkit.Certificate(t)
		cfg.URL = "wss://" + addr
	}
	h := &http.Server{Handler: s, ErrorLog: log.New(io.Discard, "", 0)} // it would log intended handshake failures
	served := make(chan struct{})
	go func() { defer close(served); _ = h.Serve(l) }()
	t.Cleanup(func() {
		_ = h.Close()
		<-served
		for _, x := range s.snapshot() {
			x.ws.Close()
		}
		s.all.Wait()
	})
	return s, cfg, addr
}

// request returns a unique request.
func request(manner string, number uint64) string { return fmt.Sprintf("%s %d .", manner, number) }

// write sends raw bytes. It fails if the client has left.
func (x *session) write(p []byte) { _, _ = x.ws.NetConn().Write(p) }
