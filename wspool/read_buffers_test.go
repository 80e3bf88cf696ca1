package wspool_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// halfSent is a connection whose server sends frames in small parts.
type halfSent struct {
	c      *wspool.Conn
	server net.Conn
	want   string // the payload of the present frame
	rest   []byte // of that frame, not sent yet
	sent   int    // frames that were sent whole
}

// TestI13_PartialFrames: no byte of one connection reaches another, although all take their
// buffers from one pool and read again and again while a part of a frame is in the buffer. A read
// that finds nothing, and a read that its context interrupts, must leave that buffer in use.
func TestI13_PartialFrames(t *testing.T) {
	const conns, frames = 24, 4
	for name, start := range map[string]func(serve func(*websocket.Conn)) *peer{
		"ws":     func(serve func(*websocket.Conn)) *peer { return listen(t, false, serve) },
		"wss":    func(serve func(*websocket.Conn)) *peer { return listen(t, true, serve) },
		"memory": func(serve func(*websocket.Conn)) *peer { return listenMem(t, 1<<16, serve) },
	} {
		t.Run(name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			draw := rand.New(rand.NewPCG(seed, 0))
			greeted := make(chan net.Conn)
			peer := start(func(ws *websocket.Conn) {
				if _, _, err := ws.ReadMessage(); err == nil {
					greeted <- ws.NetConn()
				}
				drain(ws)
			})
			peer.cfg.MaxSize, peer.cfg.KeepAlive = conns, -1
			p := pool(t, peer.cfg)
			// Gorilla may wait for ever for the rest of a frame whose bytes another connection has.
			defer time.AfterFunc(patience, p.CloseNow).Stop()
			var open []*halfSent
			for range conns {
				c := acquireShared(t, p)
				defer c.Release()
				write(t, c, "hello")
				open = append(open, &halfSent{c: c, server: next(t, "greeting", greeted)})
			}
			over, cancel := context.WithCancel(t.Context())
			cancel()
			polls, interrupted := 0, 0
			for len(open) > 0 {
				i := draw.IntN(len(open))
				h := open[i]
				if len(h.rest) == 0 {
					one := fmt.Sprintf("%d.%d ", i, h.sent)
					h.want = strings.Repeat(one, 1+draw.IntN(3000/len(one)))
					h.rest = rawFrame(0x80|websocket.TextMessage, []byte(h.want))
				}
				n := 1 + draw.IntN(min(len(h.rest), 1+len(h.want)/2))
				if _, err := h.server.Write(h.rest[:n]); err != nil {
					t.Fatal(err)
				}
				h.rest = h.rest[n:]
				if len(h.rest) == 0 {
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					_, got, err := h.c.ReadWhole(ctx, nil)
					if err == wspool.ErrPartial { // as below
						_, got, err = h.c.ReadMessage(ctx)
					}
					cancel()
					if err != nil || string(got) != h.want {
						t.Fatalf("got %.30q of %d bytes, %v; want %.30q of %d", got, len(got), err, h.want, len(h.want))
					}
					if h.sent++; h.sent == frames {
						open = append(open[:i], open[i+1:]...)
					}
					continue
				}
				ctx, cancel := over, context.CancelFunc(func() {})
				if draw.IntN(2) == 0 {
					ctx, cancel = context.WithTimeout(t.Context(), 100*time.Microsecond) // interrupts the read
					interrupted++
				} else {
					polls++
				}
				_, got, err := h.c.ReadWhole(ctx, nil)
				cancel()
				// On a slow machine the monitor has a lease watched that has not read for thinkTime, and
				// the watcher has begun the message.
				if err != wspool.ErrQuiet && err != wspool.ErrPartial {
					t.Fatalf("a part of %.30q is read as %.30q, %v", h.want, got, err)
				}
			}
			if polls < conns || interrupted < conns {
				t.Errorf("%d polls and %d interrupted reads found a part of a frame", polls, interrupted)
			}
		})
	}
}

// TestReadMessage_KeptBytes: what a read returns is the caller's: later reads, of any length and by
// any method, change nothing of it.
func TestReadMessage_KeptBytes(t *testing.T) {
	for name, edit := range map[string]func(*wspool.Config){
		"plain":      func(*wspool.Config) {},
		"compressed": func(c *wspool.Config) { c.Compression = true },
		"heartbeat": func(c *wspool.Config) {
			c.Heartbeat = wspool.Heartbeat{Every: time.Hour, Message: wspool.Message{Type: websocket.TextMessage}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			peer := listen(t, false, echo)
			peer.upgrader.EnableCompression = true
			peer.cfg.MaxSize = 1
			edit(&peer.cfg)
			p := pool(t, peer.cfg)
			var want []string
			var got [][]byte
			text := func(n int) string {
				s := strings.Repeat(fmt.Sprint(len(want), " "), n)
				want = append(want, s)
				return s
			}
			keep := func(b []byte, err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, b)
			}
			for _, n := range []int{1, 10, 900, 3, 3000, 2, 20000, 1, 300} {
				_, b, err := p.Exchange(t.Context(), websocket.TextMessage, []byte(text(n)))
				keep(b, err)
				c := acquire(t, p)
				_, b, err = c.Exchange(t.Context(), websocket.TextMessage, []byte(text(n)))
				keep(b, err)
				write(t, c, text(n))
				_, b, err = c.ReadMessage(t.Context())
				keep(b, err)
				write(t, c, text(n))
				_, b, err = c.ReadWhole(t.Context(), nil)
				if err == wspool.ErrPartial {
					_, b, err = c.ReadMessage(t.Context())
				}
				keep(b, err)
				c.Release()
			}
			for i := range want {
				if string(got[i]) != want[i] {
					t.Errorf("message %d is %.20q of %d bytes at the end, want %.20q of %d", i, got[i], len(got[i]), want[i], len(want[i]))
				}
			}
		})
	}
}

// TestReadWhole_AppendsToDst: the message follows what dst has, and what dst has stays, whether or
// not dst has room for the message.
func TestReadWhole_AppendsToDst(t *testing.T) {
	both(t, echo, func(t *testing.T, cfg wspool.Config) {
		p := pool(t, cfg)
		c := acquireShared(t, p)
		defer c.Release()
		for _, n := range []int{0, 1, 5, 4000} {
			for _, room := range []int{2, 3, 10, 8000} {
				s := strings.Repeat("m", n)
				write(t, c, s)
				dst := append(make([]byte, 0, room), "> "...)
				_, got, err := c.ReadWhole(t.Context(), dst)
				if err != nil || string(got) != "> "+s || string(dst) != "> " {
					t.Fatalf("%d bytes into %d: %.20q of %d, %v", n, room, got, len(got), err)
				}
			}
		}
	})
}
