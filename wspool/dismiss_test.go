package wspool

import (
	"net"
	"os"
	"testing"
	"time"
)

// pieces is a connection that gives what it has, one piece a Read, and then
// fails as one whose deadline has passed.
type pieces struct {
	net.Conn
	of [][]byte
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.of) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, p.of[0])
	p.of = p.of[1:]
	return n, nil
}

func (p *pieces) SetReadDeadline(time.Time) error { return nil }

// readDismissed reads from a tap, after the HTTP answer and came, as a watcher
// that is dismissed, and reports whether its goroutine ended.
func readDismissed(t *testing.T, came []byte) (gone bool, err error) {
	w := newWire(&pieces{of: [][]byte{[]byte("HTTP/1.1 101 x\r\n\r\n"), came}}, false, time.Second)
	above := newTap(w, w, clock{time.Now()}, 0)
	var b [100]byte
	for range 2 {
		if _, err := above.Read(b[:]); err != nil {
			t.Fatal(err)
		}
	}
	w.wait.dismissed = true
	done := make(chan struct{})
	gone = true
	go func() {
		defer close(done)
		_, err = above.Read(b[:])
		gone = false
	}()
	<-done
	return gone, err
}

// A watcher that is dismissed ends its goroutine between two frames only. If a
// part of one has come in, gorilla has begun to read it, and would take the rest
// for something else: the reading fails instead.
func TestDismiss_InFrame(t *testing.T) {
	ping := []byte{0x89, 4, 'p', 'i', 'n', 'g'}
	if gone, err := readDismissed(t, ping); !gone {
		t.Errorf("it stays between two frames: %v", err)
	}
	for n := 1; n < len(ping); n++ {
		if gone, err := readDismissed(t, ping[:n]); gone || err == nil {
			t.Errorf("after %d bytes of a frame: gone %v, %v", n, gone, err)
		}
	}
	if gone, err := readDismissed(t, []byte{0x01, 1, 'x'}); gone || err == nil {
		t.Errorf("between two frames of a message: gone %v, %v", gone, err)
	}
}

// A dismissal ends when the watcher leaves. The next reader, a lease or a close, is
// not dismissed in its place.
func TestDismiss_Ends(t *testing.T) {
	w := newWire(&pieces{}, false, time.Second)
	w.parked = true
	if !w.dismiss(func() bool { return true }) || !w.wait.dismissed {
		t.Fatal("not dismissed")
	}
	w.left()
	if w.wait.dismissed || w.wait.dated {
		t.Error("the dismissal goes on")
	}
	if _, err := w.Read(make([]byte, 1)); err == errDismissed {
		t.Error("the next reader is sent away")
	}
}
