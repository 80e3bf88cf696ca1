package wspool_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
)

// dialFails wants the dial to fail in a phase, and returns how.
func dialFails(t *testing.T, cfg wspool.Config, phase string) *wspool.DialError {
	t.Helper()
	cfg.MaxSize = 1
	_, err := pool(t, cfg).Acquire(t.Context())
	var de *wspool.DialError
	if !errors.As(err, &de) || de.Phase != phase {
		t.Fatalf("Acquire: %v, want a DialError of phase %s", err, phase)
	}
	return de
}

// endless answers whatever comes first with a header that has no end.
func endless(c net.Conn) {
	if _, err := c.Read(make([]byte, 1<<12)); err != nil {
		return
	}
	io.WriteString(c, "HTTP/1.1 200 OK\r\n")
	for {
		if _, err := io.WriteString(c, "X: "+strings.Repeat("x", 1000)+"\r\n"); err != nil {
			return
		}
	}
}

// An answer whose head has no end is given up, long before DialTimeout.
func TestEndlessAnswer(t *testing.T) {
	e := dialFails(t, wspool.Config{URL: "ws://" + serveTCP(t, endless).String(), DialTimeout: patience}, "handshake")
	if !strings.Contains(e.Error(), "64 KiB") {
		t.Errorf("%v does not say why", e)
	}
}

// A server that refuses, and keeps the connection open without saying how long
// its answer's body is, is not waited for.
func TestRefusedWithoutEnd(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 403 Forbidden\r\n\r\n",
		"HTTP/1.1 403 Forbidden\r\nContent-Length: 1000\r\n\r\nbegin",
		"HTTP/1.1 403 Forbidden\nX: y\n\n",
		"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		cfg := wspool.Config{URL: "ws://" + answers(t, answer), DialTimeout: time.Hour}
		if e := dialFails(t, cfg, "handshake"); e.Status != 403 {
			t.Errorf("%q: %v", answer, e)
		}
	}
}

// The bound holds for the answer alone: a message behind it may be larger, also
// if it is in one piece with it.
func TestLargeMessageBehindAnswer(t *testing.T) {
	big := strings.Repeat("x", 200<<10)
	peer := listen(t, false, func(ws *websocket.Conn) {
		if ws.WriteMessage(websocket.TextMessage, []byte(big)) == nil {
			drain(ws)
		}
	})
	peer.cfg.OnConnect = func(ctx context.Context, c *wspool.Conn) error {
		_, got, err := c.ReadMessage(ctx)
		if err == nil && string(got) != big {
			t.Errorf("read %d bytes, want %d", len(got), len(big))
		}
		return err
	}
	acquire(t, pool(t, peer.cfg)).Release()
}

// Prepare may send the dial anywhere and need not have been given a URL.
func TestPrepareEverything(t *testing.T) {
	peer := listen(t, false, echo)
	peer.upgrader.Subprotocols = []string{"second"}
	query := make(chan string, 2)
	peer.refuse = func(_ http.ResponseWriter, r *http.Request) bool {
		query <- r.URL.RawQuery + " " + r.Header.Get("Sec-Websocket-Protocol") + " " + r.Host
		return false
	}
	cfg := peer.cfg
	cfg.URL = ""
	cfg.Subprotocols = []string{"first"}
	var n atomic.Int64
	cfg.Prepare = func(_ context.Context, h *wspool.Handshake) error {
		if h.URL != "" || len(h.Header) != 0 || len(h.Subprotocols) != 1 || h.Subprotocols[0] != "first" {
			t.Errorf("given %v", h)
		}
		h.URL = peer.cfg.URL + "/?signed=" + string(rune('0'+n.Add(1)))
		h.Subprotocols[0] = "other"
		h.Subprotocols = append(h.Subprotocols, "second")
		h.Header.Set("Host", "elsewhere")
		return nil
	}
	p := pool(t, cfg)
	for _, want := range []string{"signed=1 other, second elsewhere", "signed=2 other, second elsewhere"} {
		c := acquire(t, p)
		if got := <-query; got != want || c.Subprotocol() != "second" {
			t.Errorf("asked for %q, got subprotocol %q, want %q", got, c.Subprotocol(), want)
		}
		ask(t, c, "x")
		c.Discard(nil)
	}
}

// A NetDial that returns nothing at all fails the dial.
func TestNoConn(t *testing.T) {
	dialFails(t, wspool.Config{URL: "ws://host", NetDial: func(context.Context, string, string) (net.Conn, error) { return nil, nil }}, "connect")
}

// What Prepare failed with is the cause.
func TestPrepareFails(t *testing.T) {
	no := errors.New("no token")
	e := dialFails(t, wspool.Config{Prepare: func(context.Context, *wspool.Handshake) error { return no }}, "prepare")
	if !errors.Is(e, no) || e.Error() != "wspool: dial: prepare: no token" {
		t.Errorf("%v", e)
	}
	dialFails(t, wspool.Config{Prepare: func(context.Context, *wspool.Handshake) error { return nil }}, "prepare") // no URL
}

// A server may use compression if that was offered, and no other extension.
func TestExtensions(t *testing.T) {
	peer := listen(t, false, echo)
	peer.upgrader.EnableCompression = true
	acquire(t, pool(t, peer.cfg)).Release() // nothing offered, nothing chosen
	peer.cfg.Compression = true
	c := acquire(t, pool(t, peer.cfg))
	ask(t, c, strings.Repeat("x", 1000))
	c.Release()
	for _, tc := range []struct {
		offer  bool
		choice string
	}{
		{false, "permessage-deflate; server_no_context_takeover; client_no_context_takeover"},
		{true, "x-other"},
		{true, "permessage-deflate; server_no_context_takeover; client_no_context_takeover, x-other"},
	} {
		addr := serveTCP(t, func(c net.Conn) {
			upgrade(c, "Sec-Websocket-Extensions: "+tc.choice+"\r\n")
			drainNet(c)
		})
		dialFails(t, wspool.Config{URL: "ws://" + addr.String(), Compression: tc.offer}, "handshake")
	}
}

// A connection that ends in the midst of an answer is not taken for a server
// that speaks another protocol.
func TestTornAnswer(t *testing.T) {
	whole := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
	for n := 1; n < len(whole); n++ {
		for _, want := range []error{io.ErrUnexpectedEOF, syscall.ECONNRESET} {
			e := dialFails(t, wspool.Config{URL: "ws://" + serveTCP(t, func(c net.Conn) {
				if want == syscall.ECONNRESET {
					c.(*net.TCPConn).SetLinger(0)
				}
				if _, err := c.Read(make([]byte, 1<<12)); err == nil {
					io.WriteString(c, whole[:n])
				}
			}).String()}, "handshake")
			if !errors.Is(e, want) {
				t.Errorf("%q and then %v: %v", whole[:n], want, e)
			}
		}
	}
}
