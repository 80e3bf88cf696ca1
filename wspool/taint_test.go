package wspool_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// What a lease must not leave behind destroys the connection.
func TestTaint(t *testing.T) {
	ended := func() context.Context {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return ctx
	}
	for _, tc := range []struct {
		name     string
		unpaired bool
		do       func(t *testing.T, c *wspool.Conn)
		want     error // nil: clean
	}{
		{"nothing done", false, func(t *testing.T, c *wspool.Conn) {}, nil},
		{"asked and read", false, func(t *testing.T, c *wspool.Conn) { ask(t, c, "x") }, nil},
		{"abandoned read", false, func(t *testing.T, c *wspool.Conn) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
			defer cancel()
			write(t, c, "slow")
			if _, _, err := c.ReadMessage(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("ReadMessage: %v", err)
			}
			read(t, c, "slow") // the connection is whole, and yet
		}, wspool.ErrUnread},
		{"read with ended context", false, func(t *testing.T, c *wspool.Conn) {
			ask(t, c, "x")
			if _, _, err := c.ReadMessage(ended()); !errors.Is(err, context.Canceled) {
				t.Errorf("ReadMessage: %v", err)
			}
		}, wspool.ErrUnread},
		{"message unread", false, func(t *testing.T, c *wspool.Conn) {
			write(t, c, "x")
			synctest.Wait()
		}, wspool.ErrUnread},
		{"message unread, unpaired", true, func(t *testing.T, c *wspool.Conn) {
			write(t, c, "x")
			synctest.Wait()
		}, wspool.ErrUnread},
		{"message half come", true, func(t *testing.T, c *wspool.Conn) {
			write(t, c, "half")
			synctest.Wait()
		}, wspool.ErrUnread},
		{"answer not awaited", false, func(t *testing.T, c *wspool.Conn) { write(t, c, "slow") }, wspool.ErrUnread},
		{"no answer, unpaired", true, func(t *testing.T, c *wspool.Conn) { write(t, c, "quiet") }, nil},
		{"write with ended context", false, func(t *testing.T, c *wspool.Conn) {
			if err := c.WriteMessage(ended(), websocket.TextMessage, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("WriteMessage: %v", err)
			}
		}, nil},
		{"write of a control frame", false, func(t *testing.T, c *wspool.Conn) {
			if err := c.WriteMessage(t.Context(), websocket.CloseMessage, nil); err == nil {
				t.Error("WriteMessage sent a close frame")
			}
		}, nil},
		{"message before the first write", false, func(t *testing.T, c *wspool.Conn) {
			if _, _, err := c.ReadMessage(t.Context()); !errors.Is(err, wspool.ErrUnsolicited) {
				t.Errorf("ReadMessage: %v", err)
			}
		}, wspool.ErrUnsolicited},
		{"message before the first write, unpaired", true, func(t *testing.T, c *wspool.Conn) {
			read(t, c, "event")
		}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				peer := listenMem(t, 4096, func(ws *websocket.Conn) {
					if strings.HasPrefix(tc.name, "message before") {
						time.Sleep(time.Second)
						ws.WriteMessage(websocket.TextMessage, []byte("event"))
					}
					for {
						kind, p, err := ws.ReadMessage()
						if err != nil {
							return
						}
						if string(p) == "slow" {
							time.Sleep(time.Second)
						}
						switch string(p) {
						case "quiet":
						case "half":
							ws.NetConn().Write(frame(websocket.TextMessage, "half")[:4])
						default:
							ws.WriteMessage(kind, p)
						}
					}
				})
				if tc.unpaired {
					peer.cfg.Exchange = wspool.Unpaired
				}
				gone := ends(&peer.cfg)
				p := pool(t, peer.cfg)
				c := acquire(t, p)
				id := c.Info().ID
				tc.do(t, c)
				c.Release()
				if tc.want != nil {
					if e := next(t, "end", gone); !errors.Is(e.Cause, tc.want) {
						t.Errorf("destroyed with %v, want %v", e.Cause, tc.want)
					}
				}
				c = acquire(t, p)
				if kept := c.Info().ID == id; kept != (tc.want == nil) {
					t.Errorf("kept: %v", kept)
				}
				if tc.want == nil {
					ask(t, c, "next")
				}
				c.Release()
			})
		})
	}
}
