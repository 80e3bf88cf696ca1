//go:build linux && !race

package wspool_test

import (
	"context"
	"io"
	"testing"

	"github.com/gorilla/websocket"
)

// An exchange allocates its reply and two objects more at most.
func TestExchange_Allocations(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for scheme, cfg := range echoProcess(t) {
		t.Run(scheme, func(t *testing.T) {
			pool := pool(t, cfg)
			request := []byte("a request")
			got := testing.AllocsPerRun(500, func() {
				if _, _, err := pool.Exchange(ctx, websocket.TextMessage, request); err != nil {
					t.Fatal(err)
				}
			})
			if got > 3 {
				t.Errorf("%v allocations", got)
			}
		})
	}
}

// A batch that the network takes at once costs no allocation.
func TestStartBatchAllocatesNothing(t *testing.T) {
	s := listen(t, false, func(ws *websocket.Conn) { io.Copy(io.Discard, ws.NetConn()) })
	p := pool(t, s.cfg)
	c := acquireShared(t, p)
	defer c.Release()
	b := textBatch("one", "two", "three")
	if n := testing.AllocsPerRun(100, func() {
		if later, whole, err := c.StartBatch(b, nil); later || whole != len(b) || err != nil {
			t.Errorf("later %v, %d whole, %v", later, whole, err)
		}
	}); n >= 1 {
		t.Errorf("a batch of %d allocates %v objects", len(b), n)
	}
}
