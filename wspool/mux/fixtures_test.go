package mux_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/memnet"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
)

// patience bounds what must happen; nothing waits for it to pass.
const patience = 30 * time.Second

// plain is a codec whose messages are a letter, an id, a space and a text: "C7 text" is a call
// (as the server gets it), "X7" a cancel, "N text" a message without an id; the server sends R
// (reply), P (part), Z (end), E (event), A (ask), W (away), I (ignore), K and L (part and end of a
// stream with a key, which is the text up to a colon).
type plain struct{ bits int }

var errPlain = errors.New("plain: not a message")

func (p plain) IDBits() int { return max(p.bits, 20) }

func (plain) Append(dst []byte, id uint64, body any) (int, []byte, error) {
	text, ok := body.(string)
	switch {
	case !ok:
		return 0, dst, fmt.Errorf("plain: body is a %T", body)
	case text == "panic":
		panic("boom")
	case id == 0:
		dst = append(dst, "N "...)
	default:
		dst = append(strconv.AppendUint(append(dst, 'C'), id, 10), ' ')
	}
	return websocket.TextMessage, append(dst, text...), nil
}

func (plain) AppendCancel(dst []byte, id uint64, key []byte) (int, []byte, error) {
	dst = strconv.AppendUint(append(dst, 'X'), id, 10)
	return websocket.TextMessage, append(append(dst, ' '), key...), nil
}

func (plain) Classify(_ int, data []byte) (f mux.Frame, err error) {
	if len(data) == 0 {
		return f, errPlain
	}
	i := 1
	for ; i < len(data) && data[i] >= '0' && data[i] <= '9'; i++ {
		f.ID = f.ID*10 + uint64(data[i]-'0')
	}
	switch data[0] {
	case 'R':
		f.Kind = mux.Reply
	case 'P':
		f.Kind = mux.Part
	case 'Z':
		f.Kind = mux.End
	case 'E':
		f.Kind = mux.Event
	case 'A':
		f.Kind = mux.Ask
	case 'W':
		f.Kind = mux.Away
	case 'I':
		f.Kind = mux.Ignore
	case 'K', 'L':
		f.Kind = mux.Part
		if data[0] == 'L' {
			f.Kind = mux.End
		}
		if f.Key, _, _ = bytes.Cut(data[1:], []byte(":")); f.Key == nil {
			f.Key = data[1:]
		}
	case '!':
		panic("boom")
	default:
		return f, errPlain
	}
	return f, nil
}

// keyed is plain with acknowledged streams: the reply to their request is "R7 key", or "R7 !…" if
// the server refuses.
type keyed struct{ plain }

func (keyed) StreamKey(m mux.Message) ([]byte, error) {
	_, key, _ := bytes.Cut(m.Data, []byte(" "))
	if bytes.HasPrefix(key, []byte("!")) {
		return nil, errors.New(string(key))
	}
	return key, nil
}

// text returns the text of a message.
func text(m mux.Message) string {
	_, s, _ := strings.Cut(string(m.Data), " ")
	return s
}

// peer is the server's end of one connection.
type peer struct {
	ws *websocket.Conn
	mu sync.Mutex // of writes
}

// read returns the kind of the next message, its id and its text; false: the connection ended.
func (p *peer) read() (kind byte, id, text string, ok bool) {
	_, m, err := p.ws.ReadMessage()
	if err != nil || len(m) == 0 {
		return 0, "", "", false
	}
	head, text, _ := strings.Cut(string(m), " ")
	return head[0], head[1:], text, true
}

func (p *peer) send(format string, args ...any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, format, args...))
}

// bye sends a close frame.
func (p *peer) bye(code int) {
	p.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(time.Second))
}

// server serves every connection with one function, and closes it when that returns.
type server struct {
	cfg   wspool.Config
	serve func(*peer)

	mu    sync.Mutex
	all   map[*peer]bool
	ended bool // no connection is served any more
	wg    sync.WaitGroup
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{}
	s.mu.Lock() // a client that has seen the response is among those that cut closes
	if s.ended {
		s.mu.Unlock()
		return
	}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		s.mu.Unlock()
		return
	}
	p := &peer{ws: ws}
	s.all[p] = true
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	s.serve(p)
	ws.Close()
	s.mu.Lock()
	delete(s.all, p)
	s.mu.Unlock()
}

// cut closes the connections that there are.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.all {
		p.ws.Close()
	}
}

// end closes the connections and waits for the functions that serve.
func (s *server) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.cut()
	s.wg.Wait()
}

// listen starts a server on a socket.
func listen(t testing.TB, serve func(*peer)) *server {
	s := &server{serve: serve, all: map[*peer]bool{}}
	h := httptest.NewServer(s)
	s.cfg = wspool.Config{URL: "ws" + strings.TrimPrefix(h.URL, "http"), MaxSize: 8}
	t.Cleanup(func() { h.Close(); s.end() })
	return s
}

// listenMem starts a server in memory, for bubbles.
func listenMem(t testing.TB, serve func(*peer)) *server { return listenMemOf(t, 1<<16, serve) }

// listenMemOf starts a server in memory whose connections hold size bytes each way.
func listenMemOf(t testing.TB, size int, serve func(*peer)) *server {
	s := &server{serve: serve, all: map[*peer]bool{}}
	l := memnet.Listen(size)
	h := &http.Server{Handler: s}
	done := make(chan struct{})
	go func() { defer close(done); h.Serve(l) }()
	s.cfg = wspool.Config{URL: "ws://mem/", MaxSize: 8, NetDial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return l.Dial(ctx, network, addr)
	}}
	t.Cleanup(func() { h.Close(); s.end(); <-done })
	return s
}

// echo replies to each call with its text.
func echo(p *peer) {
	for {
		kind, id, text, ok := p.read()
		if !ok {
			return
		}
		if kind == 'C' {
			p.send("R%s %s", id, text)
		}
	}
}

// newClient returns a client of s. At the end of the test the client and its pool are closed,
// and nothing may be left of either.
func newClient(t testing.TB, s *server, cfg mux.Config) (*mux.Client, *wspool.Pool) {
	t.Helper()
	p, err := wspool.New(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Codec == nil {
		cfg.Codec = plain{}
	}
	c, err := mux.New(p, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := mux.CheckLoad(c); err != nil {
			t.Error(err)
		}
		if err := c.Close(ctx); err != nil {
			t.Errorf("closing the client: %v; %+v", err, c.Stats())
		}
		if err := p.Close(ctx); err != nil {
			t.Errorf("closing the pool: %+v", err)
		}
		if s := c.Stats(); s.InFlight+s.Streams+s.Waiting+len(s.Conns) != 0 {
			t.Errorf("after Close: %+v", s)
		}
	})
	return c, p
}

// ask makes a call whose reply must be its text.
func ask(t testing.TB, c *mux.Client, what string) {
	t.Helper()
	m, err := c.Call(t.Context(), mux.Request{Body: what})
	if err != nil || text(m) != what {
		t.Errorf("%q: %q, %v", what, m.Data, err)
	}
}

func muxConfig() mux.Config { return mux.Config{Codec: plain{}} }
