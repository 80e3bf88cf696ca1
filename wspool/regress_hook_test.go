package wspool_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// hooked is a context that counts what waits for its end.
type hooked struct {
	context.Context
	hooks atomic.Int64
}

func (h *hooked) AfterFunc(f func()) func() bool {
	h.hooks.Add(1)
	stop := context.AfterFunc(h.Context, f)
	return func() bool { h.hooks.Add(-1); return stop() }
}

// Value hides what the context really is, so that AfterFunc is asked.
func (h *hooked) Value(any) any { return nil }

// A lease that ends with a reader open leaves nothing in the context of that,
// which may live as long as the program.
func TestRegressOpenReaderUnhooked(t *testing.T) {
	for name, end := range map[string]func(*wspool.Conn){
		"release": (*wspool.Conn).Release,
		"discard": func(c *wspool.Conn) { c.Discard(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			peer := listen(t, false, echo)
			peer.cfg.WatchAfter = time.Minute // then a read is hooked at once
			p := pool(t, peer.cfg)
			c := acquire(t, p)
			defer c.Release()
			write(t, c, "x")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			h := &hooked{Context: ctx}
			if kind, _, err := c.NextReader(h); err != nil || kind != websocket.TextMessage {
				t.Fatal(kind, err)
			}
			if h.hooks.Load() != 1 {
				t.Fatalf("%d hooks", h.hooks.Load())
			}
			end(c)
			if n := h.hooks.Load(); n != 0 {
				t.Errorf("%d hooks are left", n)
			}
		})
	}
}
