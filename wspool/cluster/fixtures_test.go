package cluster_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/internal/memnet"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/cluster"
)

// patience bounds what must happen; nothing waits for it to pass.
const patience = 30 * time.Second

// world is a network in memory with servers, for bubbles.
type world struct {
	t    testing.TB
	wg   sync.WaitGroup
	mu   sync.Mutex
	all  map[string]*server
	take time.Duration // what an answer takes
}

// server is one endpoint. It answers each message with its address and the message.
type server struct {
	addr     string
	w        *world
	listener *memnet.Listener
	http     *http.Server
	down     atomic.Bool // dials are refused
	hole     atomic.Bool // nothing is answered, and dials hang
	dials    atomic.Int64
	served   atomic.Int64 // messages that were answered
	got      atomic.Int64 // messages that were received

	mu    sync.Mutex
	conns map[*websocket.Conn]bool
	away  chan struct{} // closed when it restarts; of startRPC
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, all: map[string]*server{}}
	t.Cleanup(func() {
		for _, s := range w.servers() {
			s.http.Close()
			s.cut()
		}
		w.wg.Wait()
	})
	return w
}

// start starts servers with these addresses.
func (w *world) start(addrs ...string) *world {
	for _, addr := range addrs {
		s := &server{addr: addr, w: w, listener: memnet.Listen(1 << 16), conns: map[*websocket.Conn]bool{}}
		s.http = &http.Server{Handler: s}
		w.mu.Lock()
		w.all[addr] = s
		w.mu.Unlock()
		w.wg.Go(func() { s.http.Serve(s.listener) })
	}
	return w
}

func (w *world) at(addr string) *server {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all[addr]
}

func (w *world) servers() (all []*server) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.all {
		all = append(all, s)
	}
	return all
}

// dial is a NetDial.
func (w *world) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	s := w.at(addr)
	if s == nil || s.down.Load() {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	s.dials.Add(1)
	if s.hole.Load() {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: network, Err: ctx.Err()}
	}
	return s.listener.Dial(ctx, network, addr)
}

func (s *server) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{}
	ws, err := up.Upgrade(rw, r, nil)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.conns[ws] = true
	s.mu.Unlock()
	s.w.wg.Add(1)
	defer s.w.wg.Done()
	defer func() {
		ws.Close()
		s.mu.Lock()
		delete(s.conns, ws)
		s.mu.Unlock()
	}()
	pong := ws.PingHandler()
	ws.SetPingHandler(func(data string) error {
		if s.hole.Load() {
			return nil
		}
		return pong(data)
	})
	for {
		kind, p, err := ws.ReadMessage()
		if err != nil {
			return
		}
		s.got.Add(1)
		if s.w.take > 0 {
			time.Sleep(s.w.take) // the time of the server's work
		}
		if s.hole.Load() {
			continue
		}
		s.served.Add(1)
		if ws.WriteMessage(kind, append([]byte(s.addr+" "), p...)) != nil {
			return
		}
	}
}

// cut ends the connections that there are.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ws := range s.conns {
		ws.Close()
	}
}

// cutOne ends one of the connections.
func (s *server) cutOne() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ws := range s.conns {
		ws.Close()
		return
	}
}

// open is how many connections there are.
func (s *server) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// kill refuses dials and cuts the connections, as a process does that has died.
func (s *server) kill() {
	s.down.Store(true)
	s.cut()
}

// manual is a resolver whose answers a test gives.
type manual struct {
	answers chan endpoint.Update
	refresh atomic.Int64
}

func newManual() *manual { return &manual{answers: make(chan endpoint.Update)} }

func (m *manual) Watch(ctx context.Context, f func(endpoint.Update)) error {
	for {
		select {
		case u := <-m.answers:
			f(u)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *manual) Refresh() { m.refresh.Add(1) }

// set gives a complete answer.
func (m *manual) set(addrs ...string) {
	m.answers <- endpoint.Update{Endpoints: list(addrs...), Complete: true}
}

// list returns endpoints with these addresses.
func list(addrs ...string) (all []endpoint.Endpoint) {
	for _, a := range addrs {
		all = append(all, endpoint.Endpoint{Addr: a})
	}
	return all
}

// names returns n addresses.
func names(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("s%02d:80", i))
	}
	return all
}

// static is a resolver with one complete answer.
type static []endpoint.Endpoint

func (s static) Watch(ctx context.Context, f func(endpoint.Update)) error {
	f(endpoint.Update{Endpoints: slices.Clone(s), Complete: true})
	<-ctx.Done()
	return ctx.Err()
}

// cfg returns the configuration of a cluster of w.
func (w *world) cfg(r endpoint.Resolver) cluster.Config {
	return cluster.Config{
		Resolver: r, MaxTotal: 100,
		Config: func(e endpoint.Endpoint) (wspool.Config, error) {
			return wspool.Config{URL: "ws://" + e.Addr + "/", NetDial: w.dial}, nil
		},
	}
}

// open returns a cluster that is closed, and must have nothing left, at the end.
func open(t testing.TB, cfg cluster.Config) *cluster.Cluster {
	t.Helper()
	c, err := cluster.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		s := c.Stats()
		if s.Made != s.Destroyed+s.Hijacked || s.Idle+s.Leased+s.Making+s.Destroying != 0 {
			t.Errorf("after Close: %+v", s)
		}
		idle(t, s)
	})
	return c
}

// idle checks that nothing counts as load.
func idle(t testing.TB, s cluster.Stats) {
	t.Helper()
	for _, e := range s.Endpoints {
		if e.Load != 0 || e.Shared != 0 {
			t.Errorf("%s has load %d, %d shared leases", e.Endpoint.Addr, e.Load, e.Shared)
		}
	}
}

// acquire lends a connection, which must succeed.
func acquire(t testing.TB, c *cluster.Cluster) *wspool.Conn {
	t.Helper()
	conn, err := c.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// ask makes an exchange, which must succeed, and returns the address of the server.
func ask(t testing.TB, c *cluster.Cluster) string {
	t.Helper()
	addr, err := exchange(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// exchange makes an exchange and returns the address of the server.
func exchange(ctx context.Context, c *cluster.Cluster) (string, error) {
	_, reply, err := c.Exchange(ctx, websocket.TextMessage, []byte("x"))
	if err != nil {
		return "", err
	}
	addr, ok := cutSuffix(reply)
	if !ok {
		return "", fmt.Errorf("reply %q", reply)
	}
	return addr, nil
}

func cutSuffix(reply []byte) (string, bool) {
	s := string(reply)
	if len(s) < 2 || s[len(s)-2:] != " x" {
		return "", false
	}
	return s[:len(s)-2], true
}

// state returns the state of an endpoint.
func state(t testing.TB, c *cluster.Cluster, addr string) (e cluster.EndpointStats, ok bool) {
	t.Helper()
	s := c.Stats()
	i := slices.IndexFunc(s.Endpoints, func(e cluster.EndpointStats) bool { return e.Endpoint.Addr == addr })
	if i < 0 {
		return e, false
	}
	return s.Endpoints[i], true
}

// connections returns how many connections each endpoint has that are not being destroyed.
func connections(c *cluster.Cluster) map[string]int {
	n := map[string]int{}
	for _, e := range c.Stats().Endpoints {
		n[e.Endpoint.Addr] = e.Pool.Idle + e.Pool.Leased + e.Pool.Making
	}
	return n
}
