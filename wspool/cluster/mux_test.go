package cluster_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool/cluster"
	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/jsonrpc"
)

// rpc serves JSON-RPC on one connection: it answers each call, 5 ms later, with its address. When
// away is closed it answers what it has and closes the connection with 1001, all connections at the
// same time.
func (s *server) rpc(ws *websocket.Conn, away <-chan struct{}) {
	var mu sync.Mutex
	var calls flights
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-away:
			// A call that arrives after this is not answered: the client sends it again.
			calls.wait()
			mu.Lock()
			ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1001, ""), time.Now().Add(time.Second))
			mu.Unlock()
		case <-done:
		}
	}()
	defer calls.wait()
	for {
		_, p, err := ws.ReadMessage()
		if err != nil {
			return
		}
		s.got.Add(1)
		var call struct{ ID json.RawMessage }
		if json.Unmarshal(p, &call) != nil {
			return
		}
		calls.add(1)
		go func() {
			defer calls.add(-1)
			time.Sleep(5 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			if ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"result":%q}`, call.ID, s.addr)) == nil {
				s.served.Add(1)
			}
		}()
	}
}

// flights counts calls. Unlike a sync.WaitGroup it may be added to while a goroutine waits.
type flights struct {
	mu   sync.Mutex
	n    int
	none []chan struct{}
}

func (f *flights) add(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n += n; f.n == 0 {
		for _, ch := range f.none {
			close(ch)
		}
		f.none = nil
	}
}

// wait waits until there are none.
func (f *flights) wait() {
	f.mu.Lock()
	if f.n == 0 {
		f.mu.Unlock()
		return
	}
	ch := make(chan struct{})
	f.none = append(f.none, ch)
	f.mu.Unlock()
	<-ch
}

// startRPC starts servers of JSON-RPC.
func (w *world) startRPC(addrs ...string) *world {
	w.start(addrs...)
	for _, addr := range addrs {
		s := w.at(addr)
		s.away = make(chan struct{})
		s.http.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			up := websocket.Upgrader{}
			ws, err := up.Upgrade(rw, r, nil)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[ws] = true
			away := s.away
			s.mu.Unlock()
			s.w.wg.Add(1)
			defer s.w.wg.Done()
			s.rpc(ws, away)
			ws.Close()
			s.mu.Lock()
			delete(s.conns, ws)
			s.mu.Unlock()
		})
	}
	return w
}

// restart has the server go away, refuse dials for that long, and come back.
func (s *server) restart(d time.Duration) {
	s.down.Store(true)
	s.mu.Lock()
	close(s.away)
	s.away = make(chan struct{})
	s.mu.Unlock()
	time.Sleep(d)
	s.cut()
	s.down.Store(false)
}

func newMux(t testing.TB, c *cluster.Cluster, cfg mux.Config) *mux.Client {
	t.Helper()
	cfg.Codec = jsonrpc.Codec{Away: "bye"}
	m, err := mux.New(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Errorf("closing the client: %v", err)
		}
	})
	return m
}

func call(ctx context.Context, m *mux.Client, idempotent bool) (string, error) {
	reply, err := m.Call(ctx, mux.Request{Body: jsonrpc.Request{Method: "where"}, Idempotent: idempotent})
	if err != nil {
		return "", err
	}
	var at string
	return at, jsonrpc.Decode(reply, &at)
}

// calls makes calls from many goroutines until stop is called, which returns how many each server
// answered and how many failed.
func calls(t testing.TB, m *mux.Client, callers int, think time.Duration, idempotent bool) (stop func() (at map[string]int, failed int)) {
	var wg sync.WaitGroup
	over := make(chan struct{})
	var mu sync.Mutex
	at, failed := map[string]int{}, 0
	for range callers {
		wg.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				where, err := call(t.Context(), m, idempotent)
				mu.Lock()
				if err != nil {
					failed++
					if failed < 10 {
						t.Error(err)
					}
				} else {
					at[where]++
				}
				mu.Unlock()
				time.Sleep(think)
			}
		})
	}
	return func() (map[string]int, int) { close(over); wg.Wait(); return at, failed }
}

// The connections of a client of mux are spread evenly over the endpoints.
func TestMuxSpreads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := names(5)
		w := newWorld(t).startRPC(all...)
		c := open(t, w.cfg(static(list(all...))))
		m := newMux(t, c, mux.Config{MaxConns: 10, GrowAt: 1, IdleAfter: -1})
		stop := calls(t, m, 40, 10*time.Millisecond, false)
		time.Sleep(time.Second)
		for _, e := range c.Stats().Endpoints {
			if e.Shared != 2 || e.Pool.Leased != 2 {
				t.Errorf("%v: %d shared", e, e.Shared)
			}
		}
		stop()
	})
}

// When an endpoint leaves, the connections of mux move to others, and no call fails. When one
// joins some move to it.
func TestMuxMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := names(3)
		w := newWorld(t).startRPC(all...)
		r := newManual()
		c := open(t, w.cfg(r))
		r.set(all[:2]...)
		m := newMux(t, c, mux.Config{MaxConns: 6, GrowAt: 1, IdleAfter: -1})
		stop := calls(t, m, 20, 300*time.Millisecond, false)
		time.Sleep(2 * time.Second)
		r.set(all[1:]...) // one leaves, one joins
		time.Sleep(5 * time.Second)
		if n := w.at(all[0]).open(); n != 0 {
			t.Errorf("%d connections to the endpoint that has left", n)
		}
		if _, ok := state(t, c, all[0]); ok {
			t.Error("it is not forgotten")
		}
		r.set(all...)
		time.Sleep(2 * time.Minute)
		for _, e := range c.Stats().Endpoints {
			if e.Shared != 2 {
				t.Errorf("%v: %d shared", e, e.Shared)
			}
		}
		if _, failed := stop(); failed > 0 {
			t.Errorf("%d calls failed", failed)
		}
	})
}

// Servers that restart one after the other, each of which answers what it has and closes its
// connections with 1001, fail no call.
func TestMuxRollingRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := names(5)
		w := newWorld(t).startRPC(all...)
		c := open(t, w.cfg(static(list(all...))))
		// A call that crosses the close frame may have run as far as the client knows.
		m := newMux(t, c, mux.Config{MaxConns: 10, GrowAt: 1, ReplayRatio: 1})
		stop := calls(t, m, 20, 20*time.Millisecond, true)
		time.Sleep(time.Second)
		for _, addr := range all {
			w.at(addr).restart(time.Second)
			time.Sleep(time.Second)
		}
		at, failed := stop()
		if failed > 0 || len(at) != 5 {
			t.Errorf("%d calls failed, %v", failed, at)
		}
		if s := m.Stats(); s.Acquired < 15 {
			t.Errorf("%+v", s)
		}
	})
}

var _ mux.Leaser = (*cluster.Cluster)(nil)

// A server that dies may end its connections one after the other: a call that is replayed goes to
// another server, and not to the next connection of that one.
func TestMuxReplayedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := names(3)
		w := newWorld(t).startRPC(all...)
		c := open(t, w.cfg(static(list(all...))))
		m := newMux(t, c, mux.Config{MaxConns: 8, GrowAt: 1, ReplayRatio: 1})
		stop := calls(t, m, 40, time.Millisecond, true)
		time.Sleep(500 * time.Millisecond)
		for _, addr := range all {
			s := w.at(addr)
			s.down.Store(true)
			if s.open() < 2 {
				t.Errorf("%d connections to %s", s.open(), addr)
			}
			for s.open() > 0 {
				s.cutOne()
				time.Sleep(2 * time.Millisecond)
			}
			s.down.Store(false)
			time.Sleep(500 * time.Millisecond)
		}
		if at, failed := stop(); failed > 0 || len(at) != 3 {
			t.Errorf("%d calls failed, %v", failed, at)
		}
		if s := m.Stats(); s.Replayed == 0 {
			t.Errorf("nothing was replayed: %+v", s)
		}
	})
}
