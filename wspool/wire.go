package wspool

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/respool/respool/internal/boundary"
)

// quietWait is how long a caller waits for the reader to deal with what has come
// in. It takes microseconds, or as long as the scheduler lets the reader wait:
// that it has not run is no evidence against the connection, so the limit is
// only for a peer that floods it or does not take its pongs.
const quietWait = 2 * time.Second

var errNotQuiet = errors.New("wspool: the reader does not keep up with what the peer sends")

// wire is the net.Conn below gorilla, and below TLS. It knows when the reader
// has dealt with all that came in, and can break off a write for good.
type wire struct {
	net.Conn
	socket *socket // what Conn is; nil: something else, into which nobody can look

	mu      sync.Mutex
	units   units         // of what has come in: frames, or TLS records
	parked  bool          // the reader waits in Read: what came before is dealt with
	wake    chan struct{} // closed when it parks next; nil: nobody waits for that
	severed bool          // writes are broken off
}

// units follows where one unit of the stream ends and the next begins.
type units interface {
	Feed(p []byte)
	Clean() bool
}

func newWire(c net.Conn, secure bool) *wire {
	w := &wire{Conn: c, units: boundary.Frames()}
	if secure {
		w.units = boundary.Records()
	}
	w.socket = newSocket(w)
	return w
}

// Read notes that the reader comes for more: gorilla and TLS ask for bytes only
// when they have used up those they had.
func (w *wire) Read(p []byte) (int, error) {
	if w.socket != nil {
		return w.socket.read(p)
	}
	w.mu.Lock()
	w.park()
	w.mu.Unlock()
	n, err := w.Conn.Read(p)
	w.mu.Lock()
	w.parked = false
	w.units.Feed(p[:n])
	w.mu.Unlock()
	return n, err
}

// park notes that the reader waits for bytes; w is locked.
func (w *wire) park() {
	w.parked = true
	if w.wake != nil {
		close(w.wake)
		w.wake = nil
	}
}

func (w *wire) unpark() {
	w.mu.Lock()
	w.parked = false
	w.mu.Unlock()
}

// quiet waits until the reader has dealt with every byte that has come in, or
// is gone, and for quietWait at most.
func (w *wire) quiet(ctx context.Context, gone <-chan struct{}) error {
	var timeout <-chan time.Time
	for {
		w.mu.Lock()
		if w.parked && w.units.Clean() && (w.socket == nil || w.socket.empty()) {
			w.mu.Unlock()
			return nil
		}
		if w.wake == nil {
			w.wake = make(chan struct{})
		}
		wake := w.wake
		w.mu.Unlock()
		if timeout == nil {
			t := time.NewTimer(quietWait)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-wake:
		case <-gone:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout:
			return errNotQuiet
		}
	}
}

// torn reports whether part of a frame, or of a TLS record, has come in.
func (w *wire) torn() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.units.Clean()
}

// SetWriteDeadline keeps a severed wire severed: gorilla sets a deadline anew
// for each frame.
func (w *wire) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.severed {
		t = longAgo
	}
	return w.Conn.SetWriteDeadline(t)
}

// calm takes the deadline off when a write has ended. One that stayed would pass,
// and fail what TLS writes of itself in answer to the peer, for ever.
func (w *wire) calm() { w.SetWriteDeadline(time.Time{}) } // fails only when closed

var longAgo = time.Unix(1, 0)

// sever breaks off the write that runs now and every later one.
func (w *wire) sever() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.severed = true
	w.Conn.SetWriteDeadline(longAgo) // fails only when closed
}

// abort closes the connection with no word to the peer. It does not block.
func (w *wire) abort() { w.Conn.Close() }
