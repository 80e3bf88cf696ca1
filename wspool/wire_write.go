package wspool

import (
	"context"
	"os"
	"time"
)

var longAgo = time.Unix(1, 0)

// Write gives p to the network. What the kernel takes at once needs no
// deadline; the rest waits for as long as explicit, or else the message's
// budget, allows.
func (w *wire) Write(p []byte) (n int, err error) {
	by := w.explicit.Load()
	if by != 0 {
		w.explicit.Store(0)
	}
	switch {
	case w.handed.Load():
		return w.Conn.Write(p)
	case w.severed.Load():
		return 0, os.ErrDeadlineExceeded
	case w.socket != nil:
		n, err = w.socket.writeNow(p)
	}
	if n < len(p) && err == nil {
		var more int
		more, err = w.writeSlow(p[n:], by)
		n += more
	}
	return n, err
}

// slowPiece is how much is given to the network at once where that has to wait,
// so that it is seen to take it.
const slowPiece = 16 << 10

// writeSlow waits for the network. The deadline is taken off at the end: one
// that stayed would pass, and fail what TLS writes of itself in answer to the
// peer, for ever.
func (w *wire) writeSlow(p []byte, explicit int64) (int, error) {
	w.mu.Lock()
	ctx, by := w.budget.ctx, time.Unix(0, explicit)
	switch {
	case explicit != 0:
	case ctx == nil: // TLS speaks of itself, of no message
		by = time.Now().Add(w.limit)
	default:
		if w.budget.by.IsZero() {
			w.budget.by = time.Now().Add(w.limit)
			if at, ok := ctx.Deadline(); ok && at.Before(w.budget.by) {
				w.budget.by = at
			}
		}
		by = w.budget.by
	}
	if w.severed.Load() {
		by = longAgo
	}
	w.waiting = true
	w.Conn.SetWriteDeadline(by)
	w.mu.Unlock()
	if ctx != nil && ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() { w.severFor(ctx) })()
	}
	n, err := 0, error(nil)
	for n < len(p) && err == nil {
		var more int
		began := time.Now()
		more, err = w.Conn.Write(p[n:min(len(p), n+slowPiece)])
		n += more
		if time.Since(began) >= time.Millisecond { // it had to wait indeed
			w.mu.Lock()
			w.pressed += uint64(more)
			w.mu.Unlock()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = false
	if !w.severed.Load() {
		w.Conn.SetWriteDeadline(time.Time{})
	}
	return n, err
}

// beginMessage gives the next message its budget; endMessage ends it and
// reports whether it was broken off.
func (w *wire) beginMessage(ctx context.Context) {
	w.mu.Lock()
	w.budget = budget{ctx: ctx}
	w.mu.Unlock()
}

func (w *wire) endMessage() (severed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.budget = budget{}
	return w.severed.Load()
}

// progress returns how many bytes the network took of those that had to wait.
func (w *wire) progress() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pressed
}

// SetWriteDeadline is told by gorilla before each frame, and by TLS before it
// says goodbye, until when the Write that follows may take. Gorilla has one for
// control frames only: those of messages have their budget.
func (w *wire) SetWriteDeadline(t time.Time) error {
	if w.handed.Load() {
		return w.Conn.SetWriteDeadline(t)
	}
	by := int64(0)
	if !t.IsZero() {
		by = t.UnixNano()
	}
	if w.explicit.Load() != by {
		w.explicit.Store(by)
	}
	return nil
}

// sever breaks off the write that runs now and every later one.
func (w *wire) sever() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.severLocked()
}

// severWaiting is sever if a write waits for the network.
func (w *wire) severWaiting() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting {
		w.severLocked()
	}
}

// severFor is sever, unless the message that ctx is of has ended meanwhile.
func (w *wire) severFor(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.budget.ctx == ctx {
		w.severLocked()
	}
}

func (w *wire) severLocked() {
	w.severed.Store(true)
	w.Conn.SetWriteDeadline(longAgo) // fails only when closed
}

func (w *wire) isSevered() bool {
	return w.severed.Load()
}

// handOver makes w pass everything on: it is a hijacker's from now.
func (w *wire) handOver() {
	w.handed.Store(true)
}
