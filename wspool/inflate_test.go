package wspool_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// inflated is a peer that compresses what it sends back.
func inflated(t *testing.T, secure bool) *peer {
	peer := listen(t, secure, echo)
	peer.upgrader.EnableCompression = true
	peer.cfg.Compression = true
	return peer
}

// Compressed messages are exchanged like others, lease after lease.
func TestInflatedLeases(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			p := pool(t, inflated(t, scheme == "wss").cfg)
			for range 20 {
				c := acquire(t, p)
				ask(t, c, "short")
				ask(t, c, strings.Repeat("long", 20_000))
				ask(t, c, "")
				write(t, c, "in pieces")
				_, r, err := c.NextReader(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if m, err := io.ReadAll(r); err != nil || string(m) != "in pieces" {
					t.Errorf("%q, %v", m, err)
				}
				c.Release()
			}
			if s := p.Stats(); s.Made != 1 {
				t.Errorf("%v", s)
			}
		})
	}
}

// ReadLimit holds for what a message inflates to, however it is read, and the
// peer is told.
func TestInflatedLimit(t *testing.T) {
	const limit = 1 << 20
	for name, take := range map[string]func(t *testing.T, c *wspool.Conn) error{
		"message": func(t *testing.T, c *wspool.Conn) error {
			_, _, err := c.ReadMessage(t.Context())
			return err
		},
		"reader": func(t *testing.T, c *wspool.Conn) error {
			_, r, err := c.NextReader(t.Context())
			if err != nil {
				return err
			}
			n, err := io.Copy(io.Discard, r)
			if n > limit {
				t.Errorf("read %d bytes", n)
			}
			return err
		},
		"stream": func(t *testing.T, c *wspool.Conn) error {
			_, err := io.Copy(io.Discard, c.NetConn(t.Context(), websocket.TextMessage))
			return err
		},
		"nobody": func(t *testing.T, c *wspool.Conn) error { c.Release(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			told := make(chan error, 1)
			size := make(chan int)
			peer := listen(t, false, func(ws *websocket.Conn) {
				go func() {
					for n := range size {
						ws.WriteMessage(websocket.TextMessage, make([]byte, n))
					}
				}()
				told <- drain(ws)
			})
			t.Cleanup(func() { close(size) })
			peer.upgrader.EnableCompression = true
			peer.cfg.Compression = true
			peer.cfg.ReadLimit = limit
			peer.cfg.Exchange = wspool.Unpaired
			peer.cfg.OnUnsolicited = wspool.DropUnsolicited
			gone := ends(&peer.cfg)
			c := acquire(t, pool(t, peer.cfg))
			size <- limit // as much as it may have
			if _, m, err := c.ReadMessage(t.Context()); err != nil || len(m) != limit {
				t.Errorf("%d bytes, %v", len(m), err)
			}
			size <- limit + 1
			if err := take(t, c); name != "nobody" && !errors.Is(err, wspool.ErrReadLimit) {
				t.Errorf("%v", err)
			}
			c.Release()
			if e := next(t, "end", gone); !errors.Is(e.Cause, wspool.ErrReadLimit) {
				t.Errorf("ended with %v", e.Cause)
			}
			var ce *websocket.CloseError
			if err := next(t, "close", told); !errors.As(err, &ce) || ce.Code != websocket.CloseMessageTooBig {
				t.Errorf("the server was told %v, want 1009", err)
			}
		})
	}
}
