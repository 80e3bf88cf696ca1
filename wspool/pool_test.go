package wspool_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// Do ends the lease as the function ended.
func TestDo(t *testing.T) {
	mild := errors.New("mild")
	for _, tc := range []struct {
		name string
		f    func(ctx context.Context, c *wspool.Conn) error
		want error
		kept bool
	}{
		{"nil", func(context.Context, *wspool.Conn) error { return nil }, nil, true},
		{"mild error", func(context.Context, *wspool.Conn) error { return mild }, mild, true},
		{"error", func(context.Context, *wspool.Conn) error { return io.ErrNoProgress }, io.ErrNoProgress, false},
		{"mild error, unclean", func(ctx context.Context, c *wspool.Conn) error {
			return errors.Join(mild, c.WriteMessage(ctx, websocket.TextMessage, nil))
		}, mild, false},
		{"panic", func(context.Context, *wspool.Conn) error { panic("on purpose") }, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			peer := listen(t, false, echo)
			peer.cfg.Broken = func(err error) bool { return !errors.Is(err, mild) }
			gone := ends(&peer.cfg)
			p := pool(t, peer.cfg)
			var kept *wspool.Conn
			func() {
				defer func() {
					if v := recover(); (v != nil) != (tc.name == "panic") {
						t.Errorf("recovered %v", v)
					}
				}()
				err := p.Do(t.Context(), func(ctx context.Context, c *wspool.Conn) error {
					kept = c
					return tc.f(ctx, c)
				})
				if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
					t.Errorf("Do: %v, want %v", err, tc.want)
				}
			}()
			if _, _, err := kept.ReadMessage(t.Context()); !errors.Is(err, wspool.ErrReleased) {
				t.Errorf("after Do: %v", err)
			}
			if !tc.kept {
				next(t, "end", gone)
			}
			if s := p.Stats(); s.Leased != 0 || (s.Idle == 1) != tc.kept {
				t.Errorf("%+v, want kept: %v", s, tc.kept)
			}
		})
	}
}

// TryAcquire takes what is idle and alive. If it finds nothing a dial begins in the background, one at a time.
func TestTryAcquire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := listenMem(t, 4096, echo)
		p := pool(t, peer.cfg)
		if _, ok := p.TryAcquire(); ok {
			t.Error("lent one out of none")
		}
		if err := p.Warm(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		c, ok := p.TryAcquire()
		if !ok {
			t.Fatal("lent none out of one")
		}
		if _, ok := p.TryAcquire(); ok {
			t.Error("lent the same one twice")
		}
		ask(t, c, "x")
		c.Release()
		synctest.Wait()
		if s := p.Stats(); s.Made != 2 { // one for each miss, the first of which Warm waited for
			t.Errorf("made %d, want 2", s.Made)
		}
	})
}

// A server that closes every connection at once costs a caller a bounded
// number of dials, and it learns why.
func TestAcquireOfDyingConnections(t *testing.T) {
	peer := listen(t, false, func(ws *websocket.Conn) {
		ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1013, "full"), deadline())
		drain(ws)
	})
	peer.cfg.Redial = func(error, int) time.Duration { return 0 }
	p := pool(t, peer.cfg)
	for range 20 {
		c, err := p.Acquire(t.Context())
		if err == nil {
			// It lived long enough to be lent; then it dies in the lease.
			_, _, err = c.ReadMessage(t.Context())
			c.Release()
		}
		var ce *wspool.CloseError
		if !errors.As(err, &ce) || ce.Code != 1013 {
			t.Fatalf("%v, want close code 1013", err)
		}
	}
}
