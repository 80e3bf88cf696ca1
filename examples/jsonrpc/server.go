package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/sourcegraph/jsonrpc2"
	rpcws "github.com/sourcegraph/jsonrpc2/websocket"
)

// server is a JSON-RPC 2.0 server over WebSocket, as sourcegraph/jsonrpc2 makes
// one. It answers the requests of a connection as each is done, not in order.
//
//	add    [a, b]        a + b
//	sleep  milliseconds  "slept", that much later
type server struct {
	addr   string
	asleep chan struct{} // has a token when a sleep has begun since the last was taken

	http *http.Server

	mu    sync.Mutex
	conns map[*jsonrpc2.Conn]bool
}

func start() (*server, error) {
	s := &server{addr: "127.0.0.1:0", asleep: make(chan struct{}, 1), conns: make(map[*jsonrpc2.Conn]bool)}
	return s, s.listen()
}

func (s *server) listen() error {
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	s.addr = l.Addr().String() // after a restart it is the same
	s.http = &http.Server{Handler: http.HandlerFunc(s.upgrade)}
	go s.http.Serve(l)
	return nil
}

func (s *server) upgrade(w http.ResponseWriter, r *http.Request) {
	ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
	if err != nil {
		return // it has told the client
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

func (s *server) answer(_ context.Context, _ *jsonrpc2.Conn, r *jsonrpc2.Request) (any, error) {
	if r.Params == nil {
		return nil, &jsonrpc2.Error{Code: jsonrpc2.CodeInvalidParams, Message: "no params"}
	}
	switch r.Method {
	case "add":
		var n [2]int
		if err := json.Unmarshal(*r.Params, &n); err != nil {
			return nil, &jsonrpc2.Error{Code: jsonrpc2.CodeInvalidParams, Message: "add wants [a, b]"}
		}
		return n[0] + n[1], nil
	case "sleep":
		var ms int
		if err := json.Unmarshal(*r.Params, &ms); err != nil {
			return nil, &jsonrpc2.Error{Code: jsonrpc2.CodeInvalidParams, Message: "sleep wants milliseconds"}
		}
		select {
		case s.asleep <- struct{}{}:
		default:
		}
		time.Sleep(time.Duration(ms) * time.Millisecond)
		return "slept", nil
	}
	return nil, &jsonrpc2.Error{Code: jsonrpc2.CodeMethodNotFound, Message: "no method " + r.Method}
}

// restart hangs up on everybody, as a server does whose process ends, when the
// next one listens already.
func (s *server) restart() error {
	s.http.Close() // not the connections that are WebSockets by now
	err := s.listen()
	s.hangUp()
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

// quiet drops what the library logs of clients that leave.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
