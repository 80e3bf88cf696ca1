package wspool_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// welcomer is a peer that greets, expects a name, and then echoes.
func welcomer(ws *websocket.Conn) {
	ws.WriteMessage(websocket.TextMessage, []byte("welcome"))
	_, name, err := ws.ReadMessage()
	if err != nil {
		return
	}
	ws.WriteMessage(websocket.TextMessage, append([]byte("hello "), name...))
	echo(ws)
}

// signIn does the client's part with a welcomer.
func signIn(ctx context.Context, c *wspool.Conn) error {
	if _, p, err := c.ReadMessage(ctx); err != nil || string(p) != "welcome" {
		return fmt.Errorf("greeting %q, %w", p, err)
	}
	if err := c.WriteMessage(ctx, websocket.TextMessage, []byte("me")); err != nil {
		return err
	}
	_, p, err := c.ReadMessage(ctx)
	if err == nil && string(p) != "hello me" {
		err = fmt.Errorf("answer %q", p)
	}
	return err
}

// OnConnect has a new connection to itself, whatever Exchange is, and its Conn
// ends with it.
func TestOnConnect(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		for name, ex := range map[string]wspool.Exchange{"last": wspool.ReplyLast, "each": wspool.ReplyEach, "none": wspool.Unpaired} {
			t.Run(name+"/"+scheme, func(t *testing.T) {
				peer := listen(t, scheme == "wss", welcomer)
				peer.cfg.Exchange = ex
				var kept *wspool.Conn
				peer.cfg.OnConnect = func(ctx context.Context, c *wspool.Conn) error {
					if i := c.Info(); c.Reused() || i.ID != 1 || i.Age <= 0 || i.Leases != 0 {
						t.Errorf("reused %v, %+v", c.Reused(), i)
					}
					kept = c
					err := signIn(ctx, c)
					if _, err := c.Ping(ctx); err != nil {
						t.Error(err)
					}
					if _, ok := c.Hijack(); ok {
						t.Error("hijacked")
					}
					return err
				}
				p := pool(t, peer.cfg)
				c := acquire(t, p)
				if _, _, err := kept.ReadMessage(t.Context()); !errors.Is(err, wspool.ErrReleased) {
					t.Errorf("ReadMessage: %v", err)
				}
				if err := kept.WriteMessage(t.Context(), websocket.TextMessage, nil); !errors.Is(err, wspool.ErrReleased) {
					t.Errorf("WriteMessage: %v", err)
				}
				kept.Discard(nil)
				ask(t, c, "x")
				c.Release()
				if s := p.Stats(); s.Idle != 1 || s.Made != 1 {
					t.Errorf("%v", s)
				}
			})
		}
	}
}

// A failure in OnConnect fails the dial, and its caller gets the error.
func TestOnConnectFails(t *testing.T) {
	broken := errors.New("broken")
	for _, tc := range []struct {
		name string
		f    func(ctx context.Context, c *wspool.Conn) error
		is   func(error) bool
	}{
		{"error", func(context.Context, *wspool.Conn) error { return broken },
			func(err error) bool { return errors.Is(err, broken) }},
		{"panic", func(context.Context, *wspool.Conn) error { panic("on purpose") },
			func(err error) bool { return strings.Contains(err.Error(), "on purpose") }},
		{"goexit", func(context.Context, *wspool.Conn) error { runtime.Goexit(); return nil },
			func(err error) bool { return err != nil }},
		{"slow", func(ctx context.Context, _ *wspool.Conn) error { <-ctx.Done(); return ctx.Err() },
			func(err error) bool { return errors.Is(err, resource.ErrMakeTimeout) }},
		{"read that waits too long", func(ctx context.Context, c *wspool.Conn) error {
			if err := signIn(ctx, c); err != nil {
				return err
			}
			_, _, err := c.ReadMessage(ctx)
			return err
		}, func(err error) bool { return errors.Is(err, resource.ErrMakeTimeout) }},
		{"message left", func(ctx context.Context, c *wspool.Conn) error {
			time.Sleep(ms)
			return nil
		}, func(err error) bool { return errors.Is(err, wspool.ErrUnread) }},
		{"answer left", func(ctx context.Context, c *wspool.Conn) error {
			err := signIn(ctx, c)
			return errors.Join(err, c.WriteMessage(ctx, websocket.TextMessage, []byte("more")), sleep(2*time.Second))
		}, func(err error) bool { return errors.Is(err, wspool.ErrUnread) }},
		{"reader left", func(ctx context.Context, c *wspool.Conn) error {
			_, _, err := c.NextReader(ctx)
			return err
		}, func(err error) bool { return errors.Is(err, wspool.ErrUnread) }},
		{"writer left", func(ctx context.Context, c *wspool.Conn) error {
			_, _, err := c.ReadMessage(ctx)
			_, werr := c.NextWriter(ctx, websocket.TextMessage)
			return errors.Join(err, werr)
		}, func(err error) bool { return errors.Is(err, wspool.ErrUnfinished) }},
		{"writer left, released", func(ctx context.Context, c *wspool.Conn) error {
			defer c.Release()
			_, _, err := c.ReadMessage(ctx)
			_, werr := c.NextWriter(ctx, websocket.TextMessage)
			return errors.Join(err, werr)
		}, func(err error) bool { return errors.Is(err, wspool.ErrUnfinished) }},
		{"discarded", func(ctx context.Context, c *wspool.Conn) error { c.Discard(broken); return nil },
			func(err error) bool { return errors.Is(err, broken) }},
		{"failed", func(ctx context.Context, c *wspool.Conn) error { c.Discard(nil); return nil },
			func(err error) bool { return err != nil }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				peer := listenMem(t, 4096, welcomer)
				peer.cfg.OnConnect = tc.f
				peer.cfg.DialTimeout = 5 * time.Second
				p := pool(t, peer.cfg)
				c, err := p.Acquire(t.Context())
				if err == nil {
					c.Release()
					t.Fatal("lent it")
				}
				var de *wspool.DialError
				if !tc.is(err) || tc.name != "panic" && tc.name != "goexit" && !errors.As(err, &de) {
					t.Errorf("Acquire: %v", err)
				}
			})
		})
	}
}

// An OnConnect that releases its Conn itself, clean, has done no harm.
func TestOnConnectReleases(t *testing.T) {
	bubble(t, func(t *testing.T) {
		peer := listenMem(t, 4096, welcomer)
		peer.cfg.OnConnect = func(ctx context.Context, c *wspool.Conn) error {
			defer c.Release()
			return signIn(ctx, c)
		}
		p := pool(t, peer.cfg)
		use(t, p)
		if s := p.Stats(); s.Idle != 1 {
			t.Errorf("%v", s)
		}
	})
}

// greeter greets, expects a name, and then echoes.
func greeter(ws *websocket.Conn) {
	if ws.WriteMessage(websocket.TextMessage, []byte("who?")) != nil {
		return
	}
	if _, name, err := ws.ReadMessage(); err != nil || string(name) != "me" {
		ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4401, "not you"), deadline())
		drain(ws)
		return
	}
	echo(ws)
}

// A message behind the last reply that OnConnect reads goes to OnUnsolicited, which may drop it, also
// if it has arrived in part, and on every kind of connection. It reaches no lease.
func TestOnConnect_MessageBehindReply(t *testing.T) {
	event := frame(websocket.TextMessage, "event")
	for name, first := range map[string]int{"whole": len(event), "in part": 3, "later": 0} {
		for variant, set := range map[string]func(*wspool.Config){
			"hot":     func(*wspool.Config) {},
			"watched": func(cfg *wspool.Config) { cfg.WatchAfter = -1 },
			"opaque":  opaque,
		} {
			for stay, d := range map[string]time.Duration{"at once": 0, "after a while": 5 * time.Second} {
				t.Run(name+"/"+variant+"/"+stay, func(t *testing.T) {
					bubble(t, func(t *testing.T) {
						peer := listenMem(t, 4096, func(ws *websocket.Conn) {
							ws.WriteMessage(websocket.TextMessage, []byte("welcome"))
							ws.ReadMessage()
							ws.NetConn().Write(append(frame(websocket.TextMessage, "hello me"), event[:first]...))
							time.Sleep(ms)
							ws.NetConn().Write(event[first:])
							echo(ws)
						})
						set(&peer.cfg)
						var got []string
						peer.cfg.OnUnsolicited = func(_ context.Context, m wspool.Message) (*wspool.Message, error) {
							got = append(got, string(m.Data))
							return nil, nil
						}
						peer.cfg.OnConnect = func(ctx context.Context, c *wspool.Conn) error { return errors.Join(signIn(ctx, c), sleep(d)) }
						p := pool(t, peer.cfg)
						for range 3 {
							c := acquire(t, p)
							time.Sleep(2 * ms) // the rest arrives before this lease writes
							ask(t, c, "x")
							c.Release()
						}
						if s := p.Stats(); len(got) != 1 || got[0] != "event" || s.Made != 1 || s.Unsolicited != 1 || s.Tainted != 0 {
							t.Errorf("OnUnsolicited got %q; %v", got, s)
						}
					})
				})
			}
		}
	}
}

// A message that OnConnect leaves unread fails the dial if it can be the reply to one that
// OnConnect wrote, or if no OnUnsolicited is there to judge it.
func TestOnConnect_ReplyUnread(t *testing.T) {
	writes := func(ctx context.Context, c *wspool.Conn, messages ...string) error {
		for _, m := range messages {
			if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(m)); err != nil {
				return err
			}
		}
		_, _, err := c.ReadMessage(ctx)
		return err
	}
	for name, tc := range map[string]struct {
		judge func(context.Context, wspool.Message) (*wspool.Message, error)
		f     func(ctx context.Context, c *wspool.Conn) error
	}{
		"two written": {wspool.DropUnsolicited, func(ctx context.Context, c *wspool.Conn) error { return writes(ctx, c, "a", "b") }},
		"two written, one more read before": {wspool.DropUnsolicited, func(ctx context.Context, c *wspool.Conn) error {
			_, _, err := c.ReadMessage(ctx)
			return errors.Join(err, writes(ctx, c, "a", "b"))
		}},
		"a batch": {wspool.DropUnsolicited, func(ctx context.Context, c *wspool.Conn) error {
			m := wspool.Message{Type: websocket.TextMessage, Data: []byte("a")}
			_, err := c.WriteBatch(ctx, []wspool.Message{m, m, m})
			return errors.Join(err, writes(ctx, c))
		}},
		"written last": {wspool.DropUnsolicited, func(ctx context.Context, c *wspool.Conn) error {
			err := writes(ctx, c, "a")
			return errors.Join(err, c.WriteMessage(ctx, websocket.TextMessage, []byte("b")))
		}},
		"no OnUnsolicited": {nil, func(ctx context.Context, c *wspool.Conn) error {
			err := writes(ctx, c, "a") // reads the welcome
			return errors.Join(err, sleep(time.Second))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				peer := listenMem(t, 4096, func(ws *websocket.Conn) {
					ws.WriteMessage(websocket.TextMessage, []byte("welcome"))
					echo(ws)
				})
				peer.cfg.OnUnsolicited = tc.judge
				peer.cfg.OnConnect = func(ctx context.Context, c *wspool.Conn) error { return errors.Join(tc.f(ctx, c), sleep(ms)) }
				p := pool(t, peer.cfg)
				if c, err := p.Acquire(t.Context()); !errors.Is(err, wspool.ErrUnread) {
					if err == nil {
						c.Release()
					}
					t.Errorf("Acquire: %v", err)
				}
			})
		})
	}
}

// OnConnect may read before it writes, and leave with a write without a reply; its
// Conn is of no use afterwards.
func TestSetUp(t *testing.T) {
	for _, secure := range []bool{false, true} {
		peer := listen(t, secure, greeter)
		var n atomic.Int64
		var id atomic.Uint64
		var kept *wspool.Conn
		peer.cfg.OnConnect = func(ctx context.Context, c *wspool.Conn) error {
			n.Add(1)
			kept = c
			if _, p, err := c.ReadMessage(ctx); err != nil || string(p) != "who?" {
				t.Errorf("greeted with %q, %v", p, err)
			}
			id.Store(c.Info().ID)
			return c.WriteMessage(ctx, websocket.TextMessage, []byte("me"))
		}
		p := pool(t, peer.cfg)
		for range 3 {
			c := acquire(t, p)
			if _, _, err := kept.ReadMessage(t.Context()); !errors.Is(err, wspool.ErrReleased) {
				t.Errorf("the Conn of OnConnect reads: %v", err)
			}
			kept.Discard(nil)
			ask(t, c, "x")
			if i := c.Info(); i.ID == 0 || i.ID != id.Load() {
				t.Errorf("connection %d was %d in OnConnect", i.ID, id.Load())
			}
			c.Release()
		}
		if n.Load() != 1 {
			t.Errorf("OnConnect was called %d times for one connection", n.Load())
		}
	}
}

// A set-up that fails, in any way, fails the dial, and the server gets a close
// frame.
func TestSetUpFails(t *testing.T) {
	no := errors.New("no")
	for name, tc := range map[string]struct {
		setUp func(context.Context, *wspool.Conn) error
		is    func(error) bool
	}{
		"error":   {func(context.Context, *wspool.Conn) error { return no }, func(err error) bool { return errors.Is(err, no) }},
		"unread":  {func(context.Context, *wspool.Conn) error { return nil }, func(err error) bool { return errors.Is(err, wspool.ErrUnread) || errors.Is(err, wspool.ErrUnsolicited) }},
		"discard": {func(_ context.Context, c *wspool.Conn) error { c.Discard(no); return nil }, func(err error) bool { return errors.Is(err, no) }},
		"fail":    {func(_ context.Context, c *wspool.Conn) error { c.Fail(no); return nil }, func(err error) bool { return errors.Is(err, no) }},
		"refused": {func(ctx context.Context, c *wspool.Conn) error {
			c.ReadMessage(ctx)
			c.WriteMessage(ctx, websocket.TextMessage, []byte("you"))
			_, _, err := c.ReadMessage(ctx)
			return err
		}, func(err error) bool {
			var ce *wspool.CloseError
			return errors.As(err, &ce) && ce.Code == 4401
		}},
		"refused, ignored": {func(ctx context.Context, c *wspool.Conn) error {
			c.ReadMessage(ctx)
			c.WriteMessage(ctx, websocket.TextMessage, []byte("you"))
			c.ReadMessage(ctx)
			return nil
		}, func(err error) bool {
			var ce *wspool.CloseError
			return errors.As(err, &ce) && ce.Code == 4401
		}},
	} {
		t.Run(name, func(t *testing.T) {
			left := make(chan error, 1)
			greeted := make(chan struct{})
			peer := listen(t, false, func(ws *websocket.Conn) {
				ws.SetCloseHandler(func(code int, _ string) error {
					left <- &websocket.CloseError{Code: code}
					return nil
				})
				if name != "unread" {
					greeter(ws)
					return
				}
				ws.WriteMessage(websocket.TextMessage, []byte("who?"))
				close(greeted)
				drain(ws)
			})
			peer.cfg.OnConnect = tc.setUp
			if name == "unread" {
				peer.cfg.OnConnect = func(context.Context, *wspool.Conn) error { <-greeted; return nil }
			}
			if e := dialFails(t, peer.cfg, "set-up"); !tc.is(e) {
				t.Errorf("%v", e)
			}
			if !strings.HasPrefix(name, "refused") && !websocket.IsCloseError(next(t, "goodbye", left), 1000) {
				t.Error("no polite goodbye")
			}
		})
	}
}

// An OnConnect that breaks costs its dial and leaves nothing behind.
func TestSetUpBreaks(t *testing.T) {
	for name, breaks := range map[string]func(){"panics": func() { panic("x") }, "ends": runtime.Goexit} {
		gone := make(chan error, 1)
		peer := listen(t, false, func(ws *websocket.Conn) { gone <- drain(ws) })
		peer.cfg.OnConnect = func(context.Context, *wspool.Conn) error { breaks(); return nil }
		peer.cfg.MaxSize = 1
		if _, err := pool(t, peer.cfg).Acquire(t.Context()); err == nil {
			t.Errorf("%s: no error", name)
		}
		if err := next(t, "end", gone); !websocket.IsCloseError(err, 1000) {
			t.Errorf("%s: the server saw %v", name, err)
		}
	}
}
