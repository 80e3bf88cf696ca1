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

// On a socket a peer that sends nothing but pings is found out by default.
func TestControlLimit_Flood(t *testing.T) {
	over := make(chan struct{})
	defer close(over)
	peer := listen(t, false, func(ws *websocket.Conn) {
		go drain(ws)
		many := []byte(strings.Repeat(string(frame(websocket.PingMessage, "x")), 1000))
		for {
			select {
			case <-over:
				return
			default:
			}
			if _, err := ws.NetConn().Write(many); err != nil {
				return
			}
		}
	})
	peer.cfg.MaxSize = 1
	gone := ends(&peer.cfg)
	p := pool(t, peer.cfg)
	_ = p.Warm(t.Context(), 1) // it may be found out before it is pooled
	if e := next(t, "end", gone); !errors.Is(e.Cause, wspool.ErrFlooded) {
		t.Errorf("destroyed with %v", e.Cause)
	}
}

func TestControlLimit_Checked(t *testing.T) {
	_, err := wspool.New(wspool.Config{URL: "ws://localhost/", MaxSize: 1, ControlLimit: -1})
	if err == nil || !strings.Contains(err.Error(), "ControlLimit is -1, not at least 0") {
		t.Errorf("New: %v", err)
	}
}
