package wspool_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// trailer is a peer that answers, and 30 ms after every second answer sends one
// more message.
func trailer(ws *websocket.Conn) {
	for n := 1; ; n++ {
		kind, p, err := ws.ReadMessage()
		if err != nil {
			return
		}
		ws.WriteMessage(kind, p)
		if n%2 == 0 {
			time.Sleep(30 * ms) // how far the report is behind the answer
			ws.WriteMessage(kind, append([]byte("more of "), p...))
		}
	}
}

// Optional messages behind the last one are dropped on one connection, which
// costs as long as Drain waits.
func TestDrain(t *testing.T) {
	for name, ex := range map[string]wspool.Exchange{"last": wspool.ReplyLast, "each": wspool.ReplyEach, "none": wspool.Unpaired} {
		for kind, set := range map[string]func(*wspool.Config){
			"plain":  func(*wspool.Config) {},
			"opaque": opaque,
			"slow":   func(cfg *wspool.Config) { cfg.WatchAfter = time.Minute }, // the keeper ticks every 100 ms
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					peer := listenMem(t, 4096, trailer)
					set(&peer.cfg)
					peer.cfg.Exchange = ex
					p := pool(t, peer.cfg)
					for i := range 40 {
						c := acquire(t, p)
						ask(t, c, fmt.Sprint(i))
						began := time.Now()
						if err := c.Drain(t.Context(), 60*ms, nil); err != nil {
							t.Fatal(err)
						}
						want := 60 * ms
						if i%2 == 1 {
							want = 90 * ms
						}
						if took := time.Since(began); took < want || took > want+20*ms {
							t.Errorf("Drain took %v, want %v", took, want)
						}
						c.Release()
					}
					if s := p.Stats(); s.Made != 1 || s.Late != 20 || s.Tainted != 0 {
						t.Errorf("%v", s)
					}
				})
			})
		}
	}
}

// The same on real sockets, with TLS and without.
func TestDrainSockets(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint(secure), func(t *testing.T) {
			peer := listen(t, secure, func(ws *websocket.Conn) {
				for n := 1; ; n++ {
					kind, p, err := ws.ReadMessage()
					if err != nil {
						return
					}
					ws.WriteMessage(kind, p)
					for range n % 4 {
						ws.WriteMessage(kind, append([]byte("more of "), p...))
					}
					ws.WriteMessage(kind, []byte("end"))
				}
			})
			p := pool(t, peer.cfg)
			for i := range 200 {
				c := acquire(t, p)
				ask(t, c, fmt.Sprint(i))
				last := ""
				err := c.Drain(t.Context(), patience, func(m wspool.Message) bool { last = string(m.Data); return last == "end" })
				if err != nil || last != "end" {
					t.Fatalf("%q, %v", last, err)
				}
				c.Release()
			}
			if s := p.Stats(); s.Made != 1 || s.Late != 200+50*(1+2+3) {
				t.Errorf("%v", s)
			}
		})
	}
}

// done ends Drain, and says that the exchange is complete; silence says that only
// where something has come since the last write.
func TestDrainCompletes(t *testing.T) {
	done := func(m wspool.Message) bool { return string(m.Data) == "done" }
	for _, tc := range []struct {
		name  string
		ex    wspool.Exchange
		sends []string
		quiet time.Duration
		done  func(wspool.Message) bool
		clean bool
	}{
		{"done", wspool.ReplyLast, []string{"chunk", "done"}, 0, done, true},
		{"done alone", wspool.ReplyLast, []string{"done"}, time.Second, done, true},
		{"done each", wspool.ReplyEach, []string{"chunk", "chunk", "done"}, time.Second, done, true},
		{"quiet", wspool.ReplyLast, []string{"chunk", "chunk"}, time.Second, nil, true},
		{"quiet before done", wspool.ReplyLast, []string{"chunk"}, time.Second, done, true},
		{"quiet each", wspool.ReplyEach, []string{"chunk"}, time.Second, nil, false},
		{"nothing", wspool.ReplyLast, nil, time.Second, nil, false},
		{"nothing each", wspool.ReplyEach, nil, time.Second, nil, false},
		{"nothing none", wspool.Unpaired, nil, time.Second, nil, true},
		{"left behind", wspool.ReplyLast, []string{"done", "chunk"}, time.Second, done, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := witnesses(t)
				w.mute = true
				w.cfg.Exchange = tc.ex
				p := pool(t, w.cfg)
				c := acquire(t, p)
				write(t, c, "cancel")
				for _, s := range tc.sends {
					w.send(0, frame(websocket.TextMessage, s))
				}
				if err := c.Drain(t.Context(), tc.quiet, tc.done); err != nil {
					t.Fatal(err)
				}
				c.Release()
				synctest.Wait()
				if s := p.Stats(); (s.Idle == 1) != tc.clean {
					t.Errorf("%v", s)
				}
			})
		})
	}
}

// The natural way to interrupt is to end the ctx of the read. A cancel, and a Drain
// up to its confirmation, make that good; silence does not, nor a broken write.
func TestDrainAfterGivenUpRead(t *testing.T) {
	for _, how := range []string{"done", "quiet", "writer"} {
		for name, ex := range map[string]wspool.Exchange{"last": wspool.ReplyLast, "each": wspool.ReplyEach} {
			t.Run(how+"/"+name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := witnesses(t)
					w.mute = true
					w.cfg.Exchange = ex
					p := pool(t, w.cfg)
					c := acquire(t, p)
					write(t, c, "question")
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					if _, _, err := c.ReadMessage(ctx); !errors.Is(err, context.DeadlineExceeded) {
						t.Fatal(err)
					}
					write(t, c, "cancel")
					for _, s := range []string{"chunk", "cancelled"} {
						w.send(0, frame(websocket.TextMessage, s))
					}
					done := func(m wspool.Message) bool { return string(m.Data) == "cancelled" }
					if how == "quiet" {
						done = nil
					}
					if how == "writer" { // half of a message is sent, and no more
						ctx, cancel := context.WithCancel(t.Context())
						wr, err := c.NextWriter(ctx, websocket.TextMessage)
						if err != nil {
							t.Fatal(err)
						}
						wr.Write([]byte("half"))
						cancel()
						if err := wr.Close(); !errors.Is(err, context.Canceled) {
							t.Error(err)
						}
					}
					if err := c.Drain(t.Context(), time.Second, done); err != nil {
						t.Error(err)
					}
					c.Release()
					synctest.Wait()
					if s := p.Stats(); (s.Idle == 1) != (how == "done") {
						t.Errorf("%v", s)
					}
				})
			})
		}
	}
}

// Drain fails as a read does, and not in the middle of a message because the
// silence before it was long.
func TestDrainFails(t *testing.T) {
	t.Run("nothing to wait for", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			c := acquire(t, pool(t, witnesses(t).cfg))
			defer c.Release()
			if err := c.Drain(t.Context(), 0, nil); err == nil {
				t.Error("it waits for nothing")
			}
		})
	})
	t.Run("released", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := witnesses(t)
			c := acquire(t, pool(t, w.cfg))
			write(t, c, "x")
			time.AfterFunc(500*ms, c.Release)
			if err := c.Drain(t.Context(), time.Minute, nil); !errors.Is(err, wspool.ErrReleased) {
				t.Error(err)
			}
			if err := c.Drain(t.Context(), time.Minute, nil); !errors.Is(err, wspool.ErrReleased) {
				t.Error(err)
			}
		})
	})
	t.Run("context", func(t *testing.T) {
		for name, ex := range map[wspool.Exchange]bool{wspool.ReplyLast: false, wspool.Unpaired: true} {
			bubble(t, func(t *testing.T) {
				w := witnesses(t)
				w.cfg.Exchange = name
				p := pool(t, w.cfg)
				c := acquire(t, p)
				ask(t, c, "x")
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began := time.Now()
				if err := c.Drain(ctx, time.Minute, nil); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				if took := time.Since(began); took > 1020*ms {
					t.Errorf("it took %v", took)
				}
				c.Release()
				synctest.Wait()
				if s := p.Stats(); (s.Idle == 1) != ex {
					t.Errorf("%v", s)
				}
			})
		}
	})
	t.Run("end", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := witnesses(t)
			c := acquire(t, pool(t, w.cfg))
			defer c.Release()
			ask(t, c, "x")
			time.AfterFunc(time.Second, func() { w.conn(0).NetConn().Close() })
			var ce *wspool.CloseError
			if err := c.Drain(t.Context(), time.Minute, nil); !errors.As(err, &ce) {
				t.Error(err)
			}
		})
	})
	for name, set := range map[string]func(*wspool.Config){"plain": func(*wspool.Config) {}, "opaque": opaque} {
		t.Run("slow message/"+name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := witnesses(t)
				set(&w.cfg)
				p := pool(t, w.cfg)
				c := acquire(t, p)
				ask(t, c, "x")
				whole := frame(websocket.TextMessage, strings.Repeat("y", 100))
				go func() {
					for i := range whole {
						time.Sleep(70 * ms)
						w.send(0, whole[i:i+1])
					}
				}()
				began := time.Now()
				if err := c.Drain(t.Context(), 100*ms, nil); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took < 102*70*ms {
					t.Errorf("it took %v", took)
				}
				c.Release()
				if s := p.Stats(); s.Idle != 1 || s.Late != 1 {
					t.Errorf("%v", s)
				}
			})
		})
		t.Run("message broken off/"+name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := witnesses(t)
				set(&w.cfg)
				p := pool(t, w.cfg)
				c := acquire(t, p)
				ask(t, c, "x")
				w.send(0, frame(websocket.TextMessage, "half a message")[:7])
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := c.Drain(ctx, 100*ms, nil); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				c.Release()
				synctest.Wait()
				if s := p.Stats(); s.Idle != 0 {
					t.Errorf("%v", s)
				}
			})
		})
	}
}

// done may write on the connection: an application's ping is answered.
func TestDrainAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		p := pool(t, w.cfg)
		c := acquire(t, p)
		ask(t, c, "x")
		w.mute = true
		w.send(0, frame(websocket.TextMessage, "2"))
		err := c.Drain(t.Context(), 100*ms, func(m wspool.Message) bool {
			if string(m.Data) == "2" {
				write(t, c, "3")
				w.send(0, frame(websocket.TextMessage, "6")) // engine.io's NOOP
			}
			return false
		})
		if err != nil || len(w.saw("message 3")) != 1 {
			t.Errorf("%v, %v", err, w.saw("message"))
		}
		c.Release()
		if s := p.Stats(); s.Idle != 1 {
			t.Errorf("%v", s)
		}
	})
}
