// Package echo is a WebSocket server for tests and benchmarks, with and without TLS. Each
// connection gets back what it sends; the query of its URL says how:
//
//	handshake=50ms      the handshake takes so long
//	texts=1             only text messages are answered
//	takes=10ms          each message takes so long, and the next one waits for it
//	from=5ms&to=25ms    each reply comes after a random time, so replies are out of order
//	rpc=1               messages are JSON-RPC calls, whose results are their parameters
//	coalesce=1          replies to messages that were read together leave in one write
//
// A [Server] may be in another process than its clients: an [Address] has all that they need,
// and its methods command the server over HTTP.
package echo

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/jsonscan"
	"github.com/respool/respool/internal/relay"
)

// Address is where a [Server] listens.
type Address struct {
	WS, WSS string // ws://… and wss://…
	TCP     string // host:port of a server that echoes bytes
	HTTP    string // http://…, for commands
	Cert    []byte // of WSS, PEM
}

// TLS returns a configuration that trusts this server only.
func (a Address) TLS() *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.Cert)
	return &tls.Config{RootCAs: roots}
}

// URL returns the URL for scheme, "ws" or "wss".
func (a Address) URL(scheme string) string {
	if scheme == "wss" {
		return a.WSS
	}
	return a.WS
}

// With returns the address for connections that are served as query says.
func (a Address) With(query string) Address {
	a.WS += "?" + query
	a.WSS += "?" + query
	return a
}

// Counts is what the server has seen so far.
type Counts struct {
	Opened, Pings int64
	Peak          int64 // the most handshakes at once, since connections were last closed
}

// Counts asks the server.
func (a Address) Counts(ctx context.Context) (c Counts, err error) {
	return c, a.command(ctx, "/counts", &c)
}

// closed is how many connections were closed, and when the server began to do so.
type closed struct {
	N  int
	At time.Time
}

// GoAway has the server send close frames with code 1001 on n connections, and returns when it
// began. It fails if fewer are open.
func (a Address) GoAway(ctx context.Context, n int) (time.Time, error) {
	var c closed
	err := a.command(ctx, "/close?n="+strconv.Itoa(n), &c)
	if err == nil && c.N != n {
		err = fmt.Errorf("echo: %d connections were open, want %d", c.N, n)
	}
	return c.At, err
}

// Cut has the server close n connections without a close frame, or all if there are fewer.
func (a Address) Cut(ctx context.Context, n int) error {
	return a.command(ctx, "/close?cut=1&n="+strconv.Itoa(n), &closed{})
}

// Far returns the same server behind a network that takes so long each way; 0: no network.
func (a Address) Far(ctx context.Context, delay time.Duration) (Address, error) {
	if delay == 0 {
		return a, nil
	}
	var far Address
	err := a.command(ctx, "/far?delay="+delay.String(), &far)
	a.WS, a.WSS = far.WS, far.WSS
	return a, err
}

func (a Address) command(ctx context.Context, path string, reply any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.HTTP+path, nil)
	if err != nil {
		return err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(reply)
}

// Server serves until Close.
type Server struct {
	addr          Address
	plain, secure *httptest.Server
	tcp           net.Listener
	opened, pings atomic.Int64
	shaking, peak atomic.Int64 // handshakes in progress, and the most
	serving       sync.WaitGroup

	mu     sync.Mutex // guards what follows
	closed bool
	open   map[*websocket.Conn]bool
	relays []*relay.Relay
}

// Listen starts a server on loopback.
func Listen() (*Server, error) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{tcp: tcp, open: map[*websocket.Conn]bool{}}
	s.plain, s.secure = httptest.NewUnstartedServer(s), httptest.NewUnstartedServer(s)
	s.plain.Listener = holding{s.plain.Listener}
	for _, h := range []*httptest.Server{s.plain, s.secure} {
		h.Config.ErrorLog = log.New(io.Discard, "", 0) // clients may abort handshakes on purpose
	}
	s.plain.Start()
	s.secure.StartTLS()
	go s.echoBytes()
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.secure.Certificate().Raw})
	s.addr = Address{
		WS: "ws" + strings.TrimPrefix(s.plain.URL, "http") + "/", WSS: "wss" + strings.TrimPrefix(s.secure.URL, "https") + "/",
		TCP: tcp.Addr().String(), HTTP: s.plain.URL, Cert: cert,
	}
	return s, nil
}

// Addr returns where the server listens.
func (s *Server) Addr() Address { return s.addr }

// Close closes all connections and returns when they are no longer served.
func (s *Server) Close() error {
	err := s.tcp.Close()
	s.mu.Lock()
	s.closed = true
	for ws := range s.open {
		ws.Close()
	}
	relays := s.relays
	s.mu.Unlock()
	for _, r := range relays {
		r.Close()
	}
	s.secure.Close()
	s.plain.Close()
	s.serving.Wait()
	return err
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	n, _ := strconv.Atoi(q.Get("n")) // none: 0
	switch r.URL.Path {
	case "/counts":
		reply(w, Counts{Opened: s.opened.Load(), Pings: s.pings.Load(), Peak: s.peak.Load()}, nil)
	case "/close":
		reply(w, s.close(n, q.Has("cut")), nil)
	case "/far":
		var far Address
		var errs [2]error
		far.WS, errs[0] = s.relayed(s.addr.WS, duration(q, "delay"))
		far.WSS, errs[1] = s.relayed(s.addr.WSS, duration(q, "delay"))
		reply(w, far, errors.Join(errs[:]...))
	default:
		s.upgrade(w, r, q)
	}
}

func reply(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(v)
}

// duration returns a parameter of a query, 0 if there is none.
func duration(q url.Values, name string) time.Duration {
	d, _ := time.ParseDuration(q.Get(name))
	return d
}

// close closes n connections. A connection that was closed before is skipped.
func (s *Server) close(n int, cut bool) closed {
	c := closed{At: time.Now()}
	s.peak.Store(0)
	goingAway := websocket.FormatCloseMessage(websocket.CloseGoingAway, "")
	s.mu.Lock()
	defer s.mu.Unlock()
	for ws := range s.open {
		if c.N == n {
			break
		}
		if cut && ws.NetConn().Close() == nil || !cut && ws.WriteControl(websocket.CloseMessage, goingAway, c.At.Add(10*time.Second)) == nil {
			c.N++
		}
	}
	return c
}

// relayed puts a relay before the server at to.
func (s *Server) relayed(to string, delay time.Duration) (string, error) {
	u, err := url.Parse(to)
	if err != nil {
		return "", err
	}
	r, err := relay.New(u.Host)
	if err != nil {
		return "", err
	}
	r.OnConn(func(c *relay.Conn) {
		c.Up().Delay(delay)
		c.Down().Delay(delay)
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.relays = append(s.relays, r)
	u.Host = r.Addr()
	return u.String(), nil
}

func (s *Server) upgrade(w http.ResponseWriter, r *http.Request, q url.Values) {
	top := s.shaking.Add(1)
	for old := s.peak.Load(); old < top && !s.peak.CompareAndSwap(old, top); {
		old = s.peak.Load()
	}
	var up websocket.Upgrader
	if q.Has("coalesce") {
		up.ReadBufferSize = 64 << 10 // what is read at once is answered at once
	}
	select {
	case <-time.After(duration(q, "handshake")):
	case <-r.Context().Done():
	}
	ws, err := up.Upgrade(w, r, nil)
	s.shaking.Add(-1)
	if err != nil {
		return // Upgrade has replied
	}
	defer ws.Close()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.open[ws] = true
	s.serving.Add(1)
	s.mu.Unlock()
	defer s.serving.Done()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, ws)
	}()
	s.opened.Add(1)
	pong := ws.PingHandler()
	ws.SetPingHandler(func(data string) error {
		s.pings.Add(1)
		return pong(data)
	})
	if h, ok := ws.NetConn().(*holder); ok && q.Has("coalesce") {
		h.hold()
	}
	if to := duration(q, "to"); to > 0 {
		s.answerLater(ws, duration(q, "from"), to, q.Has("rpc"))
		return
	}
	answer(ws, duration(q, "takes"), q.Has("texts"), q.Has("rpc"))
}

// answer replies to each message before it reads the next.
func answer(ws *websocket.Conn, takes time.Duration, texts, rpc bool) {
	var in bytes.Buffer
	for {
		kind, r, err := ws.NextReader()
		if err != nil {
			return
		}
		in.Reset()
		if _, err := in.ReadFrom(r); err != nil {
			return
		}
		if texts && kind != websocket.TextMessage {
			continue
		}
		if takes > 0 {
			time.Sleep(takes)
		}
		p := in.Bytes()
		if rpc {
			p = result(p)
		}
		if ws.WriteMessage(kind, p) != nil {
			return
		}
	}
}

// answerLater reads on while replies wait for their time.
func (s *Server) answerLater(ws *websocket.Conn, from, to time.Duration, rpc bool) {
	var mu sync.Mutex // of writes
	for {
		kind, p, err := ws.ReadMessage()
		if err != nil {
			return
		}
		s.serving.Add(1)
		time.AfterFunc(from+rand.N(to-from+1), func() {
			defer s.serving.Done()
			if rpc {
				p = result(p)
			}
			mu.Lock()
			defer mu.Unlock()
			_ = ws.WriteMessage(kind, p) // the reader sees a connection that ended
		})
	}
}

// result answers a JSON-RPC call with its parameters.
func result(call []byte) []byte {
	id, params := []byte("null"), []byte("null")
	for s := jsonscan.Object(call); ; {
		key, value, ok := s.Member()
		switch {
		case !ok:
			out := append([]byte(`{"jsonrpc":"2.0","id":`), id...)
			return append(append(append(out, `,"result":`...), params...), '}')
		case string(key) == "id":
			id = value
		case string(key) == "params":
			params = value
		}
	}
}

// echoBytes serves plain TCP connections until the listener is closed.
func (s *Server) echoBytes() {
	for {
		c, err := s.tcp.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			go func() {
				defer c.Close()
				_, _ = io.Copy(struct{ io.Writer }{c}, c) // hides that c can splice, which costs a system call more for each echo
			}()
		}
	}
}

// holding is a listener whose connections can hold their writes.
type holding struct{ net.Listener }

func (l holding) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &holder{Conn: c}, nil
}

// A holder keeps what is written until its reader would wait for more, once hold was called.
type holder struct {
	net.Conn
	mu   sync.Mutex // guards what follows
	on   bool
	read bool // a Read waits: what is written meanwhile is not held
	held []byte
}

func (h *holder) hold() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.on = true
}

func (h *holder) Read(p []byte) (int, error) {
	h.mu.Lock()
	if len(h.held) > 0 {
		_, err := h.Conn.Write(h.held)
		if h.held = h.held[:0]; err != nil {
			h.mu.Unlock()
			return 0, err
		}
	}
	h.read = true
	h.mu.Unlock()
	n, err := h.Conn.Read(p)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.read = false
	return n, err
}

func (h *holder) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.on || h.read {
		return h.Conn.Write(p)
	}
	h.held = append(h.held, p...)
	return len(p), nil
}

// Close writes what is held, such as the reply to a close frame, as far as the peer takes it.
func (h *holder) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.held) > 0 {
		_ = h.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = h.Conn.Write(h.held)
	}
	return h.Conn.Close()
}
