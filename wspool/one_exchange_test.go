package wspool_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// exchangeOnce makes one exchange of p, which must return want.
func exchangeOnce(t testing.TB, p *wspool.Pool, s, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	kind, got, err := p.Exchange(ctx, websocket.TextMessage, []byte(s))
	if err != nil || kind != websocket.TextMessage || string(got) != want {
		t.Fatalf("exchange of %q: %d %q, %v; want %q", s, kind, got, err, want)
	}
}

// everywhere runs f with a peer on loopback, with and without TLS.
func everywhere(t *testing.T, serve func(*websocket.Conn), f func(t *testing.T, p *peer)) {
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "ws", true: "wss"}[secure], func(t *testing.T) { f(t, listen(t, secure, serve)) })
	}
}

// Requests and replies of any length, over any kind of connection, whatever Config says.
func TestExchange_Messages(t *testing.T) {
	configs := map[string]func(*wspool.Config){
		"default":     func(*wspool.Config) {},
		"each":        func(c *wspool.Config) { c.Exchange = wspool.ReplyEach },
		"unpaired":    func(c *wspool.Config) { c.Exchange = wspool.Unpaired },
		"watched":     func(c *wspool.Config) { c.WatchAfter = -1 },
		"compressed":  func(c *wspool.Config) { c.Compression = true },
		"text":        func(c *wspool.Config) { c.CheckUTF8 = true },
		"fragments":   func(c *wspool.Config) { c.WriteFrameSize = wspool.MinWriteFrameSize },
		"unsolicited": func(c *wspool.Config) { c.OnUnsolicited = wspool.DropUnsolicited },
		"quiet":       func(c *wspool.Config) { c.Quiet = time.Millisecond },
	}
	everywhere(t, echo, func(t *testing.T, p *peer) {
		p.upgrader.EnableCompression = true
		for name, edit := range configs {
			t.Run(name, func(t *testing.T) {
				cfg := p.cfg
				edit(&cfg)
				cfg.MaxSize = 1
				pool := pool(t, cfg)
				for _, n := range []int{0, 1, 7, 8, 9, 125, 126, 127, 4088, 4095, 4096, 4097, 70_000, 300_000} {
					exchangeOnce(t, pool, strings.Repeat("x", n), strings.Repeat("x", n))
				}
				kind, got, err := pool.Exchange(t.Context(), websocket.BinaryMessage, []byte{0xff, 0})
				if err != nil || kind != websocket.BinaryMessage || !bytes.Equal(got, []byte{0xff, 0}) {
					t.Errorf("%d %q %v", kind, got, err)
				}
				c := acquire(t, pool)
				defer c.Release()
				for range 3 {
					if _, got, err := c.Exchange(t.Context(), websocket.TextMessage, []byte("y")); err != nil || string(got) != "y" {
						t.Fatalf("%q %v", got, err)
					}
					ask(t, c, "z")
				}
				if s := pool.Stats(); s.Made != 1 {
					t.Errorf("%d connections", s.Made)
				}
			})
		}
	})
}

// Where the connection is no socket, in a bubble, an exchange is a write and a read.
func TestExchange_InMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := listenMem(t, 64<<10, echo)
		pool := pool(t, p.cfg)
		for i := range 10 {
			exchangeOnce(t, pool, fmt.Sprint(i), fmt.Sprint(i))
		}
		if s := pool.Stats(); s.Made != 1 {
			t.Errorf("%d connections", s.Made)
		}
	})
}

// A bad request costs no connection and no acquire; a reply that is not the JSON that was
// expected costs no connection.
func TestExchange_Arguments(t *testing.T) {
	p := listen(t, false, echo)
	p.cfg.CheckUTF8 = true
	pool := pool(t, p.cfg)
	if _, _, err := pool.Exchange(t.Context(), websocket.PingMessage, nil); err == nil {
		t.Error("a ping was sent")
	}
	if _, _, err := pool.Exchange(t.Context(), websocket.TextMessage, []byte{0xff}); !errors.Is(err, wspool.ErrNotUTF8) {
		t.Error(err)
	}
	if err := pool.ExchangeJSON(t.Context(), func() {}, nil); err == nil {
		t.Error("a function was sent")
	}
	if s := pool.Stats(); s.Made+s.Acquired != 0 {
		t.Errorf("%+v", s)
	}
	var got []int
	if err := pool.ExchangeJSON(t.Context(), []int{1, 2}, &got); err != nil || len(got) != 2 {
		t.Error(got, err)
	}
	var syntax *json.UnmarshalTypeError
	if err := pool.ExchangeJSON(t.Context(), "text", &got); !errors.As(err, &syntax) {
		t.Error(err)
	}
	if err := pool.ExchangeJSON(t.Context(), "text", nil); err != nil {
		t.Error(err)
	}
	c := acquire(t, pool)
	if err := c.ExchangeJSON(t.Context(), []int{3}, &got); err != nil || got[0] != 3 {
		t.Error(got, err)
	}
	if _, _, err := c.Exchange(t.Context(), 0, nil); err == nil {
		t.Error("a message of type 0 was sent")
	}
	c.Release()
	if _, _, err := c.Exchange(t.Context(), websocket.TextMessage, nil); !errors.Is(err, wspool.ErrReleased) {
		t.Error(err)
	}
	if s := pool.Stats(); s.Made != 1 || s.Destroyed != 0 {
		t.Errorf("%d made, %d destroyed", s.Made, s.Destroyed)
	}
}

// A reply may be fragmented, come in pieces, and have pings before, inside and behind it,
// which are answered.
func TestExchange_Pieces(t *testing.T) {
	ping := rawFrame(0x80|websocket.PingMessage, []byte("hi"))
	text := []byte("a reply of some length")
	whole := rawFrame(0x80|websocket.TextMessage, text)
	for name, script := range map[string][]byte{
		"pings":     bytes.Join([][]byte{ping, whole, ping}, nil),
		"fragments": append(fragments(0x80|websocket.TextMessage, text, 5), ping...),
		"inside":    bytes.Join([][]byte{ping, rawFrame(websocket.TextMessage, text[:5]), ping, rawFrame(0x80, text[5:])}, nil),
	} {
		for _, chop := range []int{0, 1, 3, 20} {
			t.Run(fmt.Sprint(name, "/", chop), func(t *testing.T) {
				p := listenRaw(t, &rawPeer{script: script, chop: chop})
				p.cfg.MaxSize = 1
				pool := pool(t, p.cfg)
				exchangeOnce(t, pool, "first", string(text))
				exchangeOnce(t, pool, "second", "second")
				acquire(t, pool).Discard(nil) // sends the pongs first
				r := next(t, "report", p.reports)
				pings := bytes.Count(script, ping)
				if r.err != nil || len(r.pongs) > pings || chop == 0 && len(r.pongs) != pings {
					t.Errorf("pongs %q, %v", r.pongs, r.err)
				}
			})
		}
	}
}

// A message that arrives before the request is not its reply.
func TestI13_ExchangeAfterUnsolicited(t *testing.T) {
	for _, drop := range []bool{false, true} {
		var latest atomic.Pointer[websocket.Conn]
		everywhere(t, func(ws *websocket.Conn) { latest.Store(ws); echo(ws) }, func(t *testing.T, p *peer) {
			dropped := make(chan string, 100)
			if p.cfg.MaxSize = 1; drop {
				p.cfg.OnUnsolicited = func(_ context.Context, m wspool.Message) (*wspool.Message, error) {
					dropped <- string(m.Data)
					return nil, nil
				}
			}
			pool := pool(t, p.cfg)
			for range 20 {
				exchangeOnce(t, pool, "a", "a")
				if _, err := latest.Load().NetConn().Write(frame(websocket.TextMessage, "unasked")); err != nil {
					t.Fatal(err)
				}
				exchangeOnce(t, pool, "b", "b")
				if drop {
					next(t, "unsolicited message", dropped)
				}
			}
			if s := pool.Stats(); drop && s.Made != 1 || !drop && s.Made < 20 {
				t.Errorf("drop %v: %d connections", drop, s.Made)
			}
		})
	}
}

// A reply behind which more has arrived is returned, and what has arrived reaches no other
// caller.
func TestI13_ExchangeBeforeUnsolicited(t *testing.T) {
	whole, half := frame(websocket.TextMessage, "more"), frame(websocket.TextMessage, "more")[:3]
	for _, more := range [][]byte{whole, half, half[:1]} {
		everywhere(t, onEach(func(ws *websocket.Conn, _ int, p []byte) {
			ws.NetConn().Write(append(frame(websocket.TextMessage, string(p)), more...))
		}), func(t *testing.T, p *peer) {
			p.cfg.MaxSize = 1
			pool := pool(t, p.cfg)
			for i := range 20 {
				exchangeOnce(t, pool, fmt.Sprint(i), fmt.Sprint(i))
			}
			if s := pool.Stats(); s.Made < 20 {
				t.Errorf("%d connections", s.Made)
			}
		})
	}
}

// An exchange whose ctx ends is given up, whenever that is. Its reply, which comes later,
// reaches no other caller.
func TestI13_ExchangeCancelled(t *testing.T) {
	resume := make(chan struct{})
	serve := onEach(func(ws *websocket.Conn, kind int, p []byte) {
		if string(p) == "late" {
			ws.NetConn().Write(frame(byte(kind), "late")[:3])
			<-resume
			ws.NetConn().Write(frame(byte(kind), "late")[3:])
			return
		}
		if string(p) == "never" {
			<-resume
		}
		ws.WriteMessage(kind, p)
	})
	for _, unpaired := range []bool{false, true} {
		everywhere(t, serve, func(t *testing.T, p *peer) {
			if p.cfg.MaxSize = 1; unpaired {
				p.cfg.Exchange = wspool.Unpaired
			}
			pool := pool(t, p.cfg)
			for _, s := range []string{"never", "late"} {
				exchangeOnce(t, pool, "a", "a")
				before, cancel := context.WithCancel(t.Context())
				cancel()
				if _, _, err := pool.Exchange(before, websocket.TextMessage, []byte(s)); !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				made := pool.Stats().Made
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
				_, got, err := pool.Exchange(ctx, websocket.TextMessage, []byte(s))
				cancel()
				if got != nil || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, wspool.ErrStale) {
					t.Fatalf("%q %v", got, err)
				}
				resume <- struct{}{}
				exchangeOnce(t, pool, "b", "b")
				if s := pool.Stats(); s.Made != made+1 {
					t.Errorf("%d connections, %d before", s.Made, made)
				}
			}
		})
	}
}

// A lease whose exchange was given up goes on only after Drain.
func TestExchange_Drain(t *testing.T) {
	resume := make(chan struct{})
	p := listen(t, false, onEach(func(ws *websocket.Conn, kind int, p []byte) {
		<-resume
		ws.WriteMessage(kind, p)
	}))
	p.cfg.MaxSize = 1
	pool := pool(t, p.cfg)
	for _, drain := range []bool{true, false} {
		c := acquire(t, pool)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		if _, _, err := c.Exchange(ctx, websocket.TextMessage, []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		cancel()
		resume <- struct{}{}
		if drain {
			if err := c.Drain(t.Context(), 0, func(m wspool.Message) bool { return string(m.Data) == "x" }); err != nil {
				t.Fatal(err)
			}
		}
		c.Release()
		ends := map[bool]int64{true: 0, false: 1}[drain]
		eventually(t, "an end of the connection as expected", func() bool { return pool.Stats().Destroyed == ends })
	}
}

// A server that closes the connection after a reply, or instead of one, costs an error, or
// a second attempt if the caller allows it.
func TestExchange_Stale(t *testing.T) {
	for _, bye := range []string{"close", "cut"} {
		serve := func(ws *websocket.Conn) {
			kind, p, err := ws.ReadMessage()
			if err != nil || ws.WriteMessage(kind, p) != nil {
				return
			}
			if _, _, err = ws.ReadMessage(); err != nil {
				return
			}
			if bye == "close" {
				ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, ""), deadline())
			}
		}
		everywhere(t, serve, func(t *testing.T, p *peer) {
			p.cfg.MaxSize = 1
			p.cfg.Redial = func(error, int) time.Duration { return 0 }
			pool := pool(t, p.cfg)
			for i := range 20 {
				idempotent := wspool.ExchangeOptions{Idempotent: true}
				exchangeOnce(t, pool, "first", "first")
				if i%2 == 0 {
					if _, _, err := pool.Exchange(t.Context(), websocket.TextMessage, []byte("second")); !errors.Is(err, wspool.ErrStale) {
						t.Fatal(err)
					}
					continue
				}
				_, got, err := pool.ExchangeWith(t.Context(), idempotent, websocket.TextMessage, []byte("second"))
				if err != nil || string(got) != "second" {
					t.Fatalf("%q %v", got, err)
				}
				if _, _, err := pool.Exchange(t.Context(), websocket.TextMessage, []byte("third")); !errors.Is(err, wspool.ErrStale) {
					t.Fatal(err)
				}
			}
		})
	}
}

// A connection that its peer closes between two exchanges, at a random moment, fails no
// exchange that may be done twice.
func TestExchange_Closes(t *testing.T) {
	everywhere(t, func(ws *websocket.Conn) {
		for range 3 {
			kind, p, err := ws.ReadMessage()
			if err != nil || ws.WriteMessage(kind, p) != nil {
				return
			}
		}
	}, func(t *testing.T, p *peer) {
		p.cfg.Redial = func(error, int) time.Duration { return 0 }
		pool := pool(t, p.cfg)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for j := range 30 {
					s := fmt.Sprint(i, j)
					_, got, err := pool.ExchangeWith(t.Context(), wspool.ExchangeOptions{Idempotent: true}, websocket.TextMessage, []byte(s))
					if err != nil || string(got) != s {
						t.Errorf("%q %v", got, err)
					}
				}
			})
		}
		all.Wait()
	})
}

// A long request that the server does not read yet ends with its ctx; one that the server
// reads slowly arrives whole.
func TestExchange_LongRequest(t *testing.T) {
	resume := make(chan struct{})
	everywhere(t, func(ws *websocket.Conn) { <-resume; echo(ws) }, func(t *testing.T, p *peer) {
		p.cfg.MaxSize, p.cfg.ReadLimit = 1, 32<<20
		pool := pool(t, p.cfg)
		if err := pool.Warm(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		long := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // more than the buffers of the network
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, _, err := pool.Exchange(ctx, websocket.BinaryMessage, long); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		cancel()
		resume <- struct{}{}
		go func() { resume <- struct{}{} }()
		long = long[:1<<20]
		_, got, err := pool.Exchange(t.Context(), websocket.BinaryMessage, long)
		if err != nil || !bytes.Equal(got, long) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if s := pool.Stats(); s.Made != 2 {
			t.Errorf("%d connections", s.Made)
		}
	})
}

// A reply over ReadLimit, or one that is not UTF-8, ends the connection with its code.
func TestExchange_Limits(t *testing.T) {
	everywhere(t, onEach(func(ws *websocket.Conn, _ int, p []byte) {
		if string(p) == "long" {
			ws.WriteMessage(websocket.TextMessage, make([]byte, 101))
		} else {
			ws.WriteMessage(websocket.TextMessage, []byte{0xff})
		}
	}), func(t *testing.T, p *peer) {
		p.cfg.ReadLimit, p.cfg.CheckUTF8 = 100, true
		pool := pool(t, p.cfg)
		for s, want := range map[string]error{"long": wspool.ErrReadLimit, "bad": wspool.ErrNotUTF8} {
			if _, _, err := pool.Exchange(t.Context(), websocket.TextMessage, []byte(s)); !errors.Is(err, want) {
				t.Error(s, err)
			}
		}
		eventually(t, "two ends", func() bool { return pool.Stats().Destroyed == 2 })
	})
}

// Goroutines that share a Conn each get one reply; the Conn can be hijacked afterwards.
func TestExchange_SharedConn(t *testing.T) {
	everywhere(t, echo, func(t *testing.T, p *peer) {
		pool := pool(t, p.cfg)
		c := acquire(t, pool)
		var all sync.WaitGroup
		var bytes atomic.Int64
		for range 4 {
			all.Go(func() {
				for range 50 {
					_, got, err := c.Exchange(t.Context(), websocket.TextMessage, []byte("x"))
					if err != nil {
						t.Error(err)
					}
					bytes.Add(int64(len(got)))
				}
			})
		}
		all.Go(func() {
			for range 20 {
				if _, err := c.Ping(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
		all.Wait()
		if bytes.Load() != 200 {
			t.Errorf("%d replies", bytes.Load())
		}
		ws, ok := c.Hijack()
		if !ok {
			t.Fatal("not hijacked")
		}
		defer ws.Close()
		if err := ws.WriteMessage(websocket.TextMessage, []byte("own")); err != nil {
			t.Error(err)
		}
		if _, got, err := ws.ReadMessage(); err != nil || string(got) != "own" {
			t.Errorf("%q %v", got, err)
		}
	})
}

// An exchange that waits for its reply ends when the lease or the pool does.
func TestExchange_Ends(t *testing.T) {
	begun := make(chan struct{}, 1)
	everywhere(t, func(ws *websocket.Conn) { ws.ReadMessage(); begun <- struct{}{}; drain(ws) }, func(t *testing.T, p *peer) {
		p.cfg.CloseTimeout = 50 * time.Millisecond
		waits := func(exchange func() error) <-chan error {
			end := make(chan error, 1)
			go func() { end <- exchange() }()
			next(t, "request", begun)
			return end
		}
		pool := pool(t, p.cfg)
		of := func(x func(context.Context, int, []byte) (int, []byte, error)) func() error {
			return func() error { _, _, err := x(t.Context(), websocket.TextMessage, nil); return err }
		}
		c := acquire(t, pool)
		end := waits(of(c.Exchange))
		c.Release()
		if err := next(t, "end", end); !errors.Is(err, wspool.ErrReleased) {
			t.Error(err)
		}
		end = waits(of(pool.Exchange))
		p.cut()
		if err := next(t, "end", end); !errors.As(err, new(*wspool.CloseError)) {
			t.Error(err)
		}
		end = waits(of(pool.Exchange))
		pool.CloseNow()
		if err := next(t, "end", end); !errors.Is(err, wspool.ErrReleased) {
			t.Error(err)
		}
		if err := of(pool.Exchange)(); !errors.Is(err, resource.ErrClosed) {
			t.Error(err)
		}
	})
}

// An answer to a heartbeat that arrives during an exchange is not its reply.
func TestExchange_Heartbeat(t *testing.T) {
	everywhere(t, onEach(func(ws *websocket.Conn, kind int, p []byte) {
		if string(p) == "slow" {
			time.Sleep(40 * time.Millisecond) // several heartbeats are sent meanwhile
		}
		ws.WriteMessage(kind, p)
	}), func(t *testing.T, p *peer) {
		p.cfg.MaxSize = 1
		p.cfg.Heartbeat = wspool.Heartbeat{
			Every: wspool.MinHeartbeat, Message: wspool.Message{Type: websocket.TextMessage, Data: []byte("beat")},
			Expect: func(m wspool.Message) bool { return string(m.Data) == "beat" },
		}
		pool := pool(t, p.cfg)
		for range 5 {
			exchangeOnce(t, pool, "slow", "slow")
			exchangeOnce(t, pool, "fast", "fast")
		}
		if s := pool.Stats(); s.Made != 1 || s.Heartbeats == 0 {
			t.Errorf("%d connections, %d heartbeats", s.Made, s.Heartbeats)
		}
	})
}

// A Manager exchanges over the pool of a key.
func TestManager_Exchange(t *testing.T) {
	p := listen(t, false, echo)
	m, err := wspool.NewManager(wspool.ManagerConfig[string]{
		Config: func(string) (wspool.Config, error) {
			cfg := p.cfg
			cfg.CheckUTF8 = true
			return cfg, nil
		},
		MaxTotal: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(t.Context())
	for range 3 {
		if _, got, err := m.Exchange(t.Context(), "a", websocket.TextMessage, []byte("x")); err != nil || string(got) != "x" {
			t.Errorf("%q %v", got, err)
		}
		var n int
		if err := m.ExchangeJSON(t.Context(), "b", 7, &n); err != nil || n != 7 {
			t.Error(n, err)
		}
	}
	if _, _, err := m.Exchange(t.Context(), "a", websocket.TextMessage, []byte{0xff}); !errors.Is(err, wspool.ErrNotUTF8) {
		t.Error(err)
	}
	if s := m.Stats(); s.Made != 2 || s.Destroyed != 0 {
		t.Errorf("%d made, %d destroyed", s.Made, s.Destroyed)
	}
}
