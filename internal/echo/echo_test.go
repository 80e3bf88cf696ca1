package echo_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/echo"
)

func listen(t *testing.T) echo.Address {
	t.Helper()
	s, err := echo.Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s.Addr()
}

func dial(t *testing.T, url string, c *tls.Config) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{TLSClientConfig: c}
	ws, _, err := d.Dial(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	return ws
}

func write(t *testing.T, ws *websocket.Conn, kind int, text string) {
	t.Helper()
	if err := ws.WriteMessage(kind, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, ws *websocket.Conn) string {
	t.Helper()
	_, p, err := ws.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

func TestEcho(t *testing.T) {
	a := listen(t)
	for _, scheme := range []string{"ws", "wss"} {
		ws := dial(t, a.URL(scheme), a.TLS())
		for _, text := range []string{"a", "", strings.Repeat("long", 5000)} {
			write(t, ws, websocket.BinaryMessage, text)
			if got := read(t, ws); got != text {
				t.Errorf("%s: got %.40q, want %.40q", scheme, got, text)
			}
		}
	}
	c, err := net.Dial("tcp", a.TCP)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "bytes")
	if got, err := io.ReadAll(io.LimitReader(c, 5)); err != nil || string(got) != "bytes" {
		t.Errorf("got %q, %v", got, err)
	}
}

// A text ends an utterance whose binary messages are not answered.
func TestTexts(t *testing.T) {
	a := listen(t)
	ws := dial(t, a.With("texts=1&takes=1ms&handshake=1ms").WS, nil)
	write(t, ws, websocket.BinaryMessage, "chunk")
	write(t, ws, websocket.TextMessage, "end")
	if got := read(t, ws); got != "end" {
		t.Errorf("got %q", got)
	}
}

func TestRPC(t *testing.T) {
	a := listen(t)
	for _, query := range []string{"rpc=1", "rpc=1&from=1ms&to=2ms"} {
		ws := dial(t, a.With(query).WS, nil)
		for call, want := range map[string]string{
			`{"jsonrpc":"2.0","id":7,"method":"x","params":["a",{"id":1}]}`: `{"jsonrpc":"2.0","id":7,"result":["a",{"id":1}]}`,
			`{"method":"x","id":"7","jsonrpc":"2.0"}`:                       `{"jsonrpc":"2.0","id":"7","result":null}`,
			`no call`: `{"jsonrpc":"2.0","id":null,"result":null}`,
		} {
			write(t, ws, websocket.TextMessage, call)
			if got := read(t, ws); got != want {
				t.Errorf("%s: got %s, want %s", query, got, want)
			}
		}
	}
}

// Replies that wait for a random time come out of order, each once.
func TestOutOfOrder(t *testing.T) {
	a := listen(t)
	ws := dial(t, a.With("from=1ms&to=50ms").WS, nil)
	var want, got []string
	for i := range 50 {
		want = append(want, fmt.Sprintf("%02d", i))
		write(t, ws, websocket.TextMessage, want[i])
	}
	for range want {
		got = append(got, read(t, ws))
	}
	if slices.IsSorted(got) {
		t.Error("all replies are in order")
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// Replies to messages that arrive together leave together.
func TestCoalesce(t *testing.T) {
	a := listen(t)
	ws := dial(t, a.With("coalesce=1").WS, nil)
	// Frames of one byte, masked with zeros.
	const n = 100
	if _, err := ws.NetConn().Write(bytes.Repeat([]byte{0x82, 0x81, 0, 0, 0, 0, 'x'}, n)); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 8*n)
	reads, got := 0, 0
	for got < 3*n {
		k, err := ws.NetConn().Read(p[got:])
		if err != nil {
			t.Fatal(err)
		}
		got += k
		reads++
	}
	if want := bytes.Repeat([]byte{0x82, 1, 'x'}, n); !bytes.Equal(p[:got], want) || reads > n/2 {
		t.Errorf("%d bytes in %d reads, want %d bytes in few", got, reads, len(want))
	}
	write(t, ws, websocket.TextMessage, "alone")
	if got := read(t, ws); got != "alone" {
		t.Errorf("got %q", got)
	}
	// The reply to a close frame is not held back either.
	if err := ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Errorf("got %v", err)
	}
}

func TestCommands(t *testing.T) {
	a := listen(t)
	one, two := dial(t, a.WS, nil), dial(t, a.WSS, a.TLS())
	if err := one.WriteControl(websocket.PingMessage, nil, time.Time{}); err != nil {
		t.Fatal(err)
	}
	for _, ws := range []*websocket.Conn{one, two} {
		write(t, ws, websocket.TextMessage, "x")
		read(t, ws)
	}
	ctx := t.Context()
	if c, err := a.Counts(ctx); err != nil || c.Opened != 2 || c.Pings != 1 || c.Peak < 1 {
		t.Errorf("%+v, %v", c, err)
	}
	far, err := a.Far(ctx, time.Millisecond)
	if err != nil || far.WS == a.WS {
		t.Fatalf("%+v, %v", far, err)
	}
	ws := dial(t, far.WS, nil)
	write(t, ws, websocket.TextMessage, "far")
	if got := read(t, ws); got != "far" {
		t.Errorf("got %q", got)
	}
	if _, err := a.GoAway(ctx, 4); err == nil {
		t.Error("four of three connections were closed")
	}
	for _, ws := range []*websocket.Conn{one, two, ws} {
		if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
			t.Errorf("got %v, want 1001", err)
		}
		ws.Close()
	}
	cut := dial(t, a.WS, nil)
	write(t, cut, websocket.TextMessage, "x")
	read(t, cut)
	if err := a.Cut(ctx, 10); err != nil {
		t.Fatal(err)
	}
	if _, _, err := cut.ReadMessage(); err == nil || websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("got %v, want an end without a close frame", err)
	}
}
