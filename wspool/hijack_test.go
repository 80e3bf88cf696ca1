package wspool_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// A hijacked connection is gorilla's alone: the pool has room for another, and
// neither pings it nor reads it.
func TestHijackKinds(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		for _, state := range []string{"hot", "watched", "thinking"} {
			t.Run(state+"/"+scheme, func(t *testing.T) {
				pings := make(chan string, 100)
				peer := listen(t, scheme == "wss", func(ws *websocket.Conn) {
					pong := ws.PingHandler()
					ws.SetPingHandler(func(s string) error { pings <- s; return pong(s) })
					echo(ws)
				})
				peer.cfg.MaxSize = 1
				if state == "watched" {
					peer.cfg.WatchAfter = -1
				}
				p := pool(t, peer.cfg)
				c := acquire(t, p)
				if state != "watched" {
					ask(t, c, "x")
				}
				if state == "thinking" {
					if _, err := c.Ping(t.Context()); err != nil { // puts a watcher to it
						t.Fatal(err)
					}
					<-pings
				}
				ws, ok := c.Hijack()
				if !ok {
					t.Fatal("not hijacked")
				}
				defer ws.Close()
				useHijacked(t, c, ws)
				other := acquire(t, p)
				ask(t, other, "room for another")
				other.Release()
				if s := p.Stats(); s.Hijacked != 1 || s.Made != 2 || s.Leased != 0 {
					t.Errorf("%v", s)
				}
			})
		}
	}
}

// useHijacked does with ws, once c's, what gorilla's users do.
func useHijacked(t *testing.T, c *wspool.Conn, ws *websocket.Conn) {
	t.Helper()
	ctx := t.Context()
	if _, _, err := c.ReadMessage(ctx); !errors.Is(err, wspool.ErrReleased) {
		t.Errorf("ReadMessage: %v", err)
	}
	if err := c.WriteMessage(ctx, websocket.TextMessage, []byte("y")); !errors.Is(err, wspool.ErrReleased) {
		t.Errorf("WriteMessage: %v", err)
	}
	if _, err := c.Ping(ctx); !errors.Is(err, wspool.ErrReleased) {
		t.Errorf("Ping: %v", err)
	}
	if _, ok := c.Hijack(); ok {
		t.Error("hijacked twice")
	}
	c.Release()
	c.Discard(nil)
	pong := make(chan string, 1)
	ws.SetPongHandler(func(s string) error { pong <- s; return nil })
	ws.SetReadDeadline(deadline())
	ws.SetWriteDeadline(deadline())
	if err := ws.WriteControl(websocket.PingMessage, []byte("mine"), deadline()); err != nil {
		t.Error(err)
	}
	long := strings.Repeat("long ", 100_000)
	go ws.WriteMessage(websocket.TextMessage, []byte(long))
	_, m, err := ws.ReadMessage()
	if err != nil || string(m) != long {
		t.Fatalf("read %d bytes, %v", len(m), err)
	}
	if s := next(t, "pong", pong); s != "mine" {
		t.Errorf("pong %q", s)
	}
	ws.SetReadDeadline(time.Now().Add(-time.Second))
	if _, _, err := ws.ReadMessage(); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("its read deadline is not its own: %v", err)
	}
}

// The pool does nothing to a hijacked connection, however long it stays open.
func TestHijackLeftAlone(t *testing.T) {
	for _, think := range []time.Duration{0, 2 * time.Second, 15 * time.Second} {
		bubble(t, func(t *testing.T) {
			w := alive(t)
			w.mute = true
			p := pool(t, w.cfg)
			c := acquire(t, p)
			time.Sleep(think)
			before := len(w.saw("ping"))
			ws, ok := c.Hijack()
			if !ok {
				t.Fatal("not hijacked")
			}
			w.send(0, append(frame(websocket.PingMessage, "p"), frame(websocket.TextMessage, "hi")...))
			time.Sleep(time.Hour)
			if n := len(w.saw("ping")); n != before {
				t.Errorf("%d pings of the pool's", n-before)
			}
			if w.saw("pong") != nil {
				t.Error("the pool read it")
			}
			if _, m, err := ws.ReadMessage(); err != nil || string(m) != "hi" {
				t.Errorf("%q, %v", m, err)
			}
			if len(w.saw("pong p")) != 1 {
				t.Error("gorilla did not answer a ping")
			}
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if err := ws.WriteMessage(websocket.TextMessage, []byte("still mine")); err != nil || len(w.saw("message still")) != 1 {
				t.Errorf("after Close: %v", err)
			}
			ws.Close()
		})
	}
}

// A connection that is not drained is not hijacked, and the lease continues.
func TestHijackRefused(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, w *witness, c *wspool.Conn){
		"message waits": func(t *testing.T, w *witness, c *wspool.Conn) {
			time.Sleep(2 * time.Second)
			w.send(0, frame(websocket.TextMessage, "m"))
			synctest.Wait()
		},
		"open writer": func(t *testing.T, w *witness, c *wspool.Conn) {
			if _, err := c.NextWriter(t.Context(), websocket.TextMessage); err != nil {
				t.Fatal(err)
			}
		},
		"open reader": func(t *testing.T, w *witness, c *wspool.Conn) {
			w.send(0, frame(websocket.TextMessage, "m"))
			if _, _, err := c.NextReader(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
		"read runs": func(t *testing.T, w *witness, c *wspool.Conn) {
			go c.ReadMessage(t.Context())
			synctest.Wait()
		},
		"half a message": func(t *testing.T, w *witness, c *wspool.Conn) {
			time.Sleep(2 * time.Second)
			w.send(0, []byte{0x81})
			synctest.Wait()
		},
		"dead": func(t *testing.T, w *witness, c *wspool.Conn) {
			time.Sleep(2 * time.Second)
			w.conn(0).Close()
			synctest.Wait()
		},
		"released": func(t *testing.T, w *witness, c *wspool.Conn) { c.Release() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := witnesses(t)
				w.mute = true
				w.cfg.Exchange = wspool.Unpaired
				p := pool(t, w.cfg)
				c := acquire(t, p)
				write(t, c, "x")
				spoil(t, w, c)
				if _, ok := c.Hijack(); ok {
					t.Error("hijacked")
				}
				if name == "message waits" {
					read(t, c, "m")
				}
				c.Release()
				if s := p.Stats(); s.Hijacked != 0 || s.Leased != 0 {
					t.Errorf("%v", s)
				}
			})
		})
	}
}

// The first call that ends a lease has ended it; the connection is the hijacker's
// or the pool's and never both's.
func TestHijackRaces(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			peer := listen(t, scheme == "wss", echo)
			peer.cfg.MaxSize = 2
			peer.cfg.WatchAfter = 100 * time.Microsecond
			p := pool(t, peer.cfg)
			hijacked := 0
			for i := range 300 {
				c := acquire(t, p)
				if i%3 > 0 {
					ask(t, c, "x")
				}
				var ws *websocket.Conn
				var all sync.WaitGroup
				all.Go(func() { ws, _ = c.Hijack() })
				all.Go(func() {
					switch i % 4 {
					case 0:
						c.Discard(nil)
					case 1:
						c.WriteMessage(t.Context(), websocket.TextMessage, []byte("y"))
					case 2:
						c.Ping(t.Context())
					default:
						c.Release()
					}
				})
				all.Wait()
				c.Release()
				if ws != nil {
					hijacked++
					ws.Close()
				}
				ask2 := acquire(t, p)
				ask(t, ask2, "next")
				ask2.Release()
			}
			if s := p.Stats(); int(s.Hijacked) != hijacked || s.Leased != 0 {
				t.Errorf("%d hijacked; %v", hijacked, s)
			}
		})
	}
}

// A Hijack at the moment when a message arrives is refused, and the message is the
// lease's all the same: no reader is put behind one that has begun.
func TestHijackKeepsMessage(t *testing.T) {
	for range 50 {
		bubble(t, func(t *testing.T) {
			w := witnesses(t)
			w.mute = true
			w.cfg.Exchange = wspool.Unpaired
			p := pool(t, w.cfg)
			c := acquire(t, p)
			write(t, c, "x")
			time.Sleep(2 * time.Second) // a watcher reads
			synctest.Wait()
			w.send(0, frame(websocket.TextMessage, "m"))
			if ws, ok := c.Hijack(); ok {
				ws.Close()
				return
			}
			began := time.Now()
			read(t, c, "m")
			if took := time.Since(began); took > 0 {
				t.Errorf("after %v", took)
			}
			write(t, c, "y")
			c.Release()
			if s := p.Stats(); s.Idle != 1 {
				t.Errorf("%v", s)
			}
		})
	}
}

// A connection whose heartbeat was not answered yet is not hijacked: the answer
// would be read as another message.
func TestHijack_HeartbeatUnanswered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		peer := listenMem(t, 4096, onEach(func(ws *websocket.Conn, kind int, b []byte) {
			time.Sleep(50 * ms)
			ws.WriteMessage(kind, b)
		}))
		peer.cfg.Heartbeat = wspool.Heartbeat{
			Every: time.Second, Message: wspool.Message{Type: websocket.TextMessage, Data: []byte("beat")},
			Expect: func(m wspool.Message) bool { return string(m.Data) == "beat" },
		}
		p := pool(t, peer.cfg)
		c := acquire(t, p)
		for p.Stats().Heartbeats == 0 {
			time.Sleep(ms)
		}
		if _, ok := c.Hijack(); ok {
			t.Fatal("hijacked before the answer")
		}
		time.Sleep(100 * ms)
		ws, ok := c.Hijack()
		if !ok {
			t.Fatal("not hijacked after the answer")
		}
		defer ws.Close()
		ws.WriteMessage(websocket.TextMessage, []byte("mine"))
		if _, b, err := ws.ReadMessage(); string(b) != "mine" {
			t.Errorf("read %q, %v", b, err)
		}
	})
}
