package mux_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
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

// codec has messages of a letter, an id, a space and a text. The client sends C (call) and X
// (cancel), the server R (reply), P (part), Z (end) and W (away).
type codec struct{}

var errMessage = errors.New("codec: bad message")

func (codec) IDBits() int { return 31 }

func (codec) Append(dst []byte, id uint64, body any) (int, []byte, error) {
	dst = append(strconv.AppendUint(append(dst, 'C'), id, 10), ' ')
	return websocket.TextMessage, append(dst, body.(string)...), nil
}

func (codec) AppendCancel(dst []byte, id uint64, _ []byte) (int, []byte, error) {
	return websocket.TextMessage, append(strconv.AppendUint(append(dst, 'X'), id, 10), ' '), nil
}

func (codec) Classify(_ int, data []byte) (f mux.Frame, err error) {
	head, _, _ := bytes.Cut(data, []byte(" "))
	if len(head) == 0 {
		return f, errMessage
	}
	switch head[0] {
	case 'R':
		f.Kind = mux.Reply
	case 'P':
		f.Kind = mux.Part
	case 'Z':
		f.Kind = mux.End
	case 'W':
		return mux.Frame{Kind: mux.Away}, nil
	default:
		return f, errMessage
	}
	for _, c := range head[1:] {
		f.ID = f.ID*10 + uint64(c-'0')
	}
	return f, nil
}

// final is codec for a server that sends nothing for what was canceled.
type final struct{ codec }

func (final) CancelFinal() bool { return true }

// peer is the server's end of a connection.
type peer struct {
	n  int
	ws *websocket.Conn
	mu sync.Mutex // of writes
}

func (p *peer) send(kind, id, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ws.WriteMessage(websocket.TextMessage, []byte(kind+id+" "+text)) // the connection may have been cut
}

func (p *peer) cut() { p.ws.NetConn().Close() }

// listen starts a server in memory that serves each connection with serve, and returns the Config for
// it. stop ends it.
func listen(serve func(p *peer, kind byte, id, text string)) (cfg wspool.Config, stop func()) {
	l := memnet.Listen(1 << 16)
	var wg sync.WaitGroup
	var mu sync.Mutex
	n := 0
	h := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up := websocket.Upgrader{}
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		wg.Add(1)
		defer wg.Done()
		defer ws.Close()
		mu.Lock()
		n++
		p := &peer{n: n, ws: ws}
		mu.Unlock()
		for {
			_, m, err := ws.ReadMessage()
			if err != nil {
				serve(p, 0, "", "")
				return
			}
			head, text, _ := strings.Cut(string(m), " ")
			serve(p, head[0], head[1:], text)
		}
	})}
	wg.Go(func() { h.Serve(l) })
	cfg = wspool.Config{
		URL: "ws://mem/", MaxSize: 16, KeepAlive: -1, Redial: func(error, int) time.Duration { return 0 },
		NetDial: func(ctx context.Context, network, addr string) (net.Conn, error) { return l.Dial(ctx, network, addr) },
	}
	return cfg, func() { h.Close(); wg.Wait() }
}

// open returns a client of the server, and a function that closes it and its pool.
func open(t testing.TB, server wspool.Config, cfg mux.Config) (c *mux.Client, p *wspool.Pool, closeAll func() error) {
	p, err := wspool.New(server)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = mux.New(p, cfg); err != nil {
		t.Fatal(err)
	}
	return c, p, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		return errors.Join(c.Close(ctx), p.Close(ctx))
	}
}
