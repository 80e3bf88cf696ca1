package wsconn

import (
	"errors"
	"os"
	"testing"
	"time"
)

// What the network does not take is unsent, until the connection is closed.
func TestSocket_Unsent(t *testing.T) {
	a, b := tcpPair(t)
	w := NewRawConn(a, false, time.Hour)
	if n := w.socket.unsent(); n != 0 {
		t.Errorf("%d bytes are unsent of none", n)
	}
	a.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // however much the kernel takes, more is written
	var err error
	for err == nil {
		_, err = a.Write(make([]byte, 1<<20))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	if n := w.socket.unsent(); n <= 0 {
		t.Errorf("%d bytes are unsent to a peer that does not read", n)
	}
	b.Close()
	a.Close()
	if n := w.socket.unsent(); n != 0 {
		t.Errorf("%d bytes are unsent on a closed connection", n)
	}
}
