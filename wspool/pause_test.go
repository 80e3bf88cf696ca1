package wspool_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// While a message waits for the lease nobody can see the pong behind it, and the
// peer is not held to it; nor at the moment that the message is read.
func TestSilencePauses(t *testing.T) {
	for name, read := range map[string]func(t *testing.T, c *wspool.Conn, wait func()){
		"message": func(t *testing.T, c *wspool.Conn, wait func()) {
			wait()
			read(t, c, "long")
		},
		"reader": func(t *testing.T, c *wspool.Conn, wait func()) {
			_, r, err := c.NextReader(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			wait()
			if p, err := io.ReadAll(r); err != nil || string(p) != "long" {
				t.Errorf("%q, %v", p, err)
			}
		},
	} {
		for _, thought := range []time.Duration{9500 * ms, 30 * time.Second} {
			t.Run(name+"/"+thought.String(), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := alive(t)
					w.cfg.PongWait = 500 * ms
					gone := w.ends()
					p := pool(t, w.cfg)
					c := acquire(t, p)
					defer c.Release()
					// A read 1 ms before each of many instants at which the
					// peer might be given up.
					write(t, c, "long")
					read(t, c, func() {
						time.Sleep(thought)
						for pings := w.saw("ping"); ; time.Sleep(ms) {
							if len(pings) > 0 && (w.now()-pings[0])%(500*ms) > 498*ms {
								return
							}
							pings = w.saw("ping")
						}
					})
					time.Sleep(900 * ms) // no watcher would come for it alone
					none(t, gone)
					time.Sleep(5 * time.Second)
					none(t, gone)
					ask(t, c, "x")
					c.Release()
					if s := p.Stats(); s.Idle != 1 {
						t.Errorf("%v", s)
					}
				})
			})
		}
	}
}

// A peer that goes silent in the midst of a message is given up if the lease
// waits for the rest of it.
func TestSilentInMessage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := alive(t)
		w.mute = true
		w.deny.Store(true)
		gone := w.ends()
		c := acquire(t, pool(t, w.cfg))
		write(t, c, "question")
		w.send(0, frame(websocket.TextMessage, "answer")[:5])
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, _, err := c.ReadMessage(ctx)
		if took := w.now(); !errors.Is(err, wspool.ErrSilent) || took > 14*time.Second {
			t.Errorf("%v after %v, want ErrSilent within 10s and twice 2s", err, took)
		}
		c.Release()
		if e := next(t, "end", gone); !errors.Is(e.cause, wspool.ErrSilent) {
			t.Errorf("ended with %v", e.cause)
		}
	})
}

// One from which a message comes slowly is not.
func TestSlowMessage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := alive(t)
		w.mute = true
		p := pool(t, w.cfg)
		c := acquire(t, p)
		write(t, c, "question")
		go func() {
			for _, b := range frame(websocket.TextMessage, "slow as it is") {
				time.Sleep(8 * time.Second)
				w.send(0, []byte{b})
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, m, err := c.ReadMessage(ctx); err != nil || string(m) != "slow as it is" {
			t.Errorf("%q, %v", m, err)
		}
		c.Release()
		if s := p.Stats(); s.Idle != 1 {
			t.Errorf("%v", s)
		}
	})
}

// A ping behind much that is being sent arrives late; as long as the network
// takes more of it the peer is alive.
func TestSlowUpload(t *testing.T) {
	for name, write := range map[string]func(t *testing.T, c *wspool.Conn, data []byte) error{
		"message": func(t *testing.T, c *wspool.Conn, data []byte) error {
			return c.WriteMessage(t.Context(), websocket.BinaryMessage, data)
		},
		"prepared": func(t *testing.T, c *wspool.Conn, data []byte) error {
			m, err := websocket.NewPreparedMessage(websocket.BinaryMessage, data)
			if err != nil {
				t.Fatal(err)
			}
			return c.WritePrepared(t.Context(), m)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				data := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
				peer := listenMem(t, 32<<10, func(ws *websocket.Conn) {
					kind, r, err := ws.NextReader()
					if err != nil {
						return
					}
					got := 0
					for buf := make([]byte, 4<<10); err == nil; time.Sleep(300 * ms) {
						var n int
						n, err = r.Read(buf)
						got += n
					}
					if got != len(data) {
						return
					}
					ws.WriteMessage(kind, []byte("thanks"))
					drain(ws)
				})
				peer.cfg.KeepAlive, peer.cfg.PongWait = 10*time.Second, 6*time.Second
				peer.cfg.WriteTimeout = time.Hour
				p := pool(t, peer.cfg)
				c := acquire(t, p)
				if err := write(t, c, data); err != nil {
					t.Fatal(err)
				}
				if _, m, err := c.ReadMessage(t.Context()); err != nil || string(m) != "thanks" {
					t.Errorf("%q, %v", m, err)
				}
				c.Release()
				if s := p.Stats(); s.Idle != 1 {
					t.Errorf("%v", s)
				}
			})
		})
	}
}

// Where many pings come before the answer can be sent, the last is answered, as
// RFC 6455 allows.
func TestManyPings(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		p := pool(t, w.cfg)
		warm(t, p, 1)
		time.Sleep(time.Second)
		var many []byte
		for range 2000 {
			many = append(many, frame(websocket.PingMessage, "one")...)
		}
		w.send(0, append(many, frame(websocket.PingMessage, "last")...))
		synctest.Wait()
		if pongs := w.saw("pong last"); len(pongs) != 1 || pongs[0] != time.Second {
			t.Errorf("the last was answered at %v", pongs)
		}
		c := acquire(t, p)
		ask(t, c, "x")
		c.Release()
	})
}
