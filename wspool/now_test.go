package wspool_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// deafPeer is one that agrees to the handshake and then reads nothing, so that it
// answers no close frame, until the function returned is called.
func deafPeer(t *testing.T) (*peer, func()) {
	until := make(chan struct{})
	p := listenMem(t, 64<<10, deaf(until))
	p.cfg.KeepAlive = -1
	p.cfg.Redial = atOnce
	return p, func() { close(until) }
}

// After Reset the places of connections whose peers do not answer are held for
// CloseTimeout; after ResetNow they are free at once, those of an earlier Reset too.
// Leases go on, and hold nobody up when they end.
func TestResetNow(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(p *wspool.Pool)
		want time.Duration
	}{
		"Reset":    {func(p *wspool.Pool) { p.Reset(nil) }, wspool.DefaultCloseTimeout},
		"ResetNow": {func(p *wspool.Pool) { p.ResetNow(nil) }, 0},
		"both": {func(p *wspool.Pool) {
			p.Reset(nil)
			time.Sleep(time.Second)
			p.ResetNow(nil)
		}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				peer, over := deafPeer(t)
				defer over()
				gone := ends(&peer.cfg)
				p := pool(t, peer.cfg)
				warm(t, p, 4)
				leased := acquire(t, p)
				began := time.Now()
				tc.do(p)
				for range 3 {
					c := acquire(t, p)
					if c.Reused() {
						t.Error("it was not replaced")
					}
					at(t, "lent", time.Since(began), tc.want)
					defer c.Discard(nil)
				}
				write(t, leased, "still there")
				for range 3 {
					if e := next(t, "end", gone); !errors.Is(e.Cause, resource.ErrReset) {
						t.Errorf("destroyed with %v", e.Cause)
					}
				}
				ended := time.Now()
				leased.Discard(nil)
				next(t, "end", gone)
				if took := time.Since(ended); name != "Reset" && took != 0 {
					t.Errorf("the leased one took %v", took)
				}
				p.CloseNow()
			})
		})
	}
}

// CloseNow ends what a Close could not wait for: a leaked lease, one whose read
// waits, a connection that is being closed, one that is idle, and a dial.
func TestCloseNow(t *testing.T) {
	for _, before := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			peer, over := deafPeer(t)
			defer over()
			peer.cfg.MaxSize = 5
			var dials atomic.Int32
			peer.cfg.Prepare = func(ctx context.Context, _ *wspool.Handshake) error {
				if dials.Add(1) == 5 {
					<-ctx.Done()
				}
				return nil
			}
			p := pool(t, peer.cfg)
			warm(t, p, 4)
			leaked, reading, discarded := acquire(t, p), acquire(t, p), acquire(t, p)
			write(t, reading, "question")
			failed := make(chan error, 1)
			go func() {
				_, _, err := reading.ReadMessage(context.Background())
				failed <- err
			}()
			warming := make(chan error, 1)
			go func() { warming <- p.Warm(context.Background(), 5) }()
			synctest.Wait()
			discarded.Discard(nil)
			if before {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Close: %v", err)
				}
				cancel()
			}
			began := time.Now()
			p.CloseNow()
			if err := p.Close(context.Background()); err != nil {
				t.Errorf("Close: %v", err)
			}
			at(t, "Close returned", time.Since(began), 0)
			if err := <-failed; !errors.Is(err, wspool.ErrReleased) {
				t.Errorf("ReadMessage: %v", err)
			}
			if err := <-warming; err == nil {
				t.Error("Warm has succeeded")
			}
			if err := leaked.WriteMessage(t.Context(), websocket.TextMessage, nil); !errors.Is(err, wspool.ErrReleased) {
				t.Errorf("WriteMessage: %v", err)
			}
			leaked.Release() // does nothing
			p.CloseNow()
			if _, err := p.Acquire(t.Context()); !errors.Is(err, resource.ErrClosed) {
				t.Errorf("Acquire: %v", err)
			}
		})
	}
}

// A manager's are those of all its pools.
func TestManager_Now(t *testing.T) {
	bubble(t, func(t *testing.T) {
		peer, over := deafPeer(t)
		defer over()
		m, err := wspool.NewManager(wspool.ManagerConfig[int]{
			Config:   func(int) (wspool.Config, error) { return peer.cfg, nil },
			MaxTotal: 8,
		})
		if err != nil {
			t.Fatal(err)
		}
		for key := range 2 {
			if err := m.Warm(t.Context(), key, 4); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		m.ResetNow(nil)
		var conns []*wspool.Conn
		for key := range 2 {
			c, err := m.Acquire(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
		}
		m.CloseNow()
		if err := m.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
		at(t, "Close returned", time.Since(began), 0)
		for _, c := range conns {
			if _, _, err := c.ReadMessage(t.Context()); !errors.Is(err, wspool.ErrReleased) {
				t.Errorf("ReadMessage: %v", err)
			}
		}
	})
}
