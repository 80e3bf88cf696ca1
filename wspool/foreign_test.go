package wspool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
)

// brokenError is an error whose methods panic where it is a nil pointer, as those of many types do.
type brokenError struct{ inner error }

func (e *brokenError) Error() string { return "broken: " + e.inner.Error() }
func (e *brokenError) Unwrap() error { return e.inner }

// broken returns no error, as its author thinks.
func broken() error {
	var e *brokenError
	return e
}

// A connection that ends with an error of the caller whose methods panic is closed, and its slot used again.
func TestI3_EndsWithBrokenError(t *testing.T) {
	for name, end := range map[string]func(p *wspool.Pool, c *wspool.Conn){
		"Fail":     func(_ *wspool.Pool, c *wspool.Conn) { c.Fail(broken()) },
		"Discard":  func(_ *wspool.Pool, c *wspool.Conn) { c.Discard(broken()) },
		"Reset":    func(p *wspool.Pool, c *wspool.Conn) { p.Reset(broken()); c.Release() },
		"ResetNow": func(p *wspool.Pool, c *wspool.Conn) { p.ResetNow(broken()); c.Release() },
		"around":   func(_ *wspool.Pool, c *wspool.Conn) { c.Fail(fmt.Errorf("around: %w", broken())) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				peer := listenMem(t, 1<<10, echo)
				peer.cfg.MaxSize = 1
				peer.cfg.Redial = atOnce
				p := pool(t, peer.cfg)
				for range 3 {
					c := acquire(t, p)
					ask(t, c, "hello")
					end(p, c)
					time.Sleep(wspool.DefaultCloseTimeout + time.Second)
					if n := peer.open(); n > 0 {
						t.Fatalf("%d connections are open after the end of the only one", n)
					}
				}
			})
		})
	}
}

// An OnUnsolicited that returns such an error ends that connection.
func TestI9_OnUnsolicitedReturnsBrokenError(t *testing.T) {
	bubble(t, func(t *testing.T) {
		peer := listenMem(t, 1<<10, func(ws *websocket.Conn) {
			onEach(func(ws *websocket.Conn, kind int, p []byte) {
				ws.WriteMessage(kind, p)
				time.Sleep(50 * time.Millisecond) // in the bubble: the lease has ended
				ws.WriteMessage(kind, []byte("one more"))
			})(ws)
		})
		peer.cfg.MaxSize = 1
		peer.cfg.Redial = atOnce
		peer.cfg.OnUnsolicited = func(context.Context, wspool.Message) (*wspool.Message, error) { return nil, broken() }
		p := pool(t, peer.cfg)
		for range 3 {
			use(t, p)
			time.Sleep(time.Second)
		}
		if s := p.Stats(); s.Made != 3 {
			t.Errorf("%d connections were made, want one for each lease", s.Made)
		}
	})
}

// tagged is a context of a type whose values cannot be compared.
type tagged struct {
	context.Context
	_ []string
}

// The end of such a context breaks off the message that it bounds, while that waits for the network.
func TestI9_ContextThatCannotBeCompared(t *testing.T) {
	bubble(t, func(t *testing.T) {
		until := make(chan struct{})
		defer close(until)
		peer := listenMem(t, 1<<10, deaf(until))
		c := acquire(t, pool(t, peer.cfg))
		defer c.Release()
		ctx, cancel := context.WithCancel(t.Context())
		defer time.AfterFunc(time.Second, cancel).Stop()
		began := time.Now()
		err := c.WriteMessage(tagged{Context: ctx}, websocket.BinaryMessage, make([]byte, 1<<20))
		if took := time.Since(began); !errors.Is(err, context.Canceled) || took != time.Second {
			t.Errorf("%v after %v, want the end of the context after 1s", err, took)
		}
	})
}

// tied is a context that also ends with a connection.
type tied struct {
	context.Context
	conn *wspool.Conn
}

func (c *tied) Err() error {
	if err := c.conn.Err(); err != nil {
		return err
	}
	return c.Context.Err()
}

// The methods of a context are called without a lock. There is no bubble: a goroutine that waits for a lock
// stops its time.
func TestI5_ContextAsksItsConnection(t *testing.T) {
	peer := listen(t, false, echo)
	peer.cfg.MaxSize = 1
	p := pool(t, peer.cfg)
	for name, use := range map[string]func(ctx context.Context, c *wspool.Conn) error{
		"ReadMessage": func(ctx context.Context, c *wspool.Conn) error { _, _, err := c.ReadMessage(ctx); return err },
		"NextReader": func(ctx context.Context, c *wspool.Conn) error {
			_, r, err := c.NextReader(ctx)
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			return err
		},
		"ReadWhole": func(ctx context.Context, c *wspool.Conn) error {
			for {
				if _, _, err := c.ReadWhole(ctx, nil); !errors.Is(err, wspool.ErrPartial) {
					return err
				}
			}
		},
	} {
		c := acquire(t, p)
		over := make(chan error, 1)
		go func() {
			defer c.Release()
			ctx := &tied{t.Context(), c}
			err := c.WriteMessage(ctx, websocket.TextMessage, []byte("x"))
			if err == nil {
				err = use(ctx, c)
			}
			over <- err
		}()
		if err := next(t, name, over); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
