package wspool_test

import (
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"
)

// watchers is how many goroutines watch a connection.
func watchers() int {
	buf := make([]byte, 16<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), "wspool.(*link).watch(")
}

// Idle connections cost no goroutine each, have their server's pings answered, and
// leave the pool when the server closes them.
func TestIdleNeedsNoGoroutine(t *testing.T) {
	const n = 200
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			var pongs atomic.Int64
			strike, end := make(chan struct{}), make(chan struct{})
			peer := listen(t, scheme == "wss", func(ws *websocket.Conn) {
				ws.SetPongHandler(func(string) error { pongs.Add(1); return nil })
				over := make(chan struct{})
				defer close(over)
				go func() {
					select {
					case <-strike:
						ws.WriteControl(websocket.PingMessage, []byte("p"), deadline())
					case <-over:
						return
					}
					select {
					case <-end:
						ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1001, ""), deadline())
					case <-over:
					}
				}()
				drain(ws)
			})
			peer.cfg.MaxSize, peer.cfg.MaxDials = n, n
			p := pool(t, peer.cfg)
			warm(t, p, n)
			watched := func() bool { return p.Stats().Unwatched == 0 && watchers() == 0 }
			eventually(t, "all are watched, without a goroutine", watched)
			close(strike)
			eventually(t, "all pings are answered", func() bool { return pongs.Load() == n })
			eventually(t, "all are watched again", watched)
			if s := p.Stats(); s.Made != n || s.Idle != n {
				t.Errorf("%v", s)
			}
			close(end)
			eventually(t, "all have left", func() bool { s := p.Stats(); return s.Idle == 0 && s.Destroyed == n })
		})
	}
}

// Only the hijacker reads later arrivals, and no bell of the pool's is left at the
// connection.
func TestHijackedUndisturbed(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			peer := listen(t, scheme == "wss", func(ws *websocket.Conn) { echo(ws) })
			peer.cfg.WatchAfter = -1
			p := pool(t, peer.cfg)
			for range 20 {
				warm(t, p, 1)
				c := acquire(t, p)
				ws, ok := c.Hijack()
				if !ok {
					t.Fatal("not hijacked")
				}
				ws.SetReadDeadline(deadline())
				for range 50 {
					if err := ws.WriteMessage(websocket.TextMessage, []byte("mine")); err != nil {
						t.Fatal(err)
					}
					runtime.Gosched() // another reader would have had time to
					if _, m, err := ws.ReadMessage(); err != nil || string(m) != "mine" {
						t.Fatalf("%q, %v", m, err)
					}
				}
				ws.Close()
			}
			if s := p.Stats(); s.Hijacked != 20 || s.Unsolicited != 0 {
				t.Errorf("%v", s)
			}
		})
	}
}
