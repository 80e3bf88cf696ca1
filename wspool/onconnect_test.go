package wspool_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// welcomer is a peer that greets, wants a name, and then echoes.
func welcomer(ws *websocket.Conn) {
	ws.WriteMessage(websocket.TextMessage, []byte("welcome"))
	_, name, err := ws.ReadMessage()
	if err != nil {
		return
	}
	ws.WriteMessage(websocket.TextMessage, append([]byte("hello "), name...))
	echo(ws)
}

// signIn is what a welcomer wants.
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

// What goes wrong in OnConnect fails the dial, and its caller hears of it.
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

// sleep is time.Sleep as an error.
func sleep(d time.Duration) error { time.Sleep(d); return nil }

// An OnConnect that releases its Conn itself, clean, has done no harm.
func TestOnConnectReleases(t *testing.T) {
	bubble(t, func(t *testing.T) {
		peer := listenMem(t, 4096, welcomer)
		peer.cfg.OnConnect = func(ctx context.Context, c *wspool.Conn) error {
			defer c.Release()
			return signIn(ctx, c)
		}
		p := pool(t, peer.cfg)
		c := acquire(t, p)
		ask(t, c, "x")
		c.Release()
		if s := p.Stats(); s.Idle != 1 {
			t.Errorf("%v", s)
		}
	})
}
