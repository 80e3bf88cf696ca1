package wspool_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// pongGate is a connection on which pongs wait until the gate is opened. It counts the calls by
// which a goroutine could wait actively.
type pongGate struct {
	net.Conn
	open  chan struct{}
	calls atomic.Int64
}

func (g *pongGate) Write(p []byte) (int, error) {
	if len(p) > 0 && p[0] == 0x80|websocket.PongMessage {
		<-g.open
	}
	return g.Conn.Write(p)
}

func (g *pongGate) SetReadDeadline(t time.Time) error {
	g.calls.Add(1)
	return g.Conn.SetReadDeadline(t)
}

// TestHijack_WaitsForPong: a Hijack during which the pool still sends a pong waits for the end of
// that, at most 2 s. It waits without work: in a bubble time stands still while a goroutine runs.
func TestHijack_WaitsForPong(t *testing.T) {
	for _, tc := range []struct {
		name   string
		sent   time.Duration // when the pong can be sent
		took   time.Duration
		hijack bool
	}{
		{"soon", 100 * ms, 100 * ms, true},
		{"late", 1999 * ms, 1999 * ms, true},
		{"too late", 3 * time.Second, 2 * time.Second, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := witnesses(t)
				w.cfg.KeepAlive = -1
				gate := &pongGate{open: make(chan struct{})}
				dial := w.cfg.NetDial
				w.cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					c, err := dial(ctx, network, addr)
					gate.Conn = c
					return gate, err
				}
				p := pool(t, w.cfg)
				c := acquire(t, p)
				ask(t, c, "x")
				time.Sleep(time.Second) // the connection is watched from then on
				w.ping(0, "p")
				synctest.Wait()
				began, calls := time.Now(), gate.calls.Load()
				timer := time.AfterFunc(tc.sent, func() { close(gate.open) })
				ws, ok := c.Hijack()
				if took := time.Since(began); ok != tc.hijack || took != tc.took {
					t.Errorf("hijacked %v after %v, want %v after %v", ok, took, tc.hijack, tc.took)
				}
				if n := gate.calls.Load() - calls; n > 10 {
					t.Errorf("%d calls of SetReadDeadline meanwhile", n)
				}
				if !ok {
					time.Sleep(tc.sent)
					ask(t, c, "still leased")
					c.Release()
					return
				}
				timer.Stop()
				if n := len(w.saw("pong p")); n != 1 {
					t.Errorf("%d pongs", n)
				}
				ws.Close()
			})
		})
	}
}

// TestHijack_PartOfAPing: part of a frame is in the way of a Hijack, which is refused at once.
func TestHijack_PartOfAPing(t *testing.T) {
	for name, set := range map[string]func(*wspool.Config){"": func(*wspool.Config) {}, "opaque": opaque} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := witnesses(t)
				w.cfg.KeepAlive = -1
				set(&w.cfg)
				p := pool(t, w.cfg)
				c := acquire(t, p)
				ask(t, c, "x")
				time.Sleep(time.Second)
				w.send(0, []byte{0x89, 1})
				synctest.Wait()
				began := time.Now()
				if ws, ok := c.Hijack(); ok {
					ws.Close()
					t.Error("hijacked in the midst of a frame")
				}
				if took := time.Since(began); took > 0 {
					t.Errorf("refused after %v", took)
				}
				w.send(0, []byte{'p'})
				synctest.Wait()
				ws, ok := c.Hijack()
				if !ok {
					t.Fatal("not hijacked once the frame is whole")
				}
				if n := len(w.saw("pong p")); n != 1 {
					t.Errorf("%d pongs", n)
				}
				ws.Close()
			})
		})
	}
}

// TestHijack_PoolIsDone: a hijacked connection is none of the pool's: no method of the pool ends
// it, no handler of the pool runs for its frames, and its figures do not count it.
func TestHijack_PoolIsDone(t *testing.T) {
	for name, after := range map[string]func(*testing.T, *wspool.Pool){
		"ResetNow": func(_ *testing.T, p *wspool.Pool) { p.ResetNow(nil) },
		"CloseNow": func(_ *testing.T, p *wspool.Pool) { p.CloseNow() },
		"Close": func(t *testing.T, p *wspool.Pool) {
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := alive(t)
				w.cfg.ControlLimit = 20
				w.cfg.Heartbeat = wspool.Heartbeat{Every: time.Second, Message: wspool.Message{Type: websocket.TextMessage, Data: []byte("beat")}}
				p := pool(t, w.cfg)
				c := acquire(t, p)
				ask(t, c, "x")
				ws, ok := c.Hijack()
				if !ok {
					t.Fatal("not hijacked")
				}
				before := p.Stats()
				var mu sync.Mutex
				var controls []string
				note := func(kind string) func(string) error {
					return func(s string) error {
						mu.Lock()
						defer mu.Unlock()
						controls = append(controls, kind+s)
						return nil
					}
				}
				ws.SetPingHandler(note("ping "))
				ws.SetPongHandler(note("pong "))
				after(t, p)
				var want int
				for range 3 * w.cfg.ControlLimit { // over the limit of the pool, at one instant
					w.send(0, append(frame(websocket.PingMessage, "p"), frame(websocket.PongMessage, "q")...))
					want += 2
				}
				time.Sleep(time.Hour) // in the bubble: every timer of the pool would have fired
				if err := ws.WriteMessage(websocket.TextMessage, []byte("mine")); err != nil {
					t.Error(err)
				}
				if _, m, err := ws.ReadMessage(); err != nil || string(m) != "mine" {
					t.Errorf("%q, %v", m, err)
				}
				if len(controls) != want {
					t.Errorf("the handlers of the hijacker were called %d times, want %d", len(controls), want)
				}
				if n := len(w.saw("pong")) + len(w.saw("ping")) + len(w.saw("message beat")); n > 0 {
					t.Errorf("the pool has sent %d pings, pongs and heartbeats", n)
				}
				s := p.Stats()
				if s.Hijacked != 1 || s.Unwatched != 0 || s.Heartbeats != before.Heartbeats || s.Unsolicited != 0 {
					t.Errorf("%+v", s)
				}
				ws.Close()
			})
		})
	}
}
