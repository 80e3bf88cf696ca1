package main

import (
	"encoding/json"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// price is the n-th price of a symbol.
type price struct{ N, Cents int }

type object map[string]any

// server is a JSON-RPC 2.0 server. Its methods are subscribe, whose result is the number of the
// subscription, and unsubscribe. There is a price every 5 ms, also while the server is stopped.
type server struct {
	addr string
	http *http.Server

	mu     sync.Mutex // guards what follows, and the writing to connections
	prices int
	ids    int
	conns  map[*websocket.Conn]map[int]bool // the subscriptions of each connection
}

func (s *server) listen() error {
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	s.addr = l.Addr().String() // the same after a restart
	s.http = &http.Server{Handler: s}
	go s.http.Serve(l)
	return nil
}

// stop is like a crash: connections are cut and subscriptions forgotten.
func (s *server) stop() {
	s.http.Close() // does not close WebSockets
	s.mu.Lock()
	defer s.mu.Unlock()
	for ws := range s.conns {
		ws.Close()
	}
	clear(s.conns)
}

// trade makes prices and sends them to the subscribers until done is closed.
func (s *server) trade(done <-chan struct{}) {
	for tick := time.Tick(5 * time.Millisecond); ; {
		select {
		case <-tick:
		case <-done:
			return
		}
		s.mu.Lock()
		s.prices++
		for ws, subscriptions := range s.conns {
			for id := range subscriptions {
				params := object{"subscription": id, "result": price{s.prices, 10_000 + rand.IntN(1000)}}
				ws.WriteJSON(object{"jsonrpc": "2.0", "method": "price", "params": params})
			}
		}
		s.mu.Unlock()
	}
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has replied to the client
	}
	defer ws.Close()
	subscriptions := make(map[int]bool)
	s.mu.Lock()
	s.conns[ws] = subscriptions
	s.mu.Unlock()
	var call struct {
		ID     json.RawMessage
		Method string
		Params []any // of unsubscribe: the subscription
	}
	for ws.ReadJSON(&call) == nil {
		s.mu.Lock()
		reply := object{"jsonrpc": "2.0", "id": call.ID, "result": true}
		switch call.Method {
		case "subscribe":
			s.ids++
			subscriptions[s.ids], reply["result"] = true, s.ids
		case "unsubscribe":
			if id, ok := call.Params[0].(float64); ok {
				delete(subscriptions, int(id))
			}
		}
		ws.WriteJSON(reply)
		s.mu.Unlock()
	}
}
