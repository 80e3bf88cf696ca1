package wspool_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// A Hijack that comes just when a message does is refused, and the message is
// the lease's all the same: no reader is put behind one that has begun.
func TestRegressHijackKeepsMessage(t *testing.T) {
	for range 50 {
		bubble(t, func(t *testing.T) {
			w := witnesses(t)
			w.mute = true
			w.cfg.Exchange = wspool.Unpaired
			p := pool(t, w.cfg)
			c := acquire(t, p)
			write(t, c, "x")
			time.Sleep(2 * time.Second) // a watcher reads
			synctest.Wait()
			w.send(0, frame(websocket.TextMessage, "m"))
			if ws, ok := c.Hijack(); ok {
				ws.Close()
				return
			}
			began := time.Now()
			read(t, c, "m")
			if took := time.Since(began); took > 0 {
				t.Errorf("after %v", took)
			}
			write(t, c, "y")
			c.Release()
			if s := p.Stats(); s.Idle != 1 {
				t.Errorf("%v", s)
			}
		})
	}
}
