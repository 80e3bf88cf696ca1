package wspool_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/wspool"
)

// A read that is refused because a message is open does nothing to the reader
// of that: its context ends its waiting, and so does the end of the lease.
func TestRegressReadBesideOpenReader(t *testing.T) {
	for name, finish := range map[string]func(cancel func(), c *wspool.Conn){
		"ctx":     func(cancel func(), c *wspool.Conn) { cancel() },
		"release": func(cancel func(), c *wspool.Conn) { c.Release() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := witnesses(t)
				w.mute = true
				w.cfg.WatchAfter = time.Minute // then a read is hooked to its context at once
				p := pool(t, w.cfg)
				c := acquire(t, p)
				defer c.Release()
				write(t, c, "x")
				w.send(0, []byte{0x81, 5, 'h'}) // the rest does not come
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				_, r, err := c.NextReader(ctx)
				if err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 5)
				if n, err := r.Read(b); n != 1 || err != nil {
					t.Fatal(n, err)
				}
				if _, _, err := c.ReadMessage(t.Context()); !errors.Is(err, wspool.ErrUnfinished) {
					t.Fatal(err)
				}
				done := make(chan error, 1)
				go func() { _, err := r.Read(b); done <- err }()
				synctest.Wait()
				began := w.now()
				finish(cancel, c)
				if err := next(t, "end of the read", done); !errors.Is(err, context.Canceled) && !errors.Is(err, wspool.ErrReleased) {
					t.Error(err)
				}
				at(t, "end of the read", w.now(), began)
			})
		})
	}
}
