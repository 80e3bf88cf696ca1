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

// A socket is exhausted as long as nothing has arrived.
func TestRawConn_Exhausted(t *testing.T) {
	a, b := tcpPair(t)
	w := NewRawConn(a, false, time.Hour)
	if !w.exhausted() {
		t.Error("a socket has bytes of which none were sent")
	}
	if _, err := b.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if p := make([]byte, 1); w.socket.empty() { // on loopback it has arrived, or arrives
		if _, err := a.Read(p); err != nil {
			t.Fatal(err)
		}
		return
	}
	if w.exhausted() {
		t.Error("a socket has no bytes though one has arrived")
	}
}
