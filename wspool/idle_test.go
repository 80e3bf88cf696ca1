package wspool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// The end of an unleased connection is seen at once, without an acquire, and the
// next caller gets a fresh one.
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
				use(t, p)
			}
			if s := p.Stats(); s.Made < 200 {
				t.Errorf("%d connections for 200 leases that each end one", s.Made)
			}
		})
	}
}

// The server's pings are answered while the connection is not leased, and while a
// lease does not read.
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

// A message right behind the server's 101 has no lease to belong to. Whether it
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

// A connection is not read for one to two WatchAfter after its lease, and its
// server's pings wait for that long.
func TestHot(t *testing.T) {
	for _, tc := range []struct{ held, after time.Duration }{
		{0, 10 * ms}, {5 * ms, 10 * ms}, {15 * ms, 10 * ms}, {99 * ms, 10 * ms}, {0, 250 * ms}, {0, time.Second},
	} {
		held, after := tc.held, tc.after
		t.Run(fmt.Sprint(held, after), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := witnesses(t)
				w.cfg.WatchAfter = after
				p := pool(t, w.cfg)
				c := acquire(t, p)
				ask(t, c, "x")
				time.Sleep(held)
				c.Release()
				released := w.now()
				w.ping(0, "hot")
				if u := p.Stats().Unwatched; u != 1 {
					t.Errorf("%d unwatched, want 1", u)
				}
				time.Sleep(after - 1)
				if w.saw("pong") != nil {
					t.Error("it was not hot")
				}
				time.Sleep(after + 1)
				pongs := w.saw("pong hot")
				if len(pongs) != 1 || pongs[0] < released+after || pongs[0] > released+2*after {
					t.Errorf("released at %v, pongs at %v", released, pongs)
				}
				if u := p.Stats().Unwatched; u != 0 {
					t.Errorf("%d unwatched, want 0", u)
				}
				time.Sleep(after)
				w.ping(0, "watched")
				if pongs := w.saw("pong watched"); len(pongs) != 1 || pongs[0] != w.now() {
					t.Errorf("pongs at %v, want %v", pongs, w.now())
				}
			})
		})
	}
}

// The end of a watched connection is seen at that instant; that of a hot one, when
// it becomes watched or is acquired, whichever is first.
func TestEndSeen(t *testing.T) {
	isClose := func(code int) func(error) bool {
		return func(err error) bool {
			var ce *wspool.CloseError
			return errors.As(err, &ce) && ce.Code == code
		}
	}
	const after = 10 * ms
	for _, tc := range []struct {
		name string
		do   func(*websocket.Conn)
		is   func(error) bool
	}{
		{"close", func(ws *websocket.Conn) {
			ws.NetConn().Write(frame(websocket.CloseMessage, string(websocket.FormatCloseMessage(1012, ""))))
		}, isClose(1012)},
		{"fin", func(ws *websocket.Conn) { ws.NetConn().Close() }, isClose(1006)},
		{"message", func(ws *websocket.Conn) { ws.NetConn().Write(frame(websocket.TextMessage, "hi")) },
			func(err error) bool { return errors.Is(err, wspool.ErrUnsolicited) }},
	} {
		for state, idle := range map[string]time.Duration{"hot": 1 * ms, "watched": time.Second, "at once": 0} {
			t.Run(fmt.Sprintf("%s/%s", tc.name, state), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := witnesses(t)
					w.cfg.WatchAfter = after
					gone := w.ends()
					p := pool(t, w.cfg)
					c := acquire(t, p)
					ask(t, c, "x")
					time.Sleep(5 * ms) // the ticks are at 10 and 20
					c.Release()
					time.Sleep(idle)
					ws, want := w.conn(0), w.now()
					tc.do(ws)
					switch state {
					case "hot":
						want = 20 * ms
						time.Sleep(after)
						none(t, gone)
						time.Sleep(after)
					case "at once":
						c := acquire(t, p)
						if c.Reused() {
							t.Error("lent the dead one")
						}
						ask(t, c, "y")
						c.Release()
					}
					e := next(t, "end", gone)
					if e.at != want || !tc.is(e.cause) {
						t.Errorf("ended at %v with %v, want %v", e.at, e.cause, want)
					}
				})
			})
		}
	}
}

// Where WatchAfter is negative, and where the connection cannot be examined, it is
// watched from the end of its lease.
func TestNeverHot(t *testing.T) {
	for name, never := range map[string]func(*wspool.Config){
		"negative": func(cfg *wspool.Config) { cfg.WatchAfter = -1 },
		"opaque":   opaque,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := witnesses(t)
				never(&w.cfg)
				p := pool(t, w.cfg)
				for range 3 {
					use(t, p)
					if u := p.Stats().Unwatched; u != 0 {
						t.Errorf("%d unwatched, want 0", u)
					}
					w.ping(0, "now")
					pongs := w.saw("pong now")
					if len(pongs) == 0 || pongs[len(pongs)-1] != w.now() {
						t.Errorf("pongs at %v, want %v", pongs, w.now())
					}
					time.Sleep(time.Second)
				}
				if s := p.Stats(); s.Made != 1 {
					t.Errorf("made %d, want 1", s.Made)
				}
			})
		})
	}
}

// A server that requires an answer to its pings within 350 ms gets it from a lease
// that thinks for 2 s: pings of its first moment are answered at the end of that
// moment.
func TestThinkingLease(t *testing.T) {
	for _, after := range []time.Duration{0, -1, time.Minute} {
		bubble(t, func(t *testing.T) { testThinking(t, after) })
	}
}

// testThinking runs in a bubble.
func testThinking(t *testing.T, after time.Duration) {
	w := witnesses(t)
	w.cfg.WatchAfter = after
	p := pool(t, w.cfg)
	c := acquire(t, p)
	ask(t, c, "question")
	for i := range 20 {
		w.ping(0, fmt.Sprintf("%02d", i))
		time.Sleep(100 * ms) // the interval of the pings
	}
	ask(t, c, "another")
	c.Release()
	for i := range 20 {
		sent := time.Duration(i) * 100 * ms
		pongs := w.saw(fmt.Sprintf("pong %02d", i))
		if len(pongs) != 1 || pongs[0] < sent || pongs[0] > max(sent, 200*ms) {
			t.Errorf("pong %d at %v, want %v", i, pongs, max(sent, 200*ms))
		}
	}
	if s := p.Stats(); s.Made != 1 || s.Destroyed != 0 {
		t.Errorf("%v", s)
	}
}

// A connection is hot for as long as WatchAfter says, and a lease that thinks is
// watched after a second however long that is.
func TestHotForLong(t *testing.T) {
	for _, after := range []time.Duration{time.Millisecond, 50 * ms, 150 * ms, time.Second, 10 * time.Second, math.MaxInt64} {
		bubble(t, func(t *testing.T) {
			w := witnesses(t)
			w.cfg.WatchAfter, w.cfg.KeepAlive = after, -1
			p := pool(t, w.cfg)
			c := acquire(t, p)
			ask(t, c, "x")
			w.ping(0, "thinking")
			time.Sleep(1200 * ms)
			if pongs := w.saw("pong thinking"); len(pongs) != 1 {
				t.Errorf("WatchAfter %v: pongs at %v while a lease thinks", after, pongs)
			}
			ask(t, c, "y")
			c.Release()
			time.Sleep(min(after, time.Hour) - 1)
			if n := p.Stats().Unwatched; n != 1 {
				t.Errorf("WatchAfter %v: %d unwatched just before", after, n)
			}
			if after < time.Hour {
				time.Sleep(max(after, 100*ms) + ms)
				if n := p.Stats().Unwatched; n != 0 {
					t.Errorf("WatchAfter %v: %d unwatched after twice as long", after, n)
				}
			}
		})
	}
}

// A lease that writes on and on without reading is watched as well.
func TestWritingLease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.mute = true
		w.cfg.Exchange = wspool.Unpaired
		c := acquire(t, pool(t, w.cfg))
		for range 30 {
			write(t, c, "more")
			time.Sleep(100 * ms)
			if w.now() == 1500*ms {
				w.ping(0, "hello")
			}
		}
		if pongs := w.saw("pong"); len(pongs) != 1 || pongs[0] != 1500*ms {
			t.Errorf("pongs at %v, want 1.5s", pongs)
		}
		c.Release()
	})
}

// So is a lease whose single write takes long.
func TestLongWrite(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const size, step = 1 << 20, 64 << 10
		began := time.Now()
		pongs := make(chan time.Duration, 1)
		peer := listenMem(t, step, func(ws *websocket.Conn) {
			ws.SetPongHandler(func(string) error { pongs <- time.Since(began); return nil })
			time.AfterFunc(1500*ms, func() { ws.NetConn().Write(frame(websocket.PingMessage, "")) })
			kind, r, err := ws.NextReader()
			if err != nil {
				return
			}
			buf := make([]byte, step)
			for {
				time.Sleep(100 * ms)
				n, err := r.Read(buf)
				if n == 0 && err != nil {
					break
				}
			}
			ws.WriteMessage(kind, []byte("done"))
			drain(ws)
		})
		p := pool(t, peer.cfg)
		c := acquire(t, p)
		if err := c.WriteMessage(t.Context(), websocket.BinaryMessage, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		wrote := time.Since(began)
		if _, m, err := c.ReadMessage(t.Context()); err != nil || string(m) != "done" {
			t.Errorf("%q, %v", m, err)
		}
		c.Release()
		if at := next(t, "pong", pongs); wrote < 2*time.Second || at > wrote {
			t.Errorf("the pong came at %v, the write took %v", at, wrote)
		}
	})
}

// A watcher leaves the message that it finds to the lease, whole, whenever the
// lease comes for it; and behind that the lease reads itself.
func TestHandedOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		p := pool(t, w.cfg)
		c := acquire(t, p)
		for i := range 20 {
			write(t, c, fmt.Sprint(i))
			time.Sleep(time.Duration(i) * 300 * ms) // in the midst of which a watcher comes, or not
			read(t, c, fmt.Sprint(i))
		}
		synctest.Wait()
		if u := p.Stats().Unwatched; u != 1 {
			t.Errorf("%d unwatched behind a read, want 1", u)
		}
		c.Release()
		if s := p.Stats(); s.Made != 1 || s.Tainted != 0 {
			t.Errorf("%v", s)
		}
	})
}

// Leases that follow each other at once find the connection hot, for ever.
func TestBackToBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		p := pool(t, w.cfg)
		for range 2000 {
			c := acquire(t, p)
			ask(t, c, "x")
			time.Sleep(ms / 2)
			c.Release()
			if u := p.Stats().Unwatched; u != 1 {
				t.Fatalf("%d unwatched, want 1", u)
			}
		}
		if s := p.Stats(); s.Made != 1 {
			t.Errorf("made %d, want 1", s.Made)
		}
	})
}

// However long a connection may be hot once it is given back, the pings that
// come while a lease thinks are answered in about a second.
func TestThinkingWhileLongHot(t *testing.T) {
	for _, after := range []time.Duration{time.Second, 3 * time.Second, time.Hour} {
		bubble(t, func(t *testing.T) {
			w := witnesses(t)
			w.cfg.KeepAlive = -1
			w.cfg.WatchAfter = after
			p := pool(t, w.cfg)
			c := acquire(t, p)
			ask(t, c, "x")
			asked := w.now()
			w.ping(0, "p")
			time.Sleep(3 * time.Second)
			if pongs := w.saw("pong p"); len(pongs) != 1 || pongs[0]-asked > 2*time.Second {
				t.Errorf("WatchAfter %v: answered at %v, asked at %v", after, pongs, asked)
			}
			c.Release()

			c = acquire(t, p)
			ask(t, c, "x")
			c.Release() // clean, and hot for as long as it may be
			if after > time.Minute {
				after = time.Minute // that is seen well enough
			}
			given := w.now()
			w.ping(0, "q")
			time.Sleep(3 * after)
			pongs := w.saw("pong q")
			switch {
			case w.cfg.WatchAfter > after && len(pongs) != 0, len(pongs) == 1 && pongs[0]-given < after:
				t.Errorf("WatchAfter %v: watched at %v, given back at %v", w.cfg.WatchAfter, pongs, given)
			case w.cfg.WatchAfter == after && (len(pongs) != 1 || pongs[0]-given > 2*after):
				t.Errorf("WatchAfter %v: watched at %v, given back at %v", after, pongs, given)
			}
		})
	}
}
