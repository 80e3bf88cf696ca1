package wspool_test

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
)

// While a Read of a message waits for the network another one is refused, and takes none of its bytes.
func TestNextReader_OneReadAtATime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := listenMem(t, 1<<16, func(ws *websocket.Conn) {
			ws.ReadMessage()
			ws.NetConn().Write([]byte{websocket.TextMessage, 1, 'a'}) // not the last frame
			time.Sleep(time.Second)                                   // in the bubble
			ws.NetConn().Write([]byte{0x80, 1, 'b'})
			drain(ws)
		})
		c := acquire(t, pool(t, s.cfg))
		defer c.Release()
		write(t, c, "x")
		_, r, err := c.NextReader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 9)
		if n, err := r.Read(p); string(p[:n]) != "a" || err != nil {
			t.Fatalf("%q, %v", p[:n], err)
		}
		rest := make(chan string)
		go func() {
			b, err := io.ReadAll(r)
			if err != nil {
				t.Error(err)
			}
			rest <- string(b)
		}()
		synctest.Wait()
		if n, err := r.Read(p); n != 0 || err != wspool.ErrReleased {
			t.Errorf("a second Read: %q, %v", p[:n], err)
		}
		if s := <-rest; s != "b" {
			t.Errorf("the rest is %q", s)
		}
	})
}
