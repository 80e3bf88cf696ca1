package wspool_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// checkFunc is a Health that is always due.
type checkFunc func(ctx context.Context, c *wspool.Conn) error

func (f checkFunc) Check(ctx context.Context, c *wspool.Conn, _ resource.Info) error {
	return f(ctx, c)
}

// seldom is a Health that says when it is due.
type seldom struct {
	checkFunc
	after time.Duration
}

func (s seldom) Due(i resource.Info) bool { return i.Idle >= s.after }

// exchange is a check that asks the server something.
func exchange(ctx context.Context, c *wspool.Conn) error {
	if err := c.WriteMessage(ctx, websocket.TextMessage, []byte("check")); err != nil {
		return err
	}
	_, p, err := c.ReadMessage(ctx)
	if err == nil && string(p) != "check" {
		err = fmt.Errorf("answer %q", p)
	}
	return err
}

// A check has an idle connection to itself as a lease has, and only when it says
// that it is due.
func TestCheck(t *testing.T) {
	for _, after := range []time.Duration{-1, 2 * ms} {
		bubble(t, func(t *testing.T) {
			w := witnesses(t)
			w.cfg.WatchAfter = after
			checks := 0
			var kept *wspool.Conn
			w.cfg.Health = seldom{func(ctx context.Context, c *wspool.Conn) error {
				checks++
				kept = c
				return exchange(ctx, c)
			}, time.Minute}
			w.cfg.SweepInterval = time.Hour
			p := pool(t, w.cfg)
			for _, idle := range []time.Duration{0, ms, time.Second, time.Minute, 0, 2 * time.Minute} {
				time.Sleep(idle)
				c := acquire(t, p)
				ask(t, c, "x")
				if kept != nil {
					if _, _, err := kept.ReadMessage(t.Context()); !errors.Is(err, wspool.ErrReleased) {
						t.Errorf("ReadMessage: %v", err)
					}
				}
				c.Release()
			}
			if s := p.Stats(); checks != 2 || s.Made != 1 || s.Tainted != 0 {
				t.Errorf("%d checks, want 2; %v", checks, s)
			}
		})
	}
}

// What fails a check, or leaves a mess, is not lent. What it tolerates is lent,
// but never a mess.
func TestCheckFails(t *testing.T) {
	broken := errors.New("broken")
	mess := func(ctx context.Context, c *wspool.Conn) error {
		_, err := c.NextWriter(ctx, websocket.TextMessage)
		return err
	}
	for _, tc := range []struct {
		name  string
		f     checkFunc
		cause error // nil: kept
	}{
		{"error", func(context.Context, *wspool.Conn) error { return broken }, broken},
		{"tolerated", func(context.Context, *wspool.Conn) error { return resource.ErrTolerated }, nil},
		{"mess", mess, wspool.ErrUnfinished},
		{"answer left", func(ctx context.Context, c *wspool.Conn) error {
			return errors.Join(c.WriteMessage(ctx, websocket.TextMessage, nil), sleep(2*time.Second))
		}, wspool.ErrUnread},
		{"tolerated mess", func(ctx context.Context, c *wspool.Conn) error {
			return errors.Join(mess(ctx, c), resource.ErrTolerated)
		}, wspool.ErrUnfinished},
		{"tolerated mess, released", func(ctx context.Context, c *wspool.Conn) error {
			defer c.Release()
			return errors.Join(mess(ctx, c), resource.ErrTolerated)
		}, wspool.ErrUnfinished},
		{"discarded", func(_ context.Context, c *wspool.Conn) error { c.Discard(broken); return nil }, broken},
		{"released", func(ctx context.Context, c *wspool.Conn) error { defer c.Release(); return exchange(ctx, c) }, nil},
		{"tolerated end", func(ctx context.Context, c *wspool.Conn) error {
			_, _, err := c.ReadMessage(ctx) // the server hangs up
			return errors.Join(err, resource.ErrTolerated)
		}, &wspool.CloseError{Code: 1006}},
		{"panic", func(context.Context, *wspool.Conn) error { panic(broken) }, broken},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := witnesses(t)
				w.cfg.SweepInterval = time.Hour
				checking := false
				w.cfg.Health = checkFunc(func(ctx context.Context, c *wspool.Conn) error {
					if !checking {
						return nil
					}
					checking = false
					return tc.f(ctx, c)
				})
				gone := w.ends()
				p := pool(t, w.cfg)
				c := acquire(t, p)
				id := c.Info().ID
				ask(t, c, "x")
				c.Release()
				time.Sleep(time.Second)
				checking = true
				if tc.name == "tolerated end" {
					time.AfterFunc(time.Second, func() { w.conn(0).Close() })
				}
				c = acquire(t, p)
				if kept := c.Info().ID == id; kept != (tc.cause == nil) {
					t.Errorf("kept: %v", kept)
				}
				ask(t, c, "y")
				c.Release()
				if tc.cause == nil {
					none(t, gone)
					return
				}
				e := next(t, "end", gone)
				var ce *wspool.CloseError
				if !errors.Is(e.cause, tc.cause) && !(errors.As(tc.cause, &ce) && errors.As(e.cause, &ce)) {
					t.Errorf("ended with %v", e.cause)
				}
			})
		})
	}
}

// A caller who gives up while a check runs for it leaves an answer that is still
// to come, and nobody else may have it.
func TestCheckAbandoned(t *testing.T) {
	for _, tc := range []struct {
		name  string
		check checkFunc
	}{
		{"caller leaves", exchange},
		{"check leaves", func(ctx context.Context, c *wspool.Conn) error {
			ctx, cancel := context.WithTimeout(ctx, 100*ms)
			defer cancel()
			return errors.Join(exchange(ctx, c), resource.ErrTolerated)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				peer := listenMem(t, 64<<10, func(ws *websocket.Conn) {
					for {
						kind, p, err := ws.ReadMessage()
						if err != nil {
							return
						}
						time.Sleep(time.Second)
						if ws.WriteMessage(kind, p) != nil {
							return
						}
					}
				})
				checking := false
				peer.cfg.Health = checkFunc(func(ctx context.Context, c *wspool.Conn) error {
					if !checking {
						return nil
					}
					checking = false
					return tc.check(ctx, c)
				})
				peer.cfg.SweepInterval = time.Hour
				p := pool(t, peer.cfg)
				c := acquire(t, p)
				ask(t, c, "x")
				c.Release()
				checking = true
				ctx, cancel := context.WithTimeout(t.Context(), 500*ms)
				defer cancel()
				c, err := p.Acquire(ctx)
				if err != nil {
					c = acquire(t, p)
				}
				if checking || c.Reused() {
					t.Errorf("checked: %v, lent again: %v", !checking, c.Reused())
				}
				ask(t, c, "y")
				c.Release()
			})
		})
	}
}
