package wspool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
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

// keepAlive is a heartbeat as speech services require it.
var keepAlive = wspool.Heartbeat{Every: 5 * time.Second, Message: wspool.Message{Type: websocket.TextMessage, Data: []byte("alive?")}}

// answered makes the witness's echo the answer to the heartbeat.
func answered(h wspool.Heartbeat) wspool.Heartbeat {
	h.Expect = func(m wspool.Message) bool { return string(m.Data) == "alive?" }
	return h
}

// regular fails unless the instants are those of heartbeats between two times.
func regular(t *testing.T, at []time.Duration, from, to time.Duration) {
	t.Helper()
	last := from
	for _, now := range at {
		if apart := now - last; now < from || now > to || apart <= 4500*ms || apart > 5*time.Second {
			t.Errorf("heartbeats at %v, from %v", at, from)
			return
		}
		last = now
	}
	if to-last > 5*time.Second {
		t.Errorf("heartbeats at %v, until %v", at, to)
	}
}

// A heartbeat is sent where no message has been for Every, less a part of a tenth
// that is the connection's own: idle and while a lease thinks.
func TestHeartbeatMessages(t *testing.T) {
	for _, answers := range []bool{false, true} {
		for name, set := range map[string]func(*wspool.Config){"plain": func(*wspool.Config) {}, "opaque": opaque} {
			t.Run(fmt.Sprint(name, " answered ", answers), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := witnesses(t)
					set(&w.cfg)
					w.cfg.KeepAlive = -1
					w.cfg.Heartbeat = keepAlive
					w.mute = !answers
					if answers {
						w.cfg.Heartbeat = answered(keepAlive)
					}
					gone := w.ends()
					p := pool(t, w.cfg)
					warm(t, p, 1)
					time.Sleep(time.Minute)
					idle := w.saw("message alive?")
					regular(t, idle, 0, w.now())
					c := acquire(t, p)
					time.Sleep(time.Minute)
					thinking := w.saw("message alive?")
					regular(t, thinking, 0, w.now())
					w.mute = false
					ask(t, c, "x")
					if len(idle) < 11 || len(thinking) < 23 {
						t.Errorf("%d idle, %d in all", len(idle), len(thinking))
					}
					if s := p.Stats(); s.Heartbeats != int64(len(thinking)) {
						t.Errorf("%d heartbeats, %v", len(thinking), s)
					}
					c.Release()
					none(t, gone)
					if s := p.Stats(); s.Unsolicited != 0 || s.Tainted != 0 || s.Idle != 1 {
						t.Errorf("%v", s)
					}
				})
			})
		}
	}
}

// Connections do not beat together.
func TestHeartbeatJitter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.mute = true
		w.cfg.KeepAlive, w.cfg.MaxSize = -1, 20
		w.cfg.Heartbeat = keepAlive
		p := pool(t, w.cfg)
		warm(t, p, 20)
		time.Sleep(5 * time.Second)
		at := map[time.Duration]bool{}
		for _, when := range w.saw("message alive?") {
			at[when] = true
		}
		if len(at) < 18 {
			t.Errorf("20 connections beat at %d instants", len(at))
		}
	})
}

// None is sent while messages are.
func TestHeartbeatBesideTraffic(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.cfg.Heartbeat = answered(keepAlive)
		p := pool(t, w.cfg)
		for i := range 30 {
			c := acquire(t, p)
			ask(t, c, fmt.Sprint(i))
			time.Sleep(2 * time.Second)
			ask(t, c, "more")
			c.Release()
			time.Sleep(2 * time.Second)
		}
		if beats := w.saw("message alive?"); beats != nil || p.Stats().Heartbeats != 0 {
			t.Errorf("heartbeats at %v", beats)
		}
	})
}

// RFC 6455, section 5.4: data frames of two messages do not mix. While a writer is
// open there is no heartbeat, whatever was sent of its message.
func TestHeartbeatBesideWriter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.mute = true
		w.cfg.Heartbeat = keepAlive
		w.cfg.WriteFrameSize = 128
		w.cfg.Exchange = wspool.Unpaired
		p := pool(t, w.cfg)
		c := acquire(t, p)
		wr, err := c.NextWriter(t.Context(), websocket.TextMessage)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			time.Sleep(7 * time.Second)
			if _, err := wr.Write(bytes.Repeat([]byte("x"), 300)); err != nil {
				t.Fatal(err)
			}
		}
		if beats := w.saw("message"); beats != nil {
			t.Fatalf("messages at %v", beats)
		}
		closed := w.now()
		if err := wr.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		if long := w.saw("message " + strings.Repeat("x", 1500)); len(long) != 1 {
			t.Errorf("the message came at %v", long)
		}
		regular(t, w.saw("message alive?"), closed, w.now())
		c.Release()
		if s := p.Stats(); s.Idle != 1 {
			t.Errorf("%v", s)
		}
	})
}

// A heartbeat and its answer are no part of a lease's exchange, in whichever order
// they come with its messages.
func TestHeartbeatAndExchange(t *testing.T) {
	for name, ex := range map[string]wspool.Exchange{"last": wspool.ReplyLast, "each": wspool.ReplyEach, "none": wspool.Unpaired} {
		for kind, set := range map[string]func(*wspool.Config){"plain": func(*wspool.Config) {}, "opaque": opaque} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					// Heartbeats are answered 100 ms later, questions after 7 s, for
					// which a heartbeat is due.
					peer := listenMem(t, 64<<10, func(ws *websocket.Conn) {
						var mu sync.Mutex
						for {
							kind, p, err := ws.ReadMessage()
							if err != nil {
								return
							}
							wait := 7 * time.Second
							if string(p) == "alive?" {
								wait = 100 * ms
							}
							time.AfterFunc(wait, func() {
								mu.Lock()
								defer mu.Unlock()
								ws.WriteMessage(kind, p)
							})
						}
					})
					set(&peer.cfg)
					peer.cfg.Exchange = ex
					peer.cfg.Heartbeat = answered(keepAlive)
					p := pool(t, peer.cfg)
					for i := range 10 {
						c := acquire(t, p)
						ask(t, c, fmt.Sprint("first ", i))
						_, r, err := func() (int, interface{ Read([]byte) (int, error) }, error) {
							write(t, c, fmt.Sprint("second ", i))
							time.Sleep(time.Duration(i) * time.Second)
							return c.NextReader(t.Context())
						}()
						if err != nil {
							t.Fatal(err)
						}
						time.Sleep(time.Duration(i) * 777 * ms)
						var b bytes.Buffer
						if _, err := b.ReadFrom(r); err != nil || b.String() != fmt.Sprint("second ", i) {
							t.Fatalf("%q, %v", &b, err)
						}
						time.Sleep(time.Duration(i) * 1234 * ms)
						c.Release()
						time.Sleep(time.Duration(i) * 1003 * ms)
					}
					if s := p.Stats(); s.Made != 1 || s.Tainted != 0 || s.Unsolicited != 0 || s.Heartbeats < 10 {
						t.Errorf("%v", s)
					}
				})
			})
		}
	}
}

// A lease may end while the answer lies unread before it, and is not taken for one
// that has left a reply.
func TestHeartbeatAnswerAtRelease(t *testing.T) {
	for kind, set := range map[string]func(*wspool.Config){
		"plain":   func(*wspool.Config) {},
		"opaque":  opaque,
		"handler": func(cfg *wspool.Config) { cfg.OnUnsolicited = wspool.DropUnsolicited },
	} {
		for answer, clean := range map[string]bool{"alive?": true, "other": false} {
			t.Run(kind+"/"+answer, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := witnesses(t)
					w.mute = true
					set(&w.cfg)
					w.cfg.Heartbeat = answered(keepAlive)
					var redials atomic.Int64
					w.cfg.Redial = func(error, int) time.Duration { redials.Add(1); return 0 }
					gone := w.ends()
					p := pool(t, w.cfg)
					c := acquire(t, p)
					time.Sleep(4400 * ms)
					write(t, c, "x")
					w.send(0, frame(websocket.TextMessage, "x"))
					read(t, c, "x")
					for p.Stats().Heartbeats == 0 {
						time.Sleep(ms)
					}
					w.send(0, frame(websocket.TextMessage, answer))
					synctest.Wait()
					c.Release()
					synctest.Wait()
					if clean {
						none(t, gone)
						if s := p.Stats(); s.Idle != 1 || s.Unsolicited != 0 || s.Tainted != 0 {
							t.Errorf("%v", s)
						}
						return
					}
					if e := next(t, "end", gone); !errors.Is(e.cause, wspool.ErrUnread) || redials.Load() != 0 {
						t.Errorf("destroyed with %v; %d redials", e.cause, redials.Load())
					}
					if s := p.Stats(); s.Tainted != 1 {
						t.Errorf("%v", s)
					}
				})
			})
		}
	}
}

// Where the answer does not come within PongWait the connection is dead, though
// pings are answered, and whatever a lease does.
func TestHeartbeatUnanswered(t *testing.T) {
	for _, state := range []string{"idle", "thinking", "reading", "pending", "open"} {
		t.Run(state, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := witnesses(t)
				w.mute = true
				w.cfg.PongWait = 2 * time.Second
				w.cfg.KeepAlive = time.Second
				w.cfg.Heartbeat = answered(keepAlive)
				w.cfg.Exchange = wspool.Unpaired
				gone := w.ends()
				p := pool(t, w.cfg)
				c := acquire(t, p)
				defer c.Release()
				switch state {
				case "idle":
					c.Release()
				case "reading":
					read := make(chan error, 1)
					go func() { _, _, err := c.ReadMessage(t.Context()); read <- err }()
					defer func() {
						if err := next(t, "error", read); !errors.Is(err, wspool.ErrSilent) {
							t.Errorf("ReadMessage: %v", err)
						}
					}()
				case "pending", "open": // the answer is behind a message that waits
					time.Sleep(4400 * ms)
					w.send(0, frame(websocket.TextMessage, "news"))
					if state == "open" {
						if _, _, err := c.NextReader(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
					time.Sleep(time.Minute)
					if s := p.Stats(); s.Silent != 0 || s.Heartbeats == 0 {
						t.Errorf("%v", s)
					}
					return
				}
				for p.Stats().Silent == 0 && w.now() < time.Minute {
					time.Sleep(10 * ms)
				}
				beats := w.saw("message alive?")
				if len(beats) == 0 {
					t.Fatal("no heartbeat")
				}
				if took := w.now() - beats[0]; took < 2*time.Second || took > 2200*ms {
					t.Errorf("dead %v after the heartbeat", took)
				}
				c.Release()
				if e := next(t, "end", gone); !errors.Is(e.cause, wspool.ErrSilent) {
					t.Errorf("ended with %v", e.cause)
				}
			})
		})
	}
}

// Several that are missing at once do not end the connection as long as answers
// come.
func TestHeartbeatLateAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		peer := listenMem(t, 64<<10, onEach(func(ws *websocket.Conn, kind int, p []byte) {
			time.AfterFunc(8*time.Second, func() { mu.Lock(); defer mu.Unlock(); ws.WriteMessage(kind, p) })
		}))
		peer.cfg.Heartbeat = answered(keepAlive)
		peer.cfg.Heartbeat.Every = time.Second
		p := pool(t, peer.cfg)
		warm(t, p, 1)
		time.Sleep(2 * time.Minute)
		if s := p.Stats(); s.Heartbeats < 120 || s.Made != 1 || s.Unsolicited != 0 {
			t.Errorf("%v", s)
		}
	})
}

// A message that is longer than an answer may be reaches the lease whole, also
// while an answer is missing.
func TestHeartbeatBesideLongMessage(t *testing.T) {
	for _, compress := range []bool{false, true} {
		t.Run(fmt.Sprint(compress), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				long := bytes.Repeat([]byte("0123456789abcdef"), wspool.MaxHeartbeatAnswer/16+1)
				peer := listenMem(t, 4<<10, nil)
				peer.upgrader.EnableCompression = compress
				peer.serve = onEach(func(ws *websocket.Conn, kind int, p []byte) {
					if string(p) != "alive?" {
						return
					}
					ws.WriteMessage(kind, long)
					ws.WriteMessage(kind, long[:wspool.MaxHeartbeatAnswer])
					ws.WriteMessage(kind, p)
					ws.WriteMessage(kind, []byte("end"))
				})
				peer.cfg.Compression = compress
				peer.cfg.Heartbeat = answered(keepAlive)
				p := pool(t, peer.cfg)
				c := acquire(t, p)
				write(t, c, "question")
				for _, want := range [][]byte{long, long[:wspool.MaxHeartbeatAnswer], []byte("end")} {
					if _, got, err := c.ReadMessage(t.Context()); err != nil || !bytes.Equal(got, want) {
						t.Fatalf("%d bytes, want %d, %v", len(got), len(want), err)
					}
				}
				c.Release()
				if s := p.Stats(); s.Idle != 1 || s.Tainted != 0 {
					t.Errorf("%v", s)
				}
			})
		})
	}
}

// A panic in New or Expect costs its connection and nothing else.
func TestHeartbeatFunctions(t *testing.T) {
	type hb = wspool.Heartbeat
	for name, h := range map[string]hb{
		"Heartbeat.New did not return: resource: panic in Heartbeat.New: on purpose": {New: func() wspool.Message { panic("on purpose") }},
		"Heartbeat.New did not return: resource: function ended":                     {New: func() wspool.Message { runtime.Goexit(); return wspool.Message{} }},
		"Heartbeat.New: 9 is not the type":                                           {New: func() wspool.Message { return wspool.Message{Type: websocket.PingMessage} }},
		"Heartbeat.New: wspool: text message is not":                                 {New: func() wspool.Message { return wspool.Message{Type: websocket.TextMessage, Data: []byte{0xff}} }},
		"Heartbeat.Expect did not return: resource: panic in Heartbeat.Expect: on":   {Message: keepAlive.Message, Expect: func(wspool.Message) bool { panic("on purpose2") }},
		"Heartbeat.Expect did not return: resource: function ended":                  {Message: keepAlive.Message, Expect: func(wspool.Message) bool { runtime.Goexit(); return true }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := witnesses(t)
				h.Every = time.Second
				w.cfg.Heartbeat, w.cfg.CheckUTF8, w.cfg.Redial = h, strings.Contains(name, "text message"), atOnce
				gone := w.ends()
				p := pool(t, w.cfg)
				warm(t, p, 1)
				time.Sleep(1100 * ms)
				if e := next(t, "end", gone); e.cause == nil || !strings.Contains(e.cause.Error(), name) {
					t.Errorf("ended with %v", e.cause)
				}
				use(t, p)
			})
		})
	}
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		n := 0
		w.cfg.Heartbeat = hb{
			Every: time.Second,
			New: func() wspool.Message {
				n++
				return wspool.Message{Type: websocket.BinaryMessage, Data: fmt.Append(nil, n)}
			},
			Expect: func(m wspool.Message) bool {
				return m.Type == websocket.BinaryMessage && string(m.Data) == fmt.Sprint(n)
			},
		}
		p := pool(t, w.cfg)
		warm(t, p, 1)
		time.Sleep(10500 * ms)
		if s := p.Stats(); len(w.saw("message 10")) != 1 || s.Made != 1 || s.Unsolicited != 0 {
			t.Errorf("%v", s)
		}
	})
}

// A hijacker has the connection without heartbeats.
func TestHeartbeatHijacked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.cfg.Heartbeat = keepAlive
		w.mute = true
		p := pool(t, w.cfg)
		c := acquire(t, p)
		time.Sleep(6 * time.Second)
		ws, ok := c.Hijack()
		if !ok {
			t.Fatal("not hijacked")
		}
		before := len(w.saw("message alive?"))
		time.Sleep(time.Minute)
		if n := len(w.saw("message alive?")); before != 1 || n != before {
			t.Errorf("%d heartbeats before, %d after", before, n)
		}
		ws.Close()
	})
}

// A bad Heartbeat is named.
func TestHeartbeatConfig(t *testing.T) {
	text := wspool.Message{Type: websocket.TextMessage, Data: []byte("x")}
	f := func() wspool.Message { return text }
	for want, h := range map[string]wspool.Heartbeat{
		"Heartbeat.Every must be 0 or at least 10ms, got -1ns":               {Every: -1, Message: text},
		"Heartbeat.Every must be 0 or at least 10ms, got 1ms":                {Every: ms, Message: text},
		"other fields are set":                                               {Message: text},
		"Heartbeat.Message.Type must be TextMessage or BinaryMessage, got 0": {Every: time.Second},
		"Heartbeat.Message.Type must be TextMessage or BinaryMessage, got 9": {Every: time.Second, Message: wspool.Message{Type: websocket.PingMessage}},
		"Heartbeat has both":                                                 {Every: time.Second, Message: text, New: f},
		"Heartbeat.Message is a text that is":                                {Every: time.Second, Message: wspool.Message{Type: websocket.TextMessage, Data: []byte{0xff}}},
	} {
		if _, err := wspool.New(wspool.Config{URL: "ws://host", MaxSize: 1, Heartbeat: h}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", h, err, want)
		}
	}
}

// On real sockets, with TLS and without, many leases beside many heartbeats: no
// answer reaches a lease and none is missed.
func TestHeartbeatStress(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint(secure), func(t *testing.T) {
			peer := listen(t, secure, echo)
			peer.cfg.Heartbeat = answered(keepAlive)
			peer.cfg.Heartbeat.Every = wspool.MinHeartbeat
			peer.cfg.Redial = atOnce
			peer.cfg.WatchAfter = ms
			p := pool(t, peer.cfg)
			var all sync.WaitGroup
			for g := range 6 {
				all.Go(func() {
					for i := range 60 {
						c := acquire(t, p)
						for j := range i % 3 {
							s := fmt.Sprintf("%d of %d of %d", j, i, g)
							write(t, c, s)
							if i%5 == 0 {
								time.Sleep(7 * ms) // longer than some heartbeats apart
							}
							read(t, c, s)
							if i%7 == 0 {
								time.Sleep(11 * ms) // a hold that heartbeats fall into
							}
						}
						c.Release()
					}
				})
			}
			all.Wait()
			if s := p.Stats(); s.Unsolicited != 0 || s.Silent != 0 || s.Destroyed != s.Tainted {
				t.Errorf("%v", s)
			}
		})
	}
}

// A check that only writes expects no reply; one that reads has to keep to
// Exchange.
func TestHealthWrites(t *testing.T) {
	send := func(ctx context.Context, c *wspool.Conn) error {
		return c.WriteMessage(ctx, websocket.TextMessage, []byte(`{"type":"KeepAlive"}`))
	}
	for name, tc := range map[string]struct {
		check checkFunc
		clean bool
	}{
		"writes":       {send, true},
		"writes twice": {func(ctx context.Context, c *wspool.Conn) error { return errors.Join(send(ctx, c), send(ctx, c)) }, true},
		"asks": {func(ctx context.Context, c *wspool.Conn) error {
			return question(ctx, c)
		}, true},
		"asks, and writes": {func(ctx context.Context, c *wspool.Conn) error {
			return errors.Join(question(ctx, c), send(ctx, c))
		}, false},
		"gives up": {func(ctx context.Context, c *wspool.Conn) error {
			ctx, cancel := context.WithTimeout(ctx, 100*ms)
			defer cancel()
			send(ctx, c)
			c.ReadMessage(ctx)
			return nil
		}, false},
	} {
		for exname, ex := range map[string]wspool.Exchange{"last": wspool.ReplyLast, "each": wspool.ReplyEach} {
			t.Run(name+"/"+exname, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					peer := listenMem(t, 4096, onEach(func(ws *websocket.Conn, kind int, p []byte) {
						if !strings.Contains(string(p), "KeepAlive") {
							ws.WriteMessage(kind, p)
						}
					}))
					peer.cfg.Exchange = ex
					peer.cfg.SweepInterval = time.Second
					var checks atomic.Int64
					peer.cfg.Health = checkFunc(func(ctx context.Context, c *wspool.Conn) error {
						checks.Add(1)
						if i := c.Info(); i.ID == 0 {
							t.Errorf("no ID: %+v", i)
						}
						return tc.check(ctx, c)
					})
					peer.cfg.Redial = atOnce
					p := pool(t, peer.cfg)
					for range 3 {
						c, err := p.Acquire(t.Context())
						if err != nil {
							if tc.clean || !errors.Is(err, wspool.ErrUnread) {
								t.Fatal(err)
							}
							continue
						}
						ask(t, c, "x")
						c.Release()
						time.Sleep(3 * time.Second)
					}
					if s := p.Stats(); checks.Load() == 0 || (s.Made == 1) != tc.clean {
						t.Errorf("%d checks; %v", checks.Load(), s)
					}
				})
			})
		}
	}
}

// The answer to a heartbeat is held to CheckUTF8 as every text of the peer's.
func TestHeartbeat_NotUTF8(t *testing.T) {
	bubble(t, func(t *testing.T) {
		peer := listenMem(t, 4096, onEach(func(ws *websocket.Conn, _ int, _ []byte) {
			ws.WriteMessage(websocket.TextMessage, []byte{0xe4, 0xb8})
		}))
		ended := make(chan error, 1)
		peer.cfg.MaxSize, peer.cfg.Redial, peer.cfg.CheckUTF8 = 1, atOnce, true
		peer.cfg.Trace = &resource.Trace{Destroyed: func(e resource.DestroyEvent) { ended <- e.Cause }}
		peer.cfg.Heartbeat = wspool.Heartbeat{
			Every: time.Second, Message: wspool.Message{Type: websocket.BinaryMessage, Data: []byte("beat")},
			Expect: func(wspool.Message) bool { t.Error("Expect was given it"); return true },
		}
		c := acquire(t, pool(t, peer.cfg))
		time.Sleep(2 * time.Second)
		c.Release()
		if cause := next(t, "end", ended); !errors.Is(cause, wspool.ErrNotUTF8) {
			t.Errorf("ended with %v", cause)
		}
	})
}
