package wspool_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

func TestEcho(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			peer := listen(t, scheme == "wss", echo)
			p := pool(t, peer.cfg)
			for range 50 {
				c := acquire(t, p)
				ask(t, c, "short")
				ask(t, c, strings.Repeat("long", 20_000))
				ask(t, c, "")
				c.Release()
			}
			if s := p.Stats(); s.Made != 1 {
				t.Errorf("%d connections for one caller at a time", s.Made)
			}
		})
	}
}

// After its end a lease can do nothing, and a second end is none.
func TestReleased(t *testing.T) {
	for name, end := range map[string]func(*wspool.Conn){
		"release": (*wspool.Conn).Release,
		"discard": func(c *wspool.Conn) { c.Discard(nil) },
		"fail":    func(c *wspool.Conn) { c.Fail(io.ErrNoProgress) },
	} {
		t.Run(name, func(t *testing.T) {
			peer := listen(t, false, echo)
			peer.cfg.MaxSize = 1
			p := pool(t, peer.cfg)
			old := acquire(t, p)
			end(old)
			c := acquire(t, p) // the next caller, maybe on the same connection
			write(t, c, "mine")
			ctx := t.Context()
			if _, _, err := old.ReadMessage(ctx); !errors.Is(err, wspool.ErrReleased) {
				t.Errorf("ReadMessage: %v", err)
			}
			if err := old.WriteMessage(ctx, websocket.TextMessage, nil); !errors.Is(err, wspool.ErrReleased) {
				t.Errorf("WriteMessage: %v", err)
			}
			if i := old.Info(); i != (resource.Info{}) {
				t.Errorf("Info: %+v", i)
			}
			old.Release()
			old.Fail(io.EOF)
			old.Discard(io.EOF)
			read(t, c, "mine")
			c.Release()
			if s := p.Stats(); s.Acquired != 2 || s.Released != 2 {
				t.Errorf("acquired %d, released %d; want 2, 2", s.Acquired, s.Released)
			}
		})
	}
}

// Many ends at once are one.
func TestReleasedConcurrently(t *testing.T) {
	peer := listen(t, false, echo)
	p := pool(t, peer.cfg)
	const rounds = 50
	for range rounds {
		c := acquire(t, p)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				if i%2 == 0 {
					c.Release()
				} else {
					c.Discard(nil)
				}
			})
		}
		all.Wait()
	}
	if s := p.Stats(); s.Acquired != rounds || s.Released != rounds {
		t.Errorf("acquired %d, released %d; want %d", s.Acquired, s.Released, rounds)
	}
}

// A read that waits when its lease ends fails with ErrReleased, and the
// connection is not lent again.
func TestReleaseWakesReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := listenMem(t, 4096, echo)
		gone := ends(&peer.cfg)
		p := pool(t, peer.cfg)
		c := acquire(t, p)
		woken := make(chan error)
		go func() {
			_, _, err := c.ReadMessage(t.Context())
			woken <- err
		}()
		synctest.Wait()
		c.Release()
		if err := next(t, "return", woken); !errors.Is(err, wspool.ErrReleased) {
			t.Errorf("ReadMessage: %v", err)
		}
		if e := next(t, "end", gone); !errors.Is(e.Cause, wspool.ErrUnfinished) {
			t.Errorf("destroyed with %v", e.Cause)
		}
	})
}

// Writers of one lease take turns, and every message arrives whole.
func TestConcurrentWriters(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			const writers, each = 8, 50
			got := make(chan []byte, writers*each)
			peer := listen(t, scheme == "wss", onEach(func(ws *websocket.Conn, _ int, p []byte) {
				got <- p
			}))
			peer.cfg.Exchange = wspool.Unpaired
			p := pool(t, peer.cfg)
			c := acquire(t, p)
			var all sync.WaitGroup
			for w := range writers {
				all.Go(func() {
					for i := range each {
						m := bytes.Repeat(fmt.Appendf(nil, "%d.%d ", w, i), 1+i*100)
						if err := c.WriteMessage(t.Context(), websocket.BinaryMessage, m); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			seen := map[string]bool{}
			for range writers * each {
				m := string(next(t, "message", got))
				head, _, _ := strings.Cut(m, " ")
				if strings.ReplaceAll(m, head+" ", "") != "" {
					t.Fatalf("a torn message, beginning with %q", head)
				}
				seen[head] = true
			}
			if len(seen) != writers*each {
				t.Errorf("%d different messages, want %d", len(seen), writers*each)
			}
			c.Release()
		})
	}
}

// While a lease does not read, what is read ahead is bounded; the rest waits with
// the server, and nothing is lost.
func TestBackpressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, messages = 1 << 10, 100
		sent := 0
		peer := listenMem(t, size, func(ws *websocket.Conn) {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
			for i := range messages {
				m := bytes.Repeat([]byte{byte(i)}, size)
				if ws.WriteMessage(websocket.BinaryMessage, m) != nil {
					return
				}
				sent++
			}
			drain(ws)
		})
		p := pool(t, peer.cfg)
		c := acquire(t, p)
		write(t, c, "go")
		time.Sleep(2 * time.Second) // a watcher has come, and has begun the first
		synctest.Wait()
		// One message is in the network, and four at most in our buffers.
		if sent < 1 || sent > 5 {
			t.Errorf("the server sent %d messages of which none was read", sent)
		}
		for i := range messages {
			_, m, err := c.ReadMessage(t.Context())
			if err != nil || len(m) != size || m[0] != byte(i) {
				t.Fatalf("message %d: %d bytes, %v", i, len(m), err)
			}
		}
		c.Release()
	})
}

// A message that arrived before the peer's close is read before the close is
// reported.
func TestMessageThenClose(t *testing.T) {
	peer := listen(t, false, func(ws *websocket.Conn) {
		if _, p, err := ws.ReadMessage(); err == nil {
			end := frame(websocket.CloseMessage, string(websocket.FormatCloseMessage(4000, "enough")))
			ws.NetConn().Write(append(frame(websocket.TextMessage, string(p)), end...))
		}
		drain(ws)
	})
	p := pool(t, peer.cfg)
	for range 100 {
		c := acquire(t, p)
		ask(t, c, "x")
		var ce *wspool.CloseError
		if _, _, err := c.ReadMessage(t.Context()); !errors.As(err, &ce) || ce.Code != 4000 || ce.Text != "enough" {
			t.Fatalf("ReadMessage: %v", err)
		}
		if err := c.WriteMessage(t.Context(), websocket.TextMessage, nil); !errors.As(err, &ce) {
			t.Fatalf("WriteMessage: %v", err)
		}
		c.Release()
	}
}

func TestReadLimit(t *testing.T) {
	peer := listen(t, false, echo)
	peer.cfg.ReadLimit = 100
	gone := ends(&peer.cfg)
	p := pool(t, peer.cfg)
	c := acquire(t, p)
	ask(t, c, strings.Repeat("x", 100))
	write(t, c, strings.Repeat("x", 101))
	if _, _, err := c.ReadMessage(t.Context()); !errors.Is(err, websocket.ErrReadLimit) {
		t.Errorf("ReadMessage: %v", err)
	}
	c.Release()
	if e := next(t, "end", gone); !errors.Is(e.Cause, websocket.ErrReadLimit) {
		t.Errorf("destroyed with %v", e.Cause)
	}
}
