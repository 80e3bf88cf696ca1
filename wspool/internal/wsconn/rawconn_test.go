package wsconn

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/internal/memnet"
)

// What TLS writes of its own accord, between messages, has its own time each: that
// one write had to wait does not shorten the time of the next, however much later.
func TestRawConn_WriteTimeBetweenMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe(4)
		defer a.Close()
		w := NewRawConn(a, false, 10*time.Second)
		for range 3 {
			go func() {
				time.Sleep(time.Second)
				b.Read(make([]byte, 4))
				b.Read(make([]byte, 4))
			}()
			if n, err := w.Write(make([]byte, 8)); n != 8 || err != nil {
				t.Error(n, err)
			}
			synctest.Wait()
			time.Sleep(time.Minute)
		}
		b.Close()
	})
}
