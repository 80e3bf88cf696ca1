package wsconn

import (
	"errors"
	"net"
	"runtime"
	"syscall"
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

// The kernel reports a reset once. A peek that finds it first does not make the next
// read take the connection for one that has ended in order.
func TestRawConn_PeekedReset(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("reads there do not peek")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
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
