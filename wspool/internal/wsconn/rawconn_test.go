package wsconn

import (
	"net"
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

// recorder is a connection that takes all that is written.
type recorder struct {
	net.Conn
	took []byte
}

func (r *recorder) Write(p []byte) (int, error) {
	r.took = append(r.took, p...)
	return len(p), nil
}

func (r *recorder) SetReadDeadline(time.Time) error  { return nil }
func (r *recorder) SetWriteDeadline(time.Time) error { return nil }

func (r *recorder) TryRead([]byte) (int, error) { return 0, nil }

// What TLS writes during a TryPoll does not wait for the network. The next Write begins with it.
func TestRawConn_Owed(t *testing.T) {
	r := &recorder{}
	w := NewRawConn(r, true, time.Second)
	write := func(p string) {
		t.Helper()
		if n, err := w.Write([]byte(p)); n != len(p) || err != nil {
			t.Errorf("%q: %d, %v", p, n, err)
		}
	}
	w.owes.Store(true)
	write("answer ")
	write("alert ")
	w.owes.Store(false)
	if len(r.took) > 0 {
		t.Errorf("%q was written at once", r.took)
	}
	write("data ")
	write("more")
	if string(r.took) != "answer alert data more" {
		t.Errorf("%q was written", r.took)
	}
	w.owes.Store(true)
	write(string(make([]byte, maxQueued)))
	if w.Severed() {
		t.Error("severed")
	}
	write("x")
	if !w.Severed() {
		t.Error("what is owed has no limit")
	}
}

// answering is a TLS connection that writes whenever it is read.
type answering struct{ *RawConn }

func (a answering) Read(p []byte) (int, error) {
	a.Write([]byte("answer"))
	return a.RawConn.Read(p)
}

// TryPoll leaves a connection alone on which a frame is being written, and lets none be written
// meanwhile.
func TestTryPoll(t *testing.T) {
	r := &recorder{}
	w := NewRawConn(r, true, time.Second)
	f := NewFrameConn(answering{w}, w, NewClock(), 0, 100, false)
	f.out.mu.Lock()
	if some, known := f.TryPoll(false); some || known || w.reads != 0 {
		t.Errorf("while a frame is written: some %v, known %v, %d reads", some, known, w.reads)
	}
	w.waiting = true
	if some, known := f.TryPoll(true); some || known || w.reads != 0 {
		t.Errorf("while a frame waits for the network: some %v, known %v, %d reads", some, known, w.reads)
	}
	w.waiting = false
	time.AfterFunc(10*time.Millisecond, f.out.mu.Unlock)
	if some, known := f.TryPoll(true); some || !known || w.reads != 1 {
		t.Errorf("after a frame: some %v, known %v, %d reads", some, known, w.reads)
	}
	w.reads, w.owed = 0, nil
	if some, known := f.TryPoll(false); some || !known || w.reads != 1 || string(w.owed) != "answer" {
		t.Errorf("some %v, known %v, %d reads, owed %q", some, known, w.reads, w.owed)
	}
	if !f.out.mu.TryLock() {
		t.Fatal("the lock of the sender is held")
	}
	f.out.mu.Unlock()
	f.Raw.units = nil // no TLS, which alone writes in a read
	f.out.mu.Lock()
	defer f.out.mu.Unlock()
	if some, known := f.TryPoll(false); some || !known {
		t.Errorf("without TLS: some %v, known %v", some, known)
	}
}
