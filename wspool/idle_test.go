package wspool_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// What ends a connection while nobody leases it is seen at once, without an
// acquire, and the next caller gets a fresh one.
func TestIdleEnd(t *testing.T) {
	isClose := func(code int) func(error) bool {
		return func(err error) bool {
			var ce *wspool.CloseError
			return errors.As(err, &ce) && ce.Code == code
		}
	}
	for _, tc := range []struct {
		name string
		do   func(*websocket.Conn)
		is   func(error) bool
	}{
		{"close 1001", func(ws *websocket.Conn) {
			ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1001, ""), time.Time{})
		}, isClose(1001)},
		{"fin", func(ws *websocket.Conn) { tcp(ws).CloseWrite() },
			func(err error) bool { return isClose(1006)(err) && errors.Is(err, io.ErrUnexpectedEOF) }},
		{"rst", func(ws *websocket.Conn) { tcp(ws).SetLinger(0); tcp(ws).Close() },
			func(err error) bool { return err != nil }},
		{"message", func(ws *websocket.Conn) { ws.NetConn().Write(frame(websocket.TextMessage, "hi")) },
			func(err error) bool { return errors.Is(err, wspool.ErrUnsolicited) }},
		{"torn frame", func(ws *websocket.Conn) {
			ws.NetConn().Write([]byte{0x81})
			tcp(ws).CloseWrite()
		}, isClose(1006)},
		{"torn record", func(ws *websocket.Conn) {
			tcp(ws).Write([]byte{0x17}) // or frame
			tcp(ws).CloseWrite()
		}, isClose(1006)},
	} {
		for _, scheme := range []string{"ws", "wss"} {
			t.Run(tc.name+"/"+scheme, func(t *testing.T) {
				strike := make(chan struct{})
				peer := listen(t, scheme == "wss", func(ws *websocket.Conn) {
					go func() {
						if _, ok := <-strike; ok {
							tc.do(ws)
						}
					}()
					echo(ws)
				})
				t.Cleanup(func() { close(strike) })
				gone := ends(&peer.cfg)
				p := pool(t, peer.cfg)
				c := acquire(t, p)
				id := c.Info().ID
				ask(t, c, "one")
				c.Release()
				strike <- struct{}{}
				e := next(t, "end", gone)
				if e.Info.ID != id || !tc.is(e.Cause) {
					t.Errorf("destroyed %d with %v", e.Info.ID, e.Cause)
				}
				if s := p.Stats(); s.Invalidated != 1 || s.Acquired != 1 {
					t.Errorf("invalidated %d, acquired %d; want 1, 1", s.Invalidated, s.Acquired)
				}
				c = acquire(t, p)
				if c.Info().ID == id {
					t.Error("lent the dead one")
				}
				ask(t, c, "two")
				c.Release()
			})
		}
	}
}

// A connection whose last reply and whose end come in one piece is never lent
// again, however soon the next caller asks.
func TestEndBehindReply(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			peer := listen(t, scheme == "wss", func(ws *websocket.Conn) {
				_, p, err := ws.ReadMessage()
				if err != nil {
					return
				}
				end := frame(websocket.CloseMessage, string(websocket.FormatCloseMessage(1011, "")))
				ws.NetConn().Write(append(frame(websocket.TextMessage, string(p)), end...))
				drain(ws)
			})
			peer.cfg.Redial = func(error, int) time.Duration { return 0 }
			p := pool(t, peer.cfg)
			for range 200 {
				c := acquire(t, p)
				ask(t, c, "x")
				c.Release()
			}
			if s := p.Stats(); s.Made < 200 {
				t.Errorf("%d connections for 200 leases that each end one", s.Made)
			}
		})
	}
}

// The server's pings are answered while nobody leases the connection, and while
// a lease does not read.
func TestPingsAnswered(t *testing.T) {
	pings, pongs := make(chan string), make(chan string, 10)
	peer := listen(t, false, func(ws *websocket.Conn) {
		ws.SetPongHandler(func(s string) error { pongs <- s; return nil })
		go func() {
			for s := range pings {
				ws.WriteControl(websocket.PingMessage, []byte(s), time.Now().Add(patience))
			}
		}()
		echo(ws)
	})
	t.Cleanup(func() { close(pings) })
	p := pool(t, peer.cfg)
	ping := func(s string) {
		t.Helper()
		pings <- s
		if got := next(t, "pong", pongs); got != s {
			t.Errorf("pong %q, want %q", got, s)
		}
	}
	c := acquire(t, p)
	ping("leased")
	ask(t, c, "x")
	c.Release()
	ping("idle")
	c = acquire(t, p)
	ping("thinking")
	ask(t, c, "y")
	c.Release()
	if s := p.Stats(); s.Made != 1 || s.Destroyed != 0 {
		t.Errorf("made %d, destroyed %d; want 1, 0", s.Made, s.Destroyed)
	}
}

// What the server sends right behind its 101 has no lease to belong to. Whether it
// comes in before or after the connection is lent is the network's choice.
func TestMessageWithHandshake(t *testing.T) {
	peer := listen(t, false, func(ws *websocket.Conn) {
		ws.WriteMessage(websocket.TextMessage, []byte("welcome"))
		drain(ws)
	})
	c, err := pool(t, peer.cfg).Acquire(t.Context())
	if err == nil {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if _, _, err := c.ReadMessage(ctx); !errors.Is(err, wspool.ErrUnsolicited) {
			t.Errorf("read: %v", err)
		}
		c.Release()
		return
	}
	var de *wspool.DialError
	if !errors.Is(err, wspool.ErrUnsolicited) || !errors.As(err, &de) {
		t.Errorf("acquire: %v", err)
	}
}
