package wspool_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

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
		is     error // nil: it lives
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
