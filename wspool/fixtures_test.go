package wspool_test

import (
	"bufio"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
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
	gone  chan struct{} // closed when conns becomes empty; nil: hangUp does not wait
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
	p.mu.Unlock()
	p.serve(ws)
	ws.Close()
	p.mu.Lock()
	delete(p.conns, ws)
	if len(p.conns) == 0 && p.gone != nil {
		close(p.gone)
		p.gone = nil
	}
	p.mu.Unlock()
}

// hangUp closes what is still open and waits for the functions that serve. A connection
// that comes meanwhile may or may not be among them.
func (p *peer) hangUp() {
	p.cut()
	p.mu.Lock()
	var gone chan struct{}
	if len(p.conns) > 0 {
		gone = make(chan struct{})
		p.gone = gone
	}
	p.mu.Unlock()
	if gone != nil {
		<-gone
	}
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
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it logs handshakes that fail on purpose
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

// ends makes cfg report each destroyed connection.
func ends(cfg *wspool.Config) <-chan resource.DestroyEvent {
	ch := make(chan resource.DestroyEvent, 1000)
	cfg.Trace = &resource.Trace{Destroyed: func(e resource.DestroyEvent) { ch <- e }}
	return ch
}

// next returns the next value of ch.
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

// eventually waits until is returns true.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) { // between looks
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
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

// ask writes s and reads it back.
func ask(t testing.TB, c *wspool.Conn, s string) {
	t.Helper()
	write(t, c, s)
	read(t, c, s)
}

// use leases a connection for one exchange.
func use(t testing.TB, p *wspool.Pool) {
	t.Helper()
	c := acquire(t, p)
	defer c.Release()
	ask(t, c, "x")
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

// onEach is a peer that calls f for each message.
func onEach(f func(ws *websocket.Conn, kind int, p []byte)) func(*websocket.Conn) {
	return func(ws *websocket.Conn) {
		for {
			kind, p, err := ws.ReadMessage()
			if err != nil {
				return
			}
			f(ws, kind, p)
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

// witness is a peer in memory, for bubbles, that sends messages back and records
// each arrival with its time. What it sends unasked is sent on its connections.
type witness struct {
	*peer
	begin time.Time
	deny  atomic.Bool   // it answers no pings
	delay time.Duration // before it answers one
	mute  bool          // it sends no message back

	mu    sync.Mutex
	conns []*websocket.Conn
	notes []note
	lost  map[int]bool // connections on which it answers nothing any more; -1: on all
}

// vanish has it answer nothing on connection i any more, or on any if i is -1;
// appear ends the latter.
func (w *witness) vanish(i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost == nil {
		w.lost = map[int]bool{}
	}
	w.lost[i] = true
}

func (w *witness) appear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.lost, -1)
}

func (w *witness) vanished(i int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost[i] || w.lost[-1]
}

// note says that something came in.
type note struct {
	conn int // which connection, from 0
	what string
	at   time.Duration // since the beginning
}

func (n note) String() string { return fmt.Sprintf("%d %s %v", n.conn, n.what, n.at) }

func witnesses(t testing.TB) *witness {
	w := &witness{begin: time.Now()}
	w.peer = listenMem(t, 64<<10, w.serve)
	return w
}

func (w *witness) note(conn int, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notes = append(w.notes, note{conn, what, time.Since(w.begin)})
}

func (w *witness) serve(ws *websocket.Conn) {
	w.mu.Lock()
	id := len(w.conns)
	w.conns = append(w.conns, ws)
	w.mu.Unlock()
	ws.SetPingHandler(func(s string) error {
		w.note(id, "ping")
		if w.deny.Load() || w.vanished(id) {
			return nil
		}
		pong := func() { ws.WriteControl(websocket.PongMessage, []byte(s), deadline()) }
		if w.delay == 0 {
			pong()
		} else {
			time.AfterFunc(w.delay, pong)
		}
		return nil
	})
	ws.SetPongHandler(func(s string) error { w.note(id, "pong "+s); return nil })
	for {
		kind, p, err := ws.ReadMessage()
		if err != nil {
			return
		}
		w.note(id, "message "+string(p))
		if string(p) == "die" {
			return
		}
		if !w.mute && !w.vanished(id) && ws.WriteMessage(kind, p) != nil {
			return
		}
	}
}

// conn returns the server's end of connection i.
func (w *witness) conn(i int) *websocket.Conn {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conns[i]
}

// send sends raw bytes on connection i.
func (w *witness) send(i int, raw []byte) { w.conn(i).NetConn().Write(raw) }

// ping sends one on connection i.
func (w *witness) ping(i int, s string) { w.send(i, frame(websocket.PingMessage, s)) }

// saw returns when what begins so came in on any connection.
func (w *witness) saw(what string) (at []time.Duration) {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.notes {
		if strings.HasPrefix(n.what, what) {
			at = append(at, n.at)
		}
	}
	return at
}

// now is the current time as the notes count it.
func (w *witness) now() time.Duration { return time.Since(w.begin) }

// end is when and why a connection was seen to have ended.
type end struct {
	at    time.Duration // when its destruction began
	cause error
	id    uint64
}

// ends makes the pool report each destroyed connection.
func (w *witness) ends() <-chan end {
	ch := make(chan end, 2000)
	w.cfg.Trace = &resource.Trace{Destroyed: func(e resource.DestroyEvent) {
		ch <- end{w.now() - e.Took, e.Cause, e.Info.ID}
	}}
	return ch
}

// none fails if there is anything on ch.
func none(t testing.TB, ch <-chan end) {
	t.Helper()
	synctest.Wait()
	select {
	case e := <-ch:
		t.Errorf("connection %d was destroyed at %v: %v", e.id, e.at, e.cause)
	default:
	}
}

// opaque makes cfg's connections ones that cannot be read without waiting.
func opaque(cfg *wspool.Config) {
	dial := cfg.NetDial
	cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return struct{ net.Conn }{c}, nil
	}
}

// at fails unless two instants are the same.
func at(t testing.TB, what string, got, want time.Duration) {
	t.Helper()
	if got != want {
		t.Errorf("%s at %v, want %v", what, got, want)
	}
}

// bubble runs f in one.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// atOnce is a Config.Redial that holds no dial back.
func atOnce(error, int) time.Duration { return 0 }

const ms = time.Millisecond

// checkFunc is a Health that is always due.
type checkFunc func(ctx context.Context, c *wspool.Conn) error

func (f checkFunc) Check(ctx context.Context, c *wspool.Conn, _ resource.Info) error {
	return f(ctx, c)
}

// seldom is a Health that says when it is due.
type seldom struct {
	checkFunc
	after time.Duration
}

func (s seldom) Due(i resource.Info) bool { return i.Idle >= s.after }

// exchange is a check that asks the server something.
func exchange(ctx context.Context, c *wspool.Conn) error {
	if err := c.WriteMessage(ctx, websocket.TextMessage, []byte("check")); err != nil {
		return err
	}
	_, p, err := c.ReadMessage(ctx)
	if err == nil && string(p) != "check" {
		err = fmt.Errorf("answer %q", p)
	}
	return err
}

// admission is a resource.Admission by a function.
type admission func() error

func (a admission) Admit(context.Context, resource.Request) (resource.Done, error) { return nil, a() }

var errRefused = errors.New("connection refused")

// sleep is time.Sleep as an error.
func sleep(d time.Duration) error { time.Sleep(d); return nil }

// question asks and reads the answer.
func question(ctx context.Context, c *wspool.Conn) error {
	if err := c.WriteMessage(ctx, websocket.TextMessage, []byte("question")); err != nil {
		return err
	}
	_, _, err := c.ReadMessage(ctx)
	return err
}

// serveTCP serves each connection to it with serve, and closes it then.
func serveTCP(t *testing.T, serve func(net.Conn)) net.Addr {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { defer c.Close(); serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return l.Addr()
}

// upgrade answers a handshake, with these header lines besides the usual.
func upgrade(c net.Conn, header string) {
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return
	}
	fmt.Fprintf(c, "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-Websocket-Accept: %s\r\n%s\r\n",
		acceptKey(r), header)
}

// acceptKey is the Sec-WebSocket-Accept of the answer to r.
func acceptKey(r *http.Request) string {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// upgraded is a NetDial to a server that upgrades and then says nothing.
func upgraded(context.Context, string, string) (net.Conn, error) {
	ours, theirs := memnet.Pipe(1 << 16)
	go func() {
		upgrade(theirs, "")
		drainNet(theirs)
	}()
	return ours, nil
}

// drainNet reads until the other side hangs up.
func drainNet(c net.Conn) {
	defer c.Close()
	p := make([]byte, 1<<10)
	for {
		if _, err := c.Read(p); err != nil {
			return
		}
	}
}

func drainAll(ws *websocket.Conn) { drain(ws) }

// scripted is a NetDial to a server that reads one request, does what serve does,
// and hangs up, or, if lingers is true, waits for the other side to.
func scripted(lingers bool, serve func(net.Conn, *http.Request)) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := memnet.Pipe(1 << 16)
		go func() {
			defer theirs.Close()
			if r, err := http.ReadRequest(bufio.NewReader(theirs)); err == nil {
				serve(theirs, r)
			}
			if lingers {
				drainNet(theirs)
			}
		}()
		return ours, nil
	}
}

// deaf is a peer that reads nothing until the channel is closed.
func deaf(until <-chan struct{}) func(*websocket.Conn) {
	return func(ws *websocket.Conn) { <-until; drain(ws) }
}

// warm makes n connections.
func warm(t testing.TB, p *wspool.Pool, n int) {
	t.Helper()
	if err := p.Warm(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

// alive is a witness of a pool that pings after 9 to 10 s and waits 2 s.
func alive(t testing.TB) *witness {
	w := witnesses(t)
	w.cfg.KeepAlive = 10 * time.Second
	w.cfg.PongWait = 2 * time.Second
	return w
}

// idle leaves n connections of p idle, the last one that was made on top.
func idle(t testing.TB, p *wspool.Pool, n int) {
	t.Helper()
	var conns []*wspool.Conn
	for range n {
		c := acquire(t, p)
		ask(t, c, "x") // the peer knows it before the next
		conns = append(conns, c)
	}
	for _, c := range conns {
		c.Release()
	}
}
