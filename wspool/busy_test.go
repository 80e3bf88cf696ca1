package wspool_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
)

// On a processor that others keep busy the reader runs late. That is no
// evidence against a connection: none is destroyed.
func TestBusyProcessor(t *testing.T) {
	peer := listen(t, false, func(ws *websocket.Conn) {
		for {
			kind, p, err := ws.ReadMessage()
			if err != nil || ws.WriteMessage(kind, p) != nil {
				return
			}
		}
	})
	p := pool(t, peer.cfg)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var stop atomic.Bool
	var spinning sync.WaitGroup
	for range 6 {
		spinning.Go(func() {
			for !stop.Load() {
			}
		})
	}
	for range 4 {
		err := p.Do(t.Context(), func(ctx context.Context, c *wspool.Conn) error {
			if err := c.WriteMessage(ctx, websocket.TextMessage, []byte("x")); err != nil {
				return err
			}
			_, _, err := c.ReadMessage(ctx)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	if s := p.Stats(); s.Made != s.Destroyed+int64(s.Idle) || s.Destroyed != 0 {
		t.Errorf("some were destroyed: %v", s)
	}
	stop.Store(true)
	spinning.Wait()
}
