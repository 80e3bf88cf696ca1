package wspool

import (
	"context"
	"errors"
	"os"
	"time"
)

var longAgo = time.Unix(1, 0)

// Write gives p to the network. What the kernel takes at once needs no
// deadline; the rest waits until explicit, or else for as long as the message's
// ctx allows and the network makes progress.
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

// slowParts is into how many parts the time without progress is divided: after
// each it is looked whether the network has taken a part of a piece.
const slowParts = 8

// writeSlow waits for the network, for no longer than limit without progress, or,
// if there is an explicit deadline, until that. The deadline is taken off at the
// end: one that stayed would pass, and fail what TLS writes of itself in answer to
// the peer, for ever.
func (w *wire) writeSlow(p []byte, explicit int64) (int, error) {
	w.mu.Lock()
	ctx := w.budget // nil: TLS speaks of itself, of no message
	w.waiting = true
	w.mu.Unlock()
	if ctx != nil && ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() { w.severFor(ctx) })()
	}
	unsent := w.unsent()
	n, err := 0, error(nil)
	progress := time.Now()
	for n < len(p) && err == nil {
		var more int
		began := time.Now()
		by, final := w.slowDeadline(ctx, began, progress, explicit)
		w.setSlowDeadline(by)
		more, err = w.Conn.Write(p[n:min(len(p), n+slowPiece)])
		n += more
		ended := time.Now()
		if ended.Sub(began) >= time.Millisecond { // it had to wait indeed
			w.mu.Lock()
			w.pressed += uint64(more)
			w.mu.Unlock()
			left := w.unsent()
			if more > 0 || left < unsent {
				progress = ended // at the latest
			}
			unsent = left
		}
		switch {
		case err == nil:
			progress = ended
		case errors.Is(err, os.ErrDeadlineExceeded) && !w.severed.Load() && (!final || explicit == 0 && progress == ended && !past(ctx)):
			err = nil
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

// slowDeadline bounds a Write that begins now, where the network took something
// last at progress. final says that there is no time left after it unless the
// network takes something meanwhile.
func (w *wire) slowDeadline(ctx context.Context, now, progress time.Time, explicit int64) (by time.Time, final bool) {
	if explicit != 0 {
		return time.Unix(0, explicit), true
	}
	by = progress.Add(w.limit)
	if ctx != nil {
		if at, ok := ctx.Deadline(); ok && at.Before(by) {
			by = at
		}
	}
	part := now.Add(max(w.limit/slowParts, time.Millisecond))
	switch {
	case part.Before(by):
		return part, false
	case by.Before(now) && !past(ctx): // the process has stood still: the network gets another moment
		by = part
	}
	return by, true
}

// past reports whether ctx, if there is one, has ended or is about to.
func past(ctx context.Context) bool {
	if ctx == nil {
		return false
	}
	at, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(at)
}

// setSlowDeadline sets the deadline of the next Write, unless writes are broken
// off.
func (w *wire) setSlowDeadline(by time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.severed.Load() {
		by = longAgo
	}
	w.Conn.SetWriteDeadline(by)
}

// unsent is how many bytes the kernel has that the peer has not acknowledged: they
// may become fewer while there is no room for more. If that is not known it is 0.
func (w *wire) unsent() int {
	if w.socket == nil {
		return 0
	}
	return w.socket.unsent()
}

// beginMessage has ctx bound the next message; endMessage ends that and reports
// whether it was broken off.
func (w *wire) beginMessage(ctx context.Context) {
	w.mu.Lock()
	w.budget = ctx
	w.mu.Unlock()
}

func (w *wire) endMessage() (severed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.budget = nil
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
	if w.budget == ctx {
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
