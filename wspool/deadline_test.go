package wspool

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/internal/memnet"
)

// A write of TLS's own, between messages, has its own time limit: that one write
// had to wait is nothing to the next, however much later.
func TestWriteBudget_BetweenMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe(4)
		defer a.Close()
		w := newWire(a, false, 10*time.Second)
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

// A deadline that passes just when it is replaced does not end what comes after.
func TestDeadline_Replaced(t *testing.T) {
	var d deadline
	d.parent = t.Context()
	d.set(time.Now().Add(time.Hour))
	before := d.context()
	d.timer.Stop() // as if it ran, and had not come to end the context
	d.set(time.Time{})
	if d.context() == before {
		t.Error("the deadline before may still end the reads to come")
	}
	d.stop()
}
