package wsconn

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/respool/respool/internal/boundary"
)

// RawConn is the net.Conn below gorilla, and below TLS. It can be read without
// blocking, a blocked read can be interrupted and repeated, and a write goes straight
// to the kernel as long as the kernel takes it: a write deadline is set only once the
// write has to wait.
type RawConn struct {
	net.Conn
	socket *socket   // Conn as a socket; nil: Conn is something else
	try    tryReader // Conn, if it is no socket and can be read without blocking
	limit  time.Duration

	// hungry: the last Read found nothing, or was interrupted before something arrived, so TLS
	// has used up all earlier bytes.
	// Owned by the reader.
	hungry bool

	// reads is the number of calls of Read. Owned by the reader.
	reads uint64

	// nowait makes Read return errNothing instead of blocking. Owned by the reader,
	// which sets it around a Read of its own.
	nowait bool

	// hooks: the next Read of a socket that finds nothing hooks the context of the present read
	// before it blocks; see FrameConn.AwaitOutside. Owned by the reader.
	hooks bool

	// ask is called by the next Read that finds nothing, before it blocks; see
	// FrameConn.Ask. Owned by the reader.
	ask    func() (wait bool)
	askCtx context.Context // bounds what ask writes

	// Guarded by mu.
	mu     sync.Mutex
	units  *boundary.Tracker // follows the TLS records that arrive; nil: no TLS
	parked bool              // a Read is blocked: the reader has dealt with all earlier bytes
	wake   chan struct{}     // closed when a Read parks next; nil: no goroutine waits for that
	read   readState

	pressed uint64          // bytes that the network took of writes that had to wait
	budget  context.Context // bounds the message being written; nil: none is
	message uint64          // its number
	waiting bool            // a Write waits for the network

	backlog backlog // what a deferred write has left to be written

	owes atomic.Bool // a Write that would wait leaves the rest in owed; see FrameConn.TryPoll
	owed []byte      // the beginning of the next Write; only Writes, which do not overlap, access it

	explicit atomic.Int64 // deadline of the next Write alone, as of UnixNano; 0: none
	severed  atomic.Bool  // writes are cut off
	handed   atomic.Bool  // the connection was hijacked: deadlines are its new owner's
}

// tryReader is implemented by connections of Config.NetDial that are no sockets and
// can be read without blocking.
type tryReader interface {
	TryRead(p []byte) (n int, err error)
}

// NewRawConn returns a RawConn over c. secure says that TLS will run on top of it.
// limit is how long a Write may make no progress.
func NewRawConn(c net.Conn, secure bool, limit time.Duration) *RawConn {
	w := &RawConn{Conn: c, limit: limit}
	if secure {
		w.units = boundary.Records()
	}
	if w.socket = newSocket(w); w.socket == nil {
		w.try, _ = c.(tryReader)
	}
	return w
}

// SyscallConn returns the socket for readiness notification, nil if Conn is none.
func (w *RawConn) SyscallConn() syscall.RawConn {
	if w.socket == nil {
		return nil
	}
	return w.socket.raw
}

// CanPoll reports whether the connection can be read without blocking.
func (w *RawConn) CanPoll() bool { return w.socket != nil || w.try != nil }

// exhausted reports whether the socket has no bytes, and TLS, if there is any, has used
// up all that it was given. Only the reader may call it.
func (w *RawConn) exhausted() bool {
	if w.socket == nil || w.units != nil && !w.hungry {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.socket.empty()
}

// Read implements net.Conn. Gorilla and TLS call it only when they have used up all
// earlier bytes.
func (w *RawConn) Read(p []byte) (int, error) {
	w.reads++
	n, err := w.readOnce(p)
	if err != nil && !w.nowait {
		err = w.interruption(err)
	}
	w.hungry = n == 0 && isNotice(err)
	return n, err
}

// readOnce is Read without the replacement of errors.
func (w *RawConn) readOnce(p []byte) (int, error) {
	if w.socket != nil {
		n, err := w.socket.read(p)
		if err != nil && err != errNothing {
			w.unpark()
		}
		return n, err
	}
	var n int
	var err error
	if w.nowait {
		if n, err = w.try.TryRead(p); n == 0 && err == nil {
			return 0, errNothing
		}
	} else {
		w.mu.Lock()
		w.parkLocked()
		w.mu.Unlock()
		n, err = w.Conn.Read(p)
	}
	w.mu.Lock()
	w.parked = false
	w.feedLocked(p[:n])
	w.mu.Unlock()
	return n, err
}

// feedLocked follows the TLS records in p.
func (w *RawConn) feedLocked(p []byte) {
	if w.units != nil {
		w.units.Feed(p)
	}
}

// parkLocked notes that the reader blocks.
func (w *RawConn) parkLocked() {
	w.parked = true
	w.wakeLocked()
}

func (w *RawConn) wakeLocked() {
	if w.wake != nil {
		close(w.wake)
		w.wake = nil
	}
}

func (w *RawConn) unpark() {
	w.mu.Lock()
	w.parked = false
	w.mu.Unlock()
}

// Parked reports whether the reader is blocked in Read.
func (w *RawConn) Parked() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.parked
}

// MidRecord reports whether part of a TLS record has arrived.
func (w *RawConn) MidRecord() bool {
	if w.units == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.units.Clean()
}

// notice is an error that says something about one Read and nothing about the
// connection. It is temporary, so that TLS does not keep it. Notices are compared on
// every read, so they are pointers.
type notice struct{ text string }

func (n *notice) Error() string   { return n.text }
func (n *notice) Timeout() bool   { return true }
func (n *notice) Temporary() bool { return true }

// isNotice reports whether err is a notice. TLS passes on the errors from below.
func isNotice(err error) bool {
	_, is := err.(*notice)
	return is
}

var (
	// errNothing: a Read with nowait found nothing, or Ask is not to wait.
	errNothing = &notice{"wspool: nothing has arrived"}
	// errInterrupted: the read was interrupted and may be repeated.
	errInterrupted = &notice{"wspool: the read was interrupted"}
	// errDismissed: the reader is to stop reading.
	errDismissed = &notice{"wspool: the reader was dismissed"}
)

var _ net.Error = errNothing

// ErrNotQuiet is returned by WaitQuiet when its time is over.
var ErrNotQuiet = errors.New("wspool: the reader does not keep up with what the peer sends")

// WaitQuiet waits until the reader has dealt with every byte that has arrived, for
// patience at most. clean is a further condition, called with mu held while the
// reader is parked. done is called without mu and may end the wait, or start another
// reader; it is called again whenever a reader parks or stops (see Nudge). It returns
// nil when either holds or gone is closed, ctx's error, or ErrNotQuiet.
func (w *RawConn) WaitQuiet(ctx context.Context, clean, done func() bool, gone <-chan struct{}, patience time.Duration) error {
	var timeout <-chan time.Time
	for {
		w.mu.Lock()
		if w.quietLocked() && clean() {
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
			return ErrNotQuiet
		}
	}
}

// Nudge makes waiters in WaitQuiet look again.
func (w *RawConn) Nudge() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wakeLocked()
}

// quietLocked reports whether the reader is parked and nothing is left to wake it.
func (w *RawConn) quietLocked() bool {
	return w.parked && (w.units == nil || w.units.Clean()) && (w.socket == nil || w.socket.empty())
}

// Readable reports whether the socket holds unread bytes or its end. Where Conn is
// no socket it is false.
func (w *RawConn) Readable() bool {
	if w.socket == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.socket.empty()
}

// Abort closes the connection without a word to the peer. It does not block.
func (w *RawConn) Abort() { w.Conn.Close() }
