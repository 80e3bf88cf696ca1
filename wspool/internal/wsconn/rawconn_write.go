package wsconn

import (
	"context"
	"errors"
	"os"
	"time"
)

// Write gives p to the network, behind what an earlier Write has left in owed. What the
// kernel takes at once needs no deadline. The rest waits: until the deadline of
// SetWriteDeadline if there is one, otherwise for as long as the context of the message
// allows and the network makes progress.
func (w *RawConn) Write(p []byte) (int, error) {
	before := len(w.owed)
	if before == 0 {
		return w.write(p)
	}
	all := append(w.owed, p...)
	w.owed = nil
	n, err := w.write(all)
	return max(0, n-before), err
}

// oweRest leaves p, the rest of a Write, to the next one, if owes is set. TLS 1.3 permits it:
// the answer to a KeyUpdate must precede the next data and nothing else (RFC 8446, section
// 4.6.3), and an alert that is sent here is the last record.
func (w *RawConn) oweRest(p []byte) bool {
	if !w.owes.Load() {
		return false
	}
	w.owed = append([]byte(nil), p...)
	if len(w.owed) > maxQueued { // of a peer that makes TLS answer, and does not read
		w.Sever()
	}
	return true
}

// write is Write without owed.
func (w *RawConn) write(p []byte) (n int, err error) {
	by := w.explicit.Load()
	if by != 0 {
		w.explicit.Store(0)
	}
	switch {
	case w.backlog.on.Load() && w.enqueue(p):
		return len(p), nil
	case w.handed.Load():
		return w.Conn.Write(p)
	case w.severed.Load():
		return 0, os.ErrDeadlineExceeded
	case w.socket != nil:
		n, err = w.socket.writeNow(p)
	}
	if n < len(p) && err == nil {
		if w.oweRest(p[n:]) || w.deferRest(p[n:]) {
			return len(p), nil
		}
		var more int
		more, err = w.writeSlow(p[n:], by)
		n += more
	}
	return n, err
}

// slowPiece is how much is given to the network at once where it has to wait, so
// that progress is seen.
const slowPiece = 16 << 10

// slowParts is into how many parts the time without progress is divided: after each
// part writeSlow checks whether the network has taken some bytes of a piece.
const slowParts = 8

// writeSlow waits for the network: until explicit if that is not 0, else no longer
// than limit without progress. It removes the deadline at the end: a deadline that
// stayed would pass, and fail what TLS writes of its own accord, for ever.
func (w *RawConn) writeSlow(p []byte, explicit int64) (int, error) {
	w.mu.Lock()
	ctx, message := w.budget, w.message // nil: a write of TLS itself, outside any message
	w.waiting = true
	w.mu.Unlock()
	if ctx != nil && ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() { w.severMessage(message) })()
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
		if ended.Sub(began) >= time.Millisecond { // the write did wait
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

// writeWaits reports whether a Write waits for the network.
func (w *RawConn) writeWaits() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.waiting
}

// slowDeadline returns the deadline of a Write that begins now, where the network
// made progress last at progress. final says that no time is left after it, unless
// the network makes progress meanwhile.
func (w *RawConn) slowDeadline(ctx context.Context, now, progress time.Time, explicit int64) (by time.Time, final bool) {
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
	case by.Before(now) && !past(ctx): // the process was stopped: give the network another part
		by = part
	}
	return by, true
}

// past reports whether ctx has ended or is about to; nil never does.
func past(ctx context.Context) bool {
	if ctx == nil {
		return false
	}
	at, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(at)
}

// setSlowDeadline sets the deadline of the next Write, unless writes are cut off.
func (w *RawConn) setSlowDeadline(by time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.severed.Load() {
		by = longAgo
	}
	w.Conn.SetWriteDeadline(by)
}

// unsent returns how many bytes the kernel holds that the peer has not acknowledged,
// 0 if that is not known. It can fall while the kernel has no room for more.
func (w *RawConn) unsent() int {
	if w.socket == nil {
		return 0
	}
	return w.socket.unsent()
}

// BeginMessage makes ctx bound the next message, until EndMessage.
func (w *RawConn) BeginMessage(ctx context.Context) {
	w.mu.Lock()
	w.boundLocked(ctx)
	w.mu.Unlock()
}

func (w *RawConn) boundLocked(ctx context.Context) {
	w.budget = ctx
	w.message++
}

// EndMessage ends the message.
func (w *RawConn) EndMessage() {
	w.mu.Lock()
	w.budget = nil
	w.mu.Unlock()
}

// Progress returns how many bytes the network has taken of writes that had to wait.
func (w *RawConn) Progress() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pressed
}

// SetWriteDeadline sets the deadline of the next Write alone. Gorilla calls it before
// each frame, and TLS before its close alert. Gorilla sets one for control frames
// only: messages are bounded by BeginMessage.
func (w *RawConn) SetWriteDeadline(t time.Time) error {
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

// Sever cuts off the present write and all later ones.
func (w *RawConn) Sever() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.severLocked()
}

// SeverWaiting is Sever if a write waits for the network.
func (w *RawConn) SeverWaiting() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting {
		w.severLocked()
	}
}

// severMessage is Sever, unless the message of that number has ended meanwhile.
func (w *RawConn) severMessage(number uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.budget != nil && w.message == number {
		w.severLocked()
	}
}

func (w *RawConn) severLocked() {
	w.severed.Store(true)
	w.Conn.SetWriteDeadline(longAgo) // fails only on a closed connection
}

// Severed reports whether writes are cut off.
func (w *RawConn) Severed() bool { return w.severed.Load() }
