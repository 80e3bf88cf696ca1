package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/sourcegraph/jsonrpc2"
	rpcws "github.com/sourcegraph/jsonrpc2/websocket"
)

// server is a JSON-RPC 2.0 server over WebSocket, built with sourcegraph/jsonrpc2. It
// answers the requests of a connection in order of completion.
//
//	add   [a, b]  a + b, after 1 to 10 ms
//	wait          "done", once the server has been restarted
type server struct {
	addr      string
	waiting   chan struct{} // has a token for each wait that has begun
	restarted chan struct{} // closed by restart
	cut       atomic.Int64  // how many calls of add arrive until a connection is cut

	http *http.Server

	mu    sync.Mutex
	conns map[*jsonrpc2.Conn]bool
}

func start() (*server, error) {
	s := &server{addr: "127.0.0.1:0", waiting: make(chan struct{}, 8), restarted: make(chan struct{}), conns: make(map[*jsonrpc2.Conn]bool)}
	return s, s.listen()
}

func (s *server) listen() error {
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	s.addr = l.Addr().String() // the same after a restart
	s.http = &http.Server{Handler: http.HandlerFunc(s.upgrade)}
	go s.http.Serve(l)
	return nil
}

func (s *server) upgrade(w http.ResponseWriter, r *http.Request) {
	ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has replied to the client
	}
	handler := jsonrpc2.AsyncHandler(jsonrpc2.HandlerWithError(s.answer).SuppressErrClosed())
	s.mu.Lock()
	c := jsonrpc2.NewConn(context.Background(), rpcws.NewObjectStream(ws), handler, jsonrpc2.SetLogger(quiet{}))
	s.conns[c] = true
	s.mu.Unlock()
	<-c.DisconnectNotify()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

func (s *server) answer(_ context.Context, c *jsonrpc2.Conn, r *jsonrpc2.Request) (any, error) {
	switch r.Method {
	case "add":
		var n [2]int
		if r.Params == nil || json.Unmarshal(*r.Params, &n) != nil {
			return nil, &jsonrpc2.Error{Code: jsonrpc2.CodeInvalidParams, Message: "add wants [a, b]"}
		}
		if s.cut.Add(-1) == 0 {
			c.Close() // before this call and the others on the connection are answered
		}
		time.Sleep(time.Millisecond + rand.N(9*time.Millisecond))
		return n[0] + n[1], nil
	case "wait":
		select {
		case s.waiting <- struct{}{}:
		default:
		}
		select {
		case <-s.restarted:
		case <-c.DisconnectNotify():
		}
		return "done", nil
	}
	return nil, &jsonrpc2.Error{Code: jsonrpc2.CodeMethodNotFound, Message: "no method " + r.Method}
}

// cutAt cuts the connection on which the n-th call of add from now on arrives.
func (s *server) cutAt(n int64) { s.cut.Store(n) }

// restart closes every connection like the end of the process, after the next server has
// begun to listen.
func (s *server) restart() error {
	s.http.Close() // does not close hijacked connections, which all WebSockets are
	err := s.listen()
	s.hangUp()
	close(s.restarted)
	return err
}

func (s *server) stop() {
	s.http.Close()
	s.hangUp()
}

func (s *server) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

// quiet discards the log of the library about clients that leave.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
