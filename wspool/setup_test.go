package wspool_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
)

// greeter greets, wants a name, and then echoes.
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

// OnConnect may read before it writes, and leave with a write that nobody
// answers; its Conn is of no use afterwards.
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

// A set-up that fails, in whatever way, fails the dial, and the server is told.
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
