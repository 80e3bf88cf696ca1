package wspool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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

// The result of OnUnsolicited is obeyed: for messages while the connection has no
// lease, and before its lease has written anything.
func TestOnUnsolicited(t *testing.T) {
	broken := errors.New("broken")
	type answer = func(ctx context.Context, m wspool.Message) (*wspool.Message, error)
	reply := func(kind int) answer {
		return func(_ context.Context, m wspool.Message) (*wspool.Message, error) {
			if m.Type != websocket.TextMessage || string(m.Data) != "2" {
				return nil, errors.New("another message")
			}
			return &wspool.Message{Type: kind, Data: []byte("3")}, nil
		}
	}
	for _, tc := range []struct {
		name    string
		handle  answer
		is      func(error) bool // nil: it stays open
		answers int
	}{
		{"none", nil, func(err error) bool { return errors.Is(err, wspool.ErrUnsolicited) }, 0},
		{"drop", wspool.DropUnsolicited, nil, 0},
		{"answer", reply(websocket.TextMessage), nil, 1},
		{"wrong type", reply(websocket.PingMessage),
			func(err error) bool { return strings.Contains(err.Error(), "OnUnsolicited: answer: 9 is not") }, 0},
		{"error", func(context.Context, wspool.Message) (*wspool.Message, error) { return nil, broken },
			func(err error) bool { return errors.Is(err, broken) }, 0},
		{"panic", func(context.Context, wspool.Message) (*wspool.Message, error) { panic("on purpose") },
			func(err error) bool { return strings.Contains(err.Error(), "on purpose") }, 0},
		{"goexit", func(context.Context, wspool.Message) (*wspool.Message, error) { runtime.Goexit(); return nil, nil },
			func(err error) bool { return strings.Contains(err.Error(), "did not return") }, 0},
		{"until ctx ends", func(ctx context.Context, _ wspool.Message) (*wspool.Message, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }, 0},
	} {
		for _, when := range []string{"idle", "hot", "leased", "thinking"} {
			t.Run(tc.name+"/"+when, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := witnesses(t)
					w.mute = true
					w.cfg.OnUnsolicited = tc.handle
					w.cfg.WriteTimeout = time.Second
					gone := w.ends()
					p := pool(t, w.cfg)
					c := acquire(t, p)
					id := c.Info().ID
					if when == "idle" || when == "hot" {
						c.Release()
					}
					if when == "idle" || when == "thinking" {
						time.Sleep(1500 * ms)
					}
					w.send(0, frame(websocket.TextMessage, "2"))
					if when == "thinking" {
						synctest.Wait() // no socket: what has come in is known once it is read
					}
					if when == "idle" || when == "hot" {
						time.Sleep(1500 * ms)
						c = acquire(t, p)
					}
					err := c.WriteMessage(t.Context(), websocket.TextMessage, []byte("q"))
					if tc.is == nil {
						if err != nil {
							t.Fatal(err)
						}
						w.send(0, frame(websocket.TextMessage, "a"))
						read(t, c, "a")
						c.Release()
						none(t, gone)
					} else {
						if when == "leased" || when == "thinking" {
							if err == nil || !tc.is(err) || errors.Is(err, wspool.ErrStale) {
								t.Errorf("the lease's write: %v", err)
							}
						}
						c.Discard(nil)
						if e := next(t, "end", gone); e.id != id || e.cause == nil {
							t.Errorf("%d ended with %v", e.id, e.cause)
						}
					}
					if n := len(w.saw("message 3")); n != tc.answers {
						t.Errorf("%d answers, want %d", n, tc.answers)
					}
					if s := p.Stats(); s.Unsolicited != 1 {
						t.Errorf("%v", s)
					}
				})
			})
		}
	}
}

// A heartbeat of messages, such as engine.io's, is kept up on many connections
// without any lease, and does not disturb those with one.
func TestHeartbeat(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.cfg.OnUnsolicited = func(_ context.Context, m wspool.Message) (*wspool.Message, error) {
			if string(m.Data) != "2" {
				return nil, errors.New("another message")
			}
			return &wspool.Message{Type: m.Type, Data: []byte("3")}, nil
		}
		gone := w.ends()
		w.mute = true
		p := pool(t, w.cfg)
		warm(t, p, 3)
		time.Sleep(time.Second)
		for i := range 100 {
			w.send(i%3, frame(websocket.TextMessage, "2"))
			if n := len(w.saw("message 3")); n != i+1 {
				t.Fatalf("%d answers to %d", n, i+1)
			}
			time.Sleep(2 * time.Second)
		}
		none(t, gone)
	})
}

// More in a minute than UnsolicitedLimit is a flood; the minutes are counted
// from the first message.
func TestFlood(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.cfg.OnUnsolicited = wspool.DropUnsolicited
		w.cfg.UnsolicitedLimit = 5
		gone := w.ends()
		warm(t, pool(t, w.cfg), 1)
		time.Sleep(time.Second)
		for range 3 { // minutes
			for range 5 {
				w.send(0, frame(websocket.BinaryMessage, "news"))
				time.Sleep(12 * time.Second)
			}
		}
		for range 6 {
			none(t, gone)
			w.send(0, frame(websocket.BinaryMessage, "news"))
			time.Sleep(time.Second)
		}
		e := next(t, "end", gone)
		if !errors.Is(e.cause, wspool.ErrFlooded) || e.at != w.now()-time.Second {
			t.Errorf("ended at %v with %v", e.at, e.cause)
		}
	})
}

// With Unpaired a message during a lease is the lease's, before its first write
// too; one outside of a lease is OnUnsolicited's.
func TestUnpaired(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		strays := 0
		w.cfg.Exchange = wspool.Unpaired
		w.cfg.OnUnsolicited = func(context.Context, wspool.Message) (*wspool.Message, error) {
			strays++
			return nil, nil
		}
		p := pool(t, w.cfg)
		c := acquire(t, p)
		w.send(0, frame(websocket.TextMessage, "event"))
		read(t, c, "event")
		c.Release()
		for _, idle := range []time.Duration{0, ms, time.Second} {
			time.Sleep(idle)
			w.send(0, frame(websocket.TextMessage, "stray"))
			synctest.Wait()
			c = acquire(t, p)
			w.send(0, frame(websocket.TextMessage, "mine"))
			read(t, c, "mine")
			c.Release()
		}
		if s := p.Stats(); strays != 3 || s.Made != 1 || s.Tainted != 0 {
			t.Errorf("%d strays; %v", strays, s)
		}
	})
}

// A stray message over ReadLimit ends the connection like any other.
func TestStrayOverLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.cfg.OnUnsolicited = wspool.DropUnsolicited
		w.cfg.ReadLimit = 10
		gone := w.ends()
		warm(t, pool(t, w.cfg), 1)
		time.Sleep(time.Second)
		w.send(0, frame(websocket.TextMessage, strings.Repeat("x", 11)))
		if e := next(t, "end", gone); !errors.Is(e.cause, wspool.ErrReadLimit) || errors.Is(e.cause, io.EOF) {
			t.Errorf("ended with %v", e.cause)
		}
	})
}

// The end of a connection does not wait for a handler that waits for its context.
func TestHandlerEndsWithConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.cfg.WriteTimeout = time.Hour
		began := make(chan bool, 1)
		w.cfg.OnUnsolicited = func(ctx context.Context, _ wspool.Message) (*wspool.Message, error) {
			began <- true
			<-ctx.Done()
			return nil, ctx.Err()
		}
		gone := w.ends()
		p := pool(t, w.cfg)
		warm(t, p, 1)
		time.Sleep(time.Second)
		w.send(0, frame(websocket.TextMessage, "event"))
		next(t, "call", began)
		reset := w.now()
		p.Reset(nil)
		next(t, "end", gone)
		if took := w.now() - reset; took > wspool.DefaultCloseTimeout {
			t.Errorf("the end took %v", took)
		}
	})
}

// A ping of the application's protocol that lies behind the reply when the lease
// ends is answered, and does not cost the connection. Only an answer saves it: what
// OnUnsolicited drops may be a part of the reply.
func TestPingAtRelease(t *testing.T) {
	type message = wspool.Message
	drop, broken := wspool.DropUnsolicited, errors.New("broken")
	for _, tc := range []struct {
		name   string
		ex     wspool.Exchange
		script string // w: write, r: read the reply
		behind []byte
		handle func(context.Context, message) (*message, error)
		is     error // nil: it stays open
		asked  int   // how often OnUnsolicited was
	}{
		{"ping", wspool.ReplyLast, "wr", frame(websocket.TextMessage, "2"), pingOnly, nil, 1},
		{"ping/each", wspool.ReplyEach, "wr", frame(websocket.TextMessage, "2"), pingOnly, nil, 1},
		{"ping/none", wspool.Unpaired, "wr", frame(websocket.TextMessage, "2"), pingOnly, nil, 1},
		{"pings", wspool.ReplyLast, "wr", append(frame(websocket.TextMessage, "2"), frame(websocket.TextMessage, "2")...), pingOnly, nil, 2},
		{"no handler", wspool.ReplyLast, "wr", frame(websocket.TextMessage, "2"), nil, wspool.ErrUnread, 0},
		{"dropped", wspool.ReplyLast, "wr", frame(websocket.TextMessage, "2"), drop, wspool.ErrUnread, 1},
		{"refused", wspool.ReplyLast, "wr", frame(websocket.TextMessage, "rest"),
			func(context.Context, message) (*message, error) { return nil, broken }, broken, 1},
		{"ping and rest", wspool.ReplyLast, "wr", append(frame(websocket.TextMessage, "2"), frame(websocket.TextMessage, "rest")...),
			func(ctx context.Context, m message) (*message, error) { a, _ := pingOnly(ctx, m); return a, nil }, wspool.ErrUnread, 2},
		{"half a ping", wspool.ReplyLast, "wr", frame(websocket.TextMessage, "2")[:2], pingOnly, wspool.ErrUnread, 0},
		{"no reply read", wspool.ReplyLast, "w", frame(websocket.TextMessage, "2"), pingOnly, wspool.ErrUnread, 0},
		{"one reply missing", wspool.ReplyEach, "wwr", frame(websocket.TextMessage, "2"), pingOnly, wspool.ErrUnread, 0},
	} {
		for kind, set := range map[string]func(*wspool.Config){
			"hot":     func(*wspool.Config) {},
			"pending": func(*wspool.Config) {}, // a watcher has found it
			"opaque":  opaque,
		} {
			t.Run(tc.name+"/"+kind, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := witnesses(t)
					w.mute = true
					set(&w.cfg)
					var asked, redials atomic.Int64
					if tc.handle != nil {
						w.cfg.OnUnsolicited = func(ctx context.Context, m message) (*message, error) {
							asked.Add(1)
							return tc.handle(ctx, m)
						}
					}
					w.cfg.Exchange = tc.ex
					w.cfg.Redial = func(error, int) time.Duration { redials.Add(1); return 0 }
					gone := w.ends()
					p := pool(t, w.cfg)
					c := acquire(t, p)
					for _, b := range tc.script {
						if b == 'w' {
							write(t, c, "question")
							continue
						}
						w.send(0, frame(websocket.TextMessage, "reply"))
						read(t, c, "reply")
					}
					if kind != "hot" {
						time.Sleep(time.Second) // a lease that thinks is watched
					}
					w.send(0, tc.behind)
					time.Sleep(50 * ms)
					c.Release()
					synctest.Wait()
					if n := asked.Load(); n != int64(tc.asked) {
						t.Errorf("OnUnsolicited was asked %d times, want %d", n, tc.asked)
					}
					if tc.is != nil {
						if e := next(t, "end", gone); !errors.Is(e.cause, tc.is) || errors.Is(tc.is, wspool.ErrUnread) && redials.Load() != 0 {
							t.Errorf("ended with %v, %d redials", e.cause, redials.Load())
						}
						if s := p.Stats(); errors.Is(tc.is, wspool.ErrUnread) && s.Tainted != 1 {
							t.Errorf("%v", s)
						}
						return
					}
					none(t, gone)
					if n := len(w.saw("message 3")); n != tc.asked {
						t.Errorf("%d answers, want %d", n, tc.asked)
					}
					c = acquire(t, p)
					write(t, c, "another")
					w.send(0, frame(websocket.TextMessage, "reply"))
					read(t, c, "reply")
					c.Release()
					if s := p.Stats(); s.Made != 1 || s.Tainted != 0 {
						t.Errorf("%v", s)
					}
				})
			})
		}
	}
}

// A lease that comes while the ping of the one before is being answered waits for
// that.
func TestPingAtReleaseBeforeLease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.mute = true
		w.cfg.MaxSize = 1
		w.cfg.OnUnsolicited = func(ctx context.Context, m wspool.Message) (*wspool.Message, error) {
			time.Sleep(500 * ms)
			return pingOnly(ctx, m)
		}
		p := pool(t, w.cfg)
		c := acquire(t, p)
		write(t, c, "question")
		w.send(0, append(frame(websocket.TextMessage, "reply"), frame(websocket.TextMessage, "2")...))
		read(t, c, "reply")
		synctest.Wait()
		c.Release()
		began := time.Now()
		c = acquire(t, p)
		if took := time.Since(began); took != 500*ms {
			t.Errorf("lent after %v", took)
		}
		write(t, c, "question")
		w.send(0, frame(websocket.TextMessage, "reply"))
		read(t, c, "reply")
		c.Release()
		if s := p.Stats(); s.Made != 1 || len(w.saw("message 3")) != 1 {
			t.Errorf("%v", s)
		}
	})
}

// A release does not destroy a connection on which a pong is just being sent, and neither does the
// end of OnConnect.
func TestRelease_BesidePong(t *testing.T) {
	for name, once := range map[string]func(*testing.T, *wspool.Pool){
		"lease": func(t *testing.T, p *wspool.Pool) { use(t, p) },
		"exchange": func(t *testing.T, p *wspool.Pool) {
			if _, _, err := p.Exchange(t.Context(), websocket.TextMessage, []byte("x")); err != nil {
				t.Fatal(err)
			}
		},
		"dial": func(t *testing.T, p *wspool.Pool) { acquire(t, p).Discard(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			peer := listen(t, true, func(ws *websocket.Conn) {
				for {
					kind, m, err := ws.ReadMessage()
					if err != nil || ws.WriteControl(websocket.PingMessage, nil, deadline()) != nil || ws.WriteMessage(kind, m) != nil {
						return
					}
				}
			})
			peer.cfg.OnUnsolicited, peer.cfg.ControlLimit = wspool.DropUnsolicited, 1<<30
			times := 1000
			if name == "dial" {
				peer.cfg.OnConnect, times = exchange, 100
			}
			p := pool(t, peer.cfg)
			for range times {
				once(t, p)
			}
			if s := p.Stats(); name != "dial" && s.Destroyed != 0 || s.Failed != 0 || s.Tainted != 0 {
				t.Errorf("%v", s)
			}
		})
	}
}

// A server that pings behind replies, as engine.io's timer does, on real sockets:
// no connection is lost, every ping is answered, and no lease reads one.
func TestPingsBehindReplies(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint(secure), func(t *testing.T) {
			var pings, pongs atomic.Int64
			peer := listen(t, secure, func(ws *websocket.Conn) {
				for n := 0; ; n++ {
					_, p, err := ws.ReadMessage()
					if err != nil {
						return
					}
					if string(p) == "3" {
						pongs.Add(1)
						n--
						continue
					}
					out := frame(websocket.TextMessage, string(p))
					if n%2 == 0 {
						pings.Add(1)
						out = append(out, frame(websocket.TextMessage, "2")...)
					}
					ws.NetConn().Write(out)
				}
			})
			peer.cfg.OnUnsolicited, peer.cfg.UnsolicitedLimit = pingOnly, 1_000_000
			p := pool(t, peer.cfg)
			var all sync.WaitGroup
			for g := range 4 {
				all.Go(func() {
					for i := range 160 {
						c := acquire(t, p)
						ask(t, c, fmt.Sprintf("%d of %d", i, g))
						c.Release()
					}
				})
			}
			all.Wait()
			for end := deadline(); pongs.Load() < pings.Load() && time.Now().Before(end); {
				time.Sleep(ms) // a poll with a bound
			}
			if s := p.Stats(); s.Made > 4 || s.Destroyed != 0 || s.Tainted != 0 || pings.Load() != pongs.Load() {
				t.Errorf("%v; %d pings, %d pongs", s, pings.Load(), pongs.Load())
			}
		})
	}
}

// greets is a peer that greets after a while, and then sends everything back.
func greets(after time.Duration) func(*websocket.Conn) {
	return func(ws *websocket.Conn) {
		time.Sleep(after) // how late the server greets
		if ws.WriteMessage(websocket.TextMessage, []byte("welcome")) == nil {
			echo(ws)
		}
	}
}

// A server that speaks first, whenever it does: its greeting is OnConnect's, or
// dropped, and no lease takes it for an answer.
func TestGreeting(t *testing.T) {
	for _, after := range []time.Duration{0, 5 * ms, 60 * ms, 3 * time.Second} {
		for kind, set := range map[string]func(*wspool.Config){"plain": func(*wspool.Config) {}, "opaque": opaque} {
			for _, hook := range []bool{false, true} {
				t.Run(fmt.Sprint(after, kind, hook), func(t *testing.T) {
					bubble(t, func(t *testing.T) {
						peer := listenMem(t, 4096, greets(after))
						set(&peer.cfg)
						peer.cfg.Greeting = true
						seen := make(chan string, 10)
						if hook {
							peer.cfg.OnConnect = func(_ context.Context, c *wspool.Conn) error {
								m, ok := c.Greeting()
								if !ok || m.Type != websocket.TextMessage {
									t.Errorf("%v, %v", m, ok)
								}
								seen <- string(m.Data)
								return nil
							}
						}
						p := pool(t, peer.cfg)
						for range 3 {
							c := acquire(t, p)
							if _, ok := c.Greeting(); ok {
								t.Error("a lease has a greeting")
							}
							ask(t, c, "x")
							c.Release()
						}
						if hook && next(t, "greeting", seen) != "welcome" {
							t.Error("another greeting")
						}
						if s := p.Stats(); s.Made != 1 || s.Unsolicited != 0 {
							t.Errorf("%v", s)
						}
					})
				})
			}
		}
	}
}

// A greeting that does not arrive within DialTimeout fails the dial, and so does
// another message in its place.
func TestGreetingMissing(t *testing.T) {
	for name, tc := range map[string]struct {
		serve func(*websocket.Conn)
		is    func(error) bool
	}{
		"silence": {echo, func(err error) bool { return errors.Is(err, resource.ErrMakeTimeout) }},
		"close":   {func(*websocket.Conn) {}, func(err error) bool { return errors.As(err, new(*wspool.CloseError)) }},
		"two": {func(ws *websocket.Conn) {
			ws.NetConn().Write(append(frame(websocket.TextMessage, "one"), frame(websocket.TextMessage, "two")...))
			drain(ws)
		}, func(err error) bool {
			return errors.Is(err, wspool.ErrUnread) && strings.Contains(err.Error(), "after the greeting")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				peer := listenMem(t, 4096, tc.serve)
				peer.cfg.Greeting, peer.cfg.DialTimeout = true, 2*time.Second
				p := pool(t, peer.cfg)
				began := time.Now()
				_, err := p.Acquire(t.Context())
				var de *wspool.DialError
				if !errors.As(err, &de) || de.Phase != "greeting" || !tc.is(err) || time.Since(began) > 10*time.Second {
					t.Errorf("%v after %v", err, time.Since(began))
				}
			})
		})
	}
}

// greetAtOnce answers the handshake and greets, in one piece.
func greetAtOnce(w http.ResponseWriter, r *http.Request) bool {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return true
	}
	defer c.Close()
	head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		acceptKey(r) + "\r\n\r\n"
	c.Write(append([]byte(head), frame(websocket.TextMessage, "welcome")...))
	c.Read(make([]byte, 100)) // it has had enough
	return true
}

// Where a server greets and Config does not say so, the error says what to set.
func TestGreetingHint(t *testing.T) {
	hints := func(t *testing.T, err error) {
		t.Helper()
		if !errors.Is(err, wspool.ErrUnsolicited) || !strings.Contains(err.Error(), "Config.Greeting") || !strings.Contains(err.Error(), "OnConnect") {
			t.Errorf("%v", err)
		}
	}
	for _, secure := range []bool{false, true} {
		peer := listen(t, secure, nil)
		peer.refuse = greetAtOnce
		_, err := pool(t, peer.cfg).Acquire(t.Context())
		var de *wspool.DialError
		if !errors.As(err, &de) || de.Phase != "handshake" {
			t.Errorf("%v", err)
		}
		hints(t, err)
		peer.cfg.Greeting = true
		c := acquire(t, pool(t, peer.cfg))
		c.Release()
	}
	bubble(t, func(t *testing.T) { // it comes when the dial is over
		peer := listenMem(t, 4096, greets(50*ms))
		gone := ends(&peer.cfg)
		warm(t, pool(t, peer.cfg), 1)
		hints(t, next(t, "end", gone).Cause)
	})
	bubble(t, func(t *testing.T) { // a connection that has served is another matter
		w := witnesses(t)
		gone := w.ends()
		p := pool(t, w.cfg)
		use(t, p)
		time.Sleep(time.Second)
		w.send(0, frame(websocket.TextMessage, "late"))
		synctest.Wait()
		if e := next(t, "end", gone); !errors.Is(e.cause, wspool.ErrUnsolicited) || strings.Contains(e.cause.Error(), "Greeting") {
			t.Errorf("%v", e.cause)
		}
	})
}

// A message that came in during a lease that has written nothing belongs to no
// lease: at its end the connection is kept and OnUnsolicited gets the message,
// whether it has come whole or in part, and in whatever mode the connection is
// then.
func TestRelease_MessageOfNoLease(t *testing.T) {
	whole := frame(websocket.TextMessage, "news")
	for name, first := range map[string]int{"whole": len(whole), "in part": 3, "one byte": 1} {
		for variant, set := range map[string]func(*wspool.Config){
			"hot":     func(*wspool.Config) {},
			"watched": func(cfg *wspool.Config) { cfg.WatchAfter = -1 },
			"opaque":  opaque,
		} {
			t.Run(name+"/"+variant, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := witnesses(t)
					set(&w.cfg)
					var got []string
					w.cfg.OnUnsolicited = func(_ context.Context, m wspool.Message) (*wspool.Message, error) {
						got = append(got, string(m.Data))
						return nil, nil
					}
					p := pool(t, w.cfg)
					c := acquire(t, p)
					w.send(0, whole[:first])
					c.Release()
					w.send(0, whole[first:])
					synctest.Wait()
					c = acquire(t, p)
					if !c.Reused() {
						t.Error("the connection was not kept")
					}
					ask(t, c, "x")
					c.Release()
					if s := p.Stats(); len(got) != 1 || got[0] != "news" || s.Unsolicited != 1 || s.Tainted != 0 {
						t.Errorf("OnUnsolicited got %q; %v", got, s)
					}
				})
			})
		}
	}
}

// Without OnUnsolicited such a message ends the connection, and the cause says that
// it was unsolicited, not that its lease left it unread.
func TestRelease_MessageOfNoLeaseEnds(t *testing.T) {
	whole := frame(websocket.TextMessage, "news")
	for name, first := range map[string]int{"whole": len(whole), "in part": 3} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := witnesses(t)
				gone := w.ends()
				p := pool(t, w.cfg)
				c := acquire(t, p)
				w.send(0, whole[:first])
				c.Release()
				w.send(0, whole[first:])
				if e := next(t, "end", gone); !errors.Is(e.cause, wspool.ErrUnsolicited) {
					t.Errorf("destroyed with %v", e.cause)
				}
			})
		})
	}
}

// Settings that are right alone, together.

// A reply in parts, of which the lease reads the first and leaves the second in the
// socket: though OnUnsolicited drops messages, the third does not pass for the
// answer to the next lease.
func TestTrailing_PartOfAReply(t *testing.T) {
	for name, exchange := range map[string]wspool.Exchange{"last": wspool.ReplyLast, "each": wspool.ReplyEach} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := listenMem(t, 4096, onEach(func(ws *websocket.Conn, _ int, b []byte) {
					for part, pause := range []time.Duration{0, ms, 10 * ms} {
						time.Sleep(pause)
						ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "%s part %d", b, part))
					}
				}))
				p.cfg.MaxSize, p.cfg.Redial, p.cfg.Exchange, p.cfg.OnUnsolicited = 1, atOnce, exchange, wspool.DropUnsolicited
				pool := pool(t, p.cfg)
				for i := range 20 {
					c := acquire(t, pool)
					write(t, c, fmt.Sprint("question ", i))
					_, got, err := c.ReadMessage(t.Context())
					if want := fmt.Sprintf("question %d part 0", i); err != nil || string(got) != want {
						t.Fatalf("got %q, %v, want %q", got, err, want)
					}
					time.Sleep(3 * ms) // the second part is there, unread
					c.Release()
					time.Sleep(ms)
				}
			})
		})
	}
}

// Part of another message came in with the answer. Its rest could come when the
// next caller has written, and pass for its answer; so the connection is not lent
// again.
func TestTornMessage(t *testing.T) {
	peer := listen(t, false, func(ws *websocket.Conn) {
		if _, _, err := ws.ReadMessage(); err != nil {
			return
		}
		late := frame(websocket.TextMessage, "late")
		ws.NetConn().Write(append(frame(websocket.TextMessage, "x"), late[0]))
		drain(ws)
	})
	gone := ends(&peer.cfg)
	c := acquire(t, pool(t, peer.cfg))
	write(t, c, "x")
	read(t, c, "x")
	c.Release()
	if e := next(t, "end", gone); !errors.Is(e.Cause, wspool.ErrUnread) {
		t.Errorf("destroyed with %v", e.Cause)
	}
}
