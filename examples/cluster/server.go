package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// asServer, if set in the environment, makes the program a server with that name.
const asServer = "RESPOOL_EXAMPLE_CLUSTER_SERVER"

// closeWait is how long a server that ends waits for its clients to answer its Close frames.
const closeWait = 5 * time.Second

// serve is a server. It prints its address and runs until its input ends. It returns its exit
// status.
func serve(name string, stdin io.Reader, stdout, stderr io.Writer) int {
	// A terminal sends an interrupt to every process of the group; the parent decides when a
	// server ends, and the end of the input says so, also if the parent has crashed.
	signal.Ignore(os.Interrupt)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	s := &server{name: name, conns: make(map[*session]struct{})}
	h := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go h.Serve(ln)
	fmt.Fprintln(stdout, ln.Addr())
	_, _ = io.Copy(io.Discard, stdin)
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	if err := errors.Join(h.Shutdown(ctx), s.drain(ctx)); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// server answers each message with its name, after a while.
type server struct {
	name string

	mu       sync.Mutex
	draining bool
	conns    map[*session]struct{}
	all      sync.WaitGroup
}

// session is one connection.
type session struct {
	ws *websocket.Conn

	mu     sync.Mutex
	busy   bool // a message was read, and not answered
	closed bool // the Close frame was sent
	drain  bool // it is to be sent after the answer
}

// ServeHTTP accepts a connection and answers its messages. A message is the time that the
// answer takes.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	defer ws.Close()
	c := &session{ws: ws}
	s.mu.Lock()
	s.all.Add(1)
	s.conns[c] = struct{}{}
	draining := s.draining
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
		s.all.Done()
	}()
	if draining {
		c.end(true)
	}
	for {
		_, message, err := ws.ReadMessage()
		if err != nil {
			return
		}
		work, err := time.ParseDuration(string(message))
		if err != nil {
			return
		}
		if !c.begin() {
			continue // after the Close frame: the client sends the message elsewhere
		}
		time.Sleep(work)
		if err := ws.WriteMessage(websocket.TextMessage, []byte(s.name)); err != nil {
			return
		}
		c.end(false)
	}
}

// begin notes that a message is being worked on, unless the session was closed.
func (c *session) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = !c.closed
	return c.busy
}

// end sends the Close frame, if it is to be sent and no message is being worked on. drain is
// whether it is to be sent from now on; otherwise a message was answered.
func (c *session) end(drain bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if drain {
		c.drain = true
	} else {
		c.busy = false
	}
	if c.drain && !c.busy && !c.closed {
		c.closed = true
		text := websocket.FormatCloseMessage(websocket.CloseGoingAway, "restart")
		_ = c.ws.WriteControl(websocket.CloseMessage, text, time.Now().Add(time.Second))
	}
}

// drain has every session end after the answer that it owes, and waits for the clients to
// close.
func (s *server) drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	for c := range s.conns {
		go c.end(true)
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.all.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("connections remain: %w", context.Cause(ctx))
	}
}
