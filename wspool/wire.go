package wspool

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/boundary"
)

// wire is the net.Conn below gorilla, and below TLS. It can be read without
// waiting, a wait in it can be broken off and begun again, and a write goes
// straight to the kernel while that takes what it is given: a deadline is set
// only once one has to wait.
type wire struct {
	net.Conn
	socket *socket   // what Conn is; nil: something else, into which nobody can look
	try    tryReader // Conn, if it is not a socket and can be read without waiting
	limit  time.Duration

	// hungry: TLS has asked for more than there was, so that it has nothing left
	// of what came before. Who has the reading sets it.
	hungry bool

	// nowait makes Read return errNothing instead of waiting. Who has the
	// reading sets it, around a Read of its own.
	nowait bool

	mu     sync.Mutex
	units  *boundary.Tracker // of the TLS records that have come in; nil: no TLS
	parked bool              // a Read waits for bytes: what came before is dealt with
	wake   chan struct{}     // closed when one parks next; nil: nobody waits for that
	wait   waiting           // how a wait can be broken off

	pressed  uint64          // bytes that the network took, of those that had to wait
	explicit atomic.Int64    // deadline of the next Write alone, as of UnixNano; 0: there is none
	budget   context.Context // of the message that is being written; nil: none is
	waiting  bool            // a Write waits for the network
	severed  atomic.Bool     // writes are broken off
	handed   atomic.Bool     // to a hijacker: deadlines are its own
}

// tryReader is what Config.NetDial says of connections that are no sockets.
type tryReader interface {
	TryRead(p []byte) (n int, err error)
}

func newWire(c net.Conn, secure bool, limit time.Duration) *wire {
	w := &wire{Conn: c, limit: limit}
	if secure {
		w.units = boundary.Records()
	}
	if w.socket = newSocket(w); w.socket == nil {
		w.try, _ = c.(tryReader)
	}
	return w
}

// drained reports whether TLS has used up what it was given, and nothing more has
// come in. It is for who has the reading.
func (w *wire) drained() bool {
	if !w.hungry || w.units == nil || w.socket == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.socket.empty()
}

// canTry reports whether Read heeds nowait.
func (w *wire) canTry() bool { return w.socket != nil || w.try != nil }

// Read notes that its caller comes for more: gorilla and TLS ask for bytes only
// when they have used up those they had.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.read(p)
	w.hungry = n == 0 && err == errNothing
	if err != nil && !w.nowait {
		return n, w.broke(err)
	}
	return n, err
}

func (w *wire) read(p []byte) (int, error) {
	if w.socket != nil {
		return w.socket.read(p)
	}
	var n int
	var err error
	if w.nowait {
		if n, err = w.try.TryRead(p); n == 0 && err == nil {
			return 0, errNothing
		}
	} else {
		w.mu.Lock()
		w.park()
		w.mu.Unlock()
		n, err = w.Conn.Read(p)
	}
	w.mu.Lock()
	w.parked = false
	w.feed(p[:n])
	w.mu.Unlock()
	return n, err
}

// feed follows the records; w is locked.
func (w *wire) feed(p []byte) {
	if w.units != nil {
		w.units.Feed(p)
	}
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

// torn reports whether part of a TLS record has come in.
func (w *wire) torn() bool {
	if w.units == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.units.Clean()
}

// notice is an error that says something about a Read and nothing about the
// connection: TLS reads on after one that is temporary.
type notice string

func (n notice) Error() string   { return string(n) }
func (n notice) Timeout() bool   { return true }
func (n notice) Temporary() bool { return true }

const (
	// errNothing: nothing has come in that nobody has read.
	errNothing notice = "wspool: nothing has come in"
	// errInterrupted: the wait was broken off, and may be begun again.
	errInterrupted notice = "wspool: the wait was broken off"
	// errDismissed: who waits shall go.
	errDismissed notice = "wspool: the reader is to leave"
)

var _ net.Error = errNothing

// quietWait is how long a caller waits for the reader to deal with what has come
// in. It takes microseconds, or as long as the scheduler lets the reader wait:
// that it has not run is no evidence against the connection, so the limit is
// only for a peer that floods it or does not take its pongs.
const quietWait = 2 * time.Second

// tryWait is that of a caller who does not want to wait.
const tryWait = 5 * time.Millisecond

var errNotQuiet = errors.New("wspool: the reader does not keep up with what the peer sends")

// quiet waits until the reader has dealt with every byte that has come in, and
// for patience at most. clean is what else must hold, asked with w locked while
// the reader is parked. done says that the wait is over otherwise, or begins
// another reader; it is asked again whenever a reader parks or leaves (stir).
func (w *wire) quiet(ctx context.Context, clean, done func() bool, gone <-chan struct{}, patience time.Duration) error {
	var timeout <-chan time.Time
	for {
		w.mu.Lock()
		if w.still() && clean() {
			w.mu.Unlock()
			return nil
		}
		if w.wake == nil {
			w.wake = make(chan struct{})
		}
		wake := w.wake
		w.mu.Unlock()
		if done() {
			return nil
		}
		if timeout == nil {
			t := time.NewTimer(patience)
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

// stir has those who wait for quiet look again: the reader has left.
func (w *wire) stir() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wake != nil {
		close(w.wake)
		w.wake = nil
	}
}

// still reports whether the reader is parked and nothing is left to wake it; w
// is locked.
func (w *wire) still() bool {
	return w.parked && (w.units == nil || w.units.Clean()) && (w.socket == nil || w.socket.empty())
}

// readable reports whether the socket has something that nobody has read. It is
// false where nobody can look.
func (w *wire) readable() bool {
	if w.socket == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.socket.empty()
}

// abort closes the connection with no word to the peer. It does not block.
func (w *wire) abort() { w.Conn.Close() }
