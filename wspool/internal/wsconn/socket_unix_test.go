//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package wsconn

import (
	"errors"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// tcpPair returns both ends of a TCP connection, which are closed when the test ends.
func tcpPair(t *testing.T) (c, peer net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if c, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if peer, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	return c, peer
}

// The kernel reports a reset once. A peek that finds it first does not make the next
// read take the connection for one that has ended in order.
func TestRawConn_PeekedReset(t *testing.T) {
	c, peer := tcpPair(t)
	w := NewRawConn(c, false, 10*time.Second)
	peer.(*net.TCPConn).SetLinger(0)
	peer.Close()
	for began := time.Now(); !w.Readable(); runtime.Gosched() {
		if time.Since(began) > 10*time.Second {
			t.Fatal("the reset does not arrive")
		}
	}
	if n, err := w.Read(make([]byte, 1)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after a peek: %d bytes, %v", n, err)
	}
}

// A reader whose Read has ended with an error does not wait any more: it cannot be dismissed again.
func TestRawConn_ParkedNoLonger(t *testing.T) {
	c, _ := tcpPair(t)
	w := NewRawConn(c, false, 10*time.Second)
	read := make(chan error, 1)
	go func() {
		_, err := w.Read(make([]byte, 1))
		read <- err
	}()
	clean := func() bool { return true }
	for began := time.Now(); !w.Dismiss(clean); runtime.Gosched() {
		if time.Since(began) > 10*time.Second {
			t.Fatal("the reader does not wait")
		}
	}
	if err := <-read; !errors.Is(err, errDismissed) {
		t.Errorf("the read ends with %v", err)
	}
	w.EndDismissal()
	if w.Parked() || w.Dismiss(clean) {
		t.Error("a reader that has returned is dismissed")
	}
}
