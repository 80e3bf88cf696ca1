package wspool_test

import (
	"testing"
	"testing/synctest"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
)

// The bytes of a batch are not used after StartBatch has returned, also where it is the first write of
// the lease and has to wait until what arrived before was dealt with.
func TestStartBatch_OwnershipOfTheFirstWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(chan string, 1)
		s := listenMem(t, 1<<16, func(ws *websocket.Conn) {
			_, p, err := ws.ReadMessage()
			if err == nil {
				got <- string(p)
			}
			drain(ws)
		})
		s.cfg.KeepAlive = -1
		opaque(&s.cfg) // a watcher reads while no lease does
		p := pool(t, s.cfg)
		c := acquire(t, p)
		defer c.Discard(nil)
		data := []byte("request")
		done := make(chan error, 1)
		later, _, err := c.StartBatch([]wspool.Message{{Type: websocket.TextMessage, Data: data}}, func(_ int, err error) { done <- err })
		clear(data)
		if err != nil {
			t.Fatal(err)
		}
		if later {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		if m := <-got; m != "request" {
			t.Errorf("sent %q, later %v", m, later)
		}
	})
}
