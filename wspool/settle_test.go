package wspool_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/internal/wsconn"
)

// TestSettle_TryAcquire: a caller that must not wait gives a connection with half a frame 10 ms,
// and harms it in no way: it is lent once the rest has come.
func TestSettle_TryAcquire(t *testing.T) {
	for name, set := range map[string]func(*wspool.Config){"": func(*wspool.Config) {}, "opaque": opaque} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := witnesses(t)
				w.cfg.MaxSize = 1
				set(&w.cfg)
				gone := w.ends()
				p := pool(t, w.cfg)
				idle(t, p, 1)
				time.Sleep(time.Second)
				for round := range 2 { // the second finds nothing left of the first
					w.send(0, []byte{0x89, 2, 'x'})
					synctest.Wait()
					began := w.now()
					if _, ok := p.TryAcquire(); ok {
						t.Error("lent in the midst of a frame")
					}
					at(t, "it returned", w.now()-began, 10*ms)
					if _, ok := p.TryAcquire(); ok { // it is vetted in the background
						t.Error("lent in the midst of a frame")
					}
					time.Sleep(1900 * ms)
					none(t, gone)
					w.send(0, []byte{'y'})
					synctest.Wait()
					c, ok := p.TryAcquire()
					if !ok {
						t.Fatal("not lent once the frame is whole")
					}
					ask(t, c, "z")
					c.Release()
					if s := p.Stats(); s.Made != 1 || s.Stale != 0 || s.Tainted != 0 {
						t.Errorf("%v", s)
					}
					if n := len(w.saw("pong xy")); n != round+1 {
						t.Errorf("%d pongs", n)
					}
				}
			})
		})
	}
}

// TestSettle_FirstWrite: a peer that does not let the first write of a lease begin, because it
// never ends a frame, or sends on and on, loses the connection after 2 s.
func TestSettle_FirstWrite(t *testing.T) {
	for name, rest := range map[string][]byte{
		"half a ping":      nil,
		"ping behind ping": {'x', 0x89, 1}, // never between two frames
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := witnesses(t)
				w.cfg.MaxSize, w.cfg.KeepAlive = 1, -1
				gone := w.ends()
				p := pool(t, w.cfg)
				idle(t, p, 1)
				c := acquire(t, p)
				w.send(0, []byte{0x89, 1})
				over, sent := make(chan struct{}), make(chan struct{})
				defer func() { close(over); <-sent }()
				peer := w.conn(0).NetConn()
				go func() {
					defer close(sent)
					for {
						select {
						case <-over:
							return
						case <-time.After(10 * ms):
							peer.Write(rest)
						}
					}
				}()
				began := w.now()
				err := c.WriteMessage(t.Context(), websocket.TextMessage, []byte("first"))
				if !errors.Is(err, wsconn.ErrNotQuiet) || w.now()-began != 2*time.Second {
					t.Errorf("%v after %v", err, w.now()-began)
				}
				if err := c.Err(); !errors.Is(err, wsconn.ErrNotQuiet) {
					t.Errorf("the connection: %v", err)
				}
				c.Release()
				if e := next(t, "end", gone); !errors.Is(e.cause, wsconn.ErrNotQuiet) {
					t.Errorf("it ended with %v", e.cause)
				}
				if n := len(w.saw("message first")); n > 0 {
					t.Error("the message was sent")
				}
				use(t, p)
			})
		})
	}
}
