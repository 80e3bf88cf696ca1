package main

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// serving starts a server until the test has ended.
func serving(t *testing.T, silence time.Duration) *server {
	t.Helper()
	s, err := listen(silence)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func dial(t *testing.T, s *server) *websocket.Conn {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), s.url("a"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	return ws
}

// becomes waits until the server counts n sessions.
func becomes(t *testing.T, s *server, n int) {
	t.Helper()
	for by := time.Now().Add(time.Minute); s.now() != n; time.Sleep(time.Millisecond) { // between looks
		if time.Now().After(by) {
			t.Fatalf("the server counts %d sessions, want %d", s.now(), n)
		}
	}
}

// A session counts from the answer of the server to its end: a close frame, the end of the
// connection, or silence.
func TestServer_Counts(t *testing.T) {
	s := serving(t, time.Minute)
	closes, ends := dial(t, s), dial(t, s)
	if n := s.now(); n != 2 {
		t.Errorf("the server counts %d sessions, want 2", n)
	}
	if err := closes.WriteControl(websocket.CloseMessage, nil, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := closes.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNoStatusReceived) {
		t.Errorf("the server answered the close frame with %v", err)
	}
	if n := s.now(); n != 1 {
		t.Errorf("after its answer to the close frame the server counts %d sessions, want 1", n)
	}
	ends.NetConn().Close()
	becomes(t, s, 0)
	for range 100 {
		dial(t, s)
	}
	if n, _ := s.peak(); n != 100 {
		t.Errorf("the server counted %d sessions of 100", n)
	}
	sum := 0
	for _, c := range s.history(0) {
		if sum += c.delta; c.count != sum || c.process != "a" {
			t.Fatalf("the change %+v has not the sum %d", c, sum)
		}
	}
}

// A session ends if its client answers no ping, and lives as long as its client answers.
func TestServer_Silence(t *testing.T) {
	s := serving(t, 500*time.Millisecond)
	silent, talks := dial(t, s), dial(t, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, _, err := talks.ReadMessage(); err != nil { // answers pings meanwhile
				return
			}
		}
	}()
	becomes(t, s, 1)
	if _, err := silent.NetConn().Write([]byte{0}); err != nil {
		t.Logf("the connection of the silent client is closed: %v", err)
	}
	if got := s.history(0); len(got) != 3 || got[2].at-got[0].at < s.silence {
		t.Errorf("the silent session ended too early: %+v", got)
	}
	talks.NetConn().Close()
	<-done
	becomes(t, s, 0)
}

// A session that its client has closed does not count beside the next one, although the
// goroutine of the server has not noticed.
func TestCounter_HungUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := &counter{began: time.Now(), sessions: make(map[*session]struct{})}
	var clients []net.Conn
	for range limit {
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		c.begin("a", conn)
		clients = append(clients, client)
	}
	first := clients[0].(*net.TCPConn)
	if _, err := first.Write([]byte("unread")); err != nil {
		t.Fatal(err)
	}
	first.Close()
	last := c.begin("b", nil)
	if n := c.now(); n != limit && hungUpWorks {
		t.Errorf("%d sessions, want %d: one had hung up", n, limit)
	}
	last.end()
	last.end() // does nothing
	for range 2 {
		c.begin("c", nil) // no room was made for the second
	}
	if n, _ := c.peak(); n != limit+1 && hungUpWorks {
		t.Errorf("the most are %d sessions, want %d", n, limit+1)
	}
}

// Only processes of the fleet are served.
func TestServer_Stranger(t *testing.T) {
	s := serving(t, time.Minute)
	for _, name := range []string{"", "x", "a/b"} {
		_, answer, err := websocket.DefaultDialer.DialContext(t.Context(), s.url(name), nil)
		if err == nil || answer == nil || answer.StatusCode != http.StatusNotFound {
			t.Errorf("%q: %v, want status 404", name, err)
		}
	}
	if n, _ := s.peak(); n != 0 {
		t.Errorf("the server counted %d sessions", n)
	}
}

// Close ends sessions that run and such as begin at the same time.
func TestServer_Close(t *testing.T) {
	s, err := listen(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	dial(t, s)
	began := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for first := true; ; first = false {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			ws, _, err := websocket.DefaultDialer.DialContext(ctx, s.url("b"), http.Header{})
			cancel()
			if err != nil {
				return
			}
			if first {
				close(began)
			}
			defer ws.Close()
		}
	}()
	<-began
	s.Close()
	<-ended
	if n := s.now(); n != 0 {
		t.Errorf("after Close there are %d sessions", n)
	}
}
