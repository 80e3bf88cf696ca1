package wspool_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
)

// A connection on which more control frames come in a second than ControlLimit is
// destroyed, idle or leased; one on which as many come in each second is not.
func TestControlLimit(t *testing.T) {
	for name, opcode := range map[string]byte{"pings": websocket.PingMessage, "pongs": websocket.PongMessage} {
		for _, leased := range []bool{false, true} {
			t.Run(fmt.Sprint(name, leased), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := witnesses(t)
					w.cfg.ControlLimit = 10
					w.cfg.KeepAlive = -1
					gone := w.ends()
					p := pool(t, w.cfg)
					c := acquire(t, p)
					ask(t, c, "x")
					if !leased {
						c.Release()
					}
					time.Sleep(time.Second)
					ten := []byte(strings.Repeat(string(frame(opcode, "")), 10))
					for range 5 {
						w.send(0, ten)
						time.Sleep(time.Second)
					}
					none(t, gone)
					w.send(0, ten)
					time.Sleep(999 * ms)
					none(t, gone)
					w.send(0, ten[:2])
					if leased {
						synctest.Wait()
						if err := c.WriteMessage(t.Context(), websocket.TextMessage, nil); !errors.Is(err, wspool.ErrFlooded) {
							t.Errorf("WriteMessage: %v", err)
						}
						c.Release()
					}
					if e := next(t, "end", gone); !errors.Is(e.cause, wspool.ErrFlooded) {
						t.Errorf("destroyed with %v", e.cause)
					}
				})
			})
		}
	}
}

// On a socket a peer that sends nothing but pings is found out, however little of
// the processor it is read with: one read has more than the limit.
func TestControlLimit_Flood(t *testing.T) {
	peer := listen(t, false, func(ws *websocket.Conn) {
		if _, _, err := ws.ReadMessage(); err != nil {
			return
		}
		drained := make(chan struct{})
		go func() { defer close(drained); drain(ws) }()
		many := []byte(strings.Repeat(string(frame(websocket.PingMessage, "x")), 1000))
		for err := error(nil); err == nil; {
			_, err = ws.NetConn().Write(many)
		}
		<-drained
	})
	peer.cfg.MaxSize, peer.cfg.ControlLimit = 1, 500
	gone := ends(&peer.cfg)
	c := acquire(t, pool(t, peer.cfg))
	write(t, c, "x")
	if _, _, err := c.ReadMessage(t.Context()); !errors.Is(err, wspool.ErrFlooded) {
		t.Errorf("ReadMessage: %v", err)
	}
	c.Release()
	if e := next(t, "end", gone); !errors.Is(e.Cause, wspool.ErrFlooded) {
		t.Errorf("destroyed with %v", e.Cause)
	}
}

func TestControlLimit_Checked(t *testing.T) {
	_, err := wspool.New(wspool.Config{URL: "ws://localhost/", MaxSize: 1, ControlLimit: -1})
	if err == nil || !strings.Contains(err.Error(), "ControlLimit must be at least 0, got -1") {
		t.Errorf("New: %v", err)
	}
}
