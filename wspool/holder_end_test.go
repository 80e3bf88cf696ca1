package wspool_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
)

// lateContext ends between a call of Err, which returns nil, and what its caller does next.
type lateContext struct {
	context.Context
	cancel context.CancelFunc
	armed  atomic.Bool
	calls  atomic.Int64 // of Err, since it has ended
	give   func()       // called once calls is too large
}

func (c *lateContext) Err() error {
	err := c.Context.Err()
	if err != nil {
		if c.calls.Add(1) == 1000 {
			c.give()
		}
		return err
	}
	if !c.armed.Load() {
		return nil
	}
	synctest.Wait() // the watcher has left the message to the lease
	c.cancel()
	synctest.Wait() // and the end of the context has interrupted the read
	return nil
}

// ReadWhole returns if its context ends at the moment at which a watcher has left it a message.
func TestReadWhole_EndsAsAMessageArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		send := make(chan struct{})
		s := listenMem(t, 1<<16, func(ws *websocket.Conn) {
			<-send
			ws.WriteMessage(websocket.TextMessage, []byte("event"))
			drain(ws)
		})
		s.cfg.KeepAlive = -1
		s.cfg.Heartbeat = wspool.Heartbeat{ // while its answer is awaited, a watcher reads for the lease
			Every: time.Second, Message: wspool.Message{Type: websocket.TextMessage, Data: []byte("beat")},
			Expect: func(wspool.Message) bool { return false },
		}
		p := pool(t, s.cfg)
		c := acquireShared(t, p)
		inner, cancel := context.WithCancel(t.Context())
		defer cancel()
		ctx := &lateContext{Context: inner, cancel: cancel}
		spins := false
		ctx.give = func() { spins = true; c.Discard(nil) }
		end := make(chan error, 1)
		go func() {
			_, _, err := c.ReadWhole(ctx, nil)
			end <- err
		}()
		time.Sleep(1500 * time.Millisecond) // in the bubble; a heartbeat has been sent
		ctx.armed.Store(true)
		close(send)
		err := <-end
		if spins {
			t.Fatal("ReadWhole did not return")
		}
		if err != nil && err != wspool.ErrQuiet {
			t.Error(err)
		}
		if err == wspool.ErrQuiet { // then the message is still there
			read(t, c, "event")
		}
		c.Release()
	})
}
