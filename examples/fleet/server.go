package main

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// change is a session that began or ended.
type change struct {
	at      time.Duration // since the start of the server
	process string        // of its client
	delta   int           // 1 or -1
	count   int           // sessions after it
}

// counter knows which sessions exist. It is the judge: a session counts from before the
// server accepts it until the server ends it, answers its close frame, or has received the
// end of its connection.
type counter struct {
	began time.Time

	mu       sync.Mutex
	sessions map[*session]struct{}
	changes  []change
	most     int
	mostAt   time.Duration
}

// begin counts a session of that process.
func (c *counter) begin(process string, conn net.Conn) *session {
	s := &session{counter: c, process: process, conn: conn}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sessions) >= limit {
		// A session is over when its client's FIN has arrived, but the goroutine that reads
		// it may not have run since. A client that waited for its turn must not be counted
		// beside the one that made room.
		for o := range c.sessions {
			if hungUp(o.conn) {
				c.endLocked(o)
			}
		}
	}
	c.sessions[s] = struct{}{}
	c.noteLocked(process, 1)
	return s
}

func (c *counter) endLocked(s *session) {
	if _, ok := c.sessions[s]; ok {
		delete(c.sessions, s)
		c.noteLocked(s.process, -1)
	}
}

func (c *counter) noteLocked(process string, delta int) {
	at, n := time.Since(c.began), len(c.sessions)
	c.changes = append(c.changes, change{at, process, delta, n})
	if n > c.most {
		c.most, c.mostAt = n, at
	}
}

// now returns how many sessions exist.
func (c *counter) now() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sessions)
}

// peak returns the largest number of sessions so far, and when it was first reached.
func (c *counter) peak() (n int, at time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.most, c.mostAt
}

// history returns the changes from the given one on. The caller must not change them.
func (c *counter) history(from int) []change {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changes[from:len(c.changes):len(c.changes)]
}

// session is one session of a client.
type session struct {
	counter *counter
	process string
	conn    net.Conn // TCP
}

// end ends the count of the session. Calling it again does nothing.
func (s *session) end() {
	s.counter.mu.Lock()
	defer s.counter.mu.Unlock()
	s.counter.endLocked(s)
}

// server is a WebSocket server that echoes messages and counts its sessions. It refuses
// none: that the clients keep the limit is what the program shows.
type server struct {
	*counter
	silence time.Duration // a session ends after so long without a message or pong
	lis     net.Listener
	http    http.Server
	serving sync.WaitGroup // the goroutine that accepts, and one for each session

	mu     sync.Mutex // guards the rest
	closed bool
	conns  map[net.Conn]struct{} // of sessions
}

func listen(silence time.Duration) (*server, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{
		counter: &counter{began: time.Now(), sessions: make(map[*session]struct{})},
		silence: silence, lis: lis, conns: make(map[net.Conn]struct{}),
	}
	s.http.Handler = http.HandlerFunc(s.serve)
	s.http.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, tcpKey{}, c)
	}
	s.serving.Go(func() { _ = s.http.Serve(lis) }) // ends with Close
	return s, nil
}

// url is where a client that calls itself process connects.
func (s *server) url(process string) string {
	return "ws://" + s.lis.Addr().String() + "/" + process
}

// Close ends every session and waits for the goroutines of the server.
func (s *server) Close() {
	_ = s.http.Close() // the connections of sessions are hijacked: it does not know them
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.serving.Wait()
}

// open notes that a goroutine serves a session on conn. It returns false if the server is
// closed.
func (s *server) open(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.serving.Add(1) // before Wait, which Close calls after it has set closed
	s.conns[conn] = struct{}{}
	return true
}

func (s *server) done(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
	s.serving.Done()
}

// tcpKey is the key of the TCP connection in the context of a request.
type tcpKey struct{}

// serve serves one session, until the client closes it or is silent for too long.
func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	process := strings.TrimPrefix(r.URL.Path, "/")
	if !slices.Contains(names, process) {
		http.NotFound(w, r)
		return
	}
	conn, _ := r.Context().Value(tcpKey{}).(net.Conn)
	if !s.open(conn) {
		return
	}
	defer s.done(conn)
	session := s.begin(process, conn)
	defer session.end()
	upgrader := websocket.Upgrader{}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	defer ws.Close()

	alive := func() { _ = ws.SetReadDeadline(time.Now().Add(s.silence)) }
	alive()
	ws.SetPongHandler(func(string) error { alive(); return nil })
	ws.SetCloseHandler(func(code int, _ string) error {
		session.end() // first: the client has room for another session once it has the answer
		answer := websocket.FormatCloseMessage(code, "")
		_ = ws.WriteControl(websocket.CloseMessage, answer, time.Now().Add(s.silence))
		return nil
	})
	stop := every(s.silence/4, func() {
		_ = ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(s.silence))
	})
	defer stop()
	for {
		kind, message, err := ws.ReadMessage()
		if err != nil {
			return
		}
		alive()
		_ = ws.SetWriteDeadline(time.Now().Add(s.silence))
		if ws.WriteMessage(kind, message) != nil {
			return
		}
	}
}

// every calls f again and again, on a goroutine, until stop is called, which waits for f.
func every(d time.Duration, f func()) (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(d)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				f()
			case <-quit:
				return
			}
		}
	}()
	return func() { close(quit); <-ended }
}
