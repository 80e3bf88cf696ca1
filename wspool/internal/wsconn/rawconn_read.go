package wsconn

import (
	"context"
	"time"
)

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// readState says what the present read is and whether it may be interrupted.
//
// Gorilla keeps every read error for ever, a timeout included. A read that a context
// may interrupt therefore blocks in [FrameConn.Await] first, which gorilla does not
// know of, and enters gorilla when its message has begun to arrive.
type readState struct {
	op          uint64 // number of the present read; grows with each
	on          bool   // a read that may be interrupted is under way
	awaiting    bool   // it blocks outside gorilla, where an interruption does no harm
	inside      bool   // it is inside gorilla, where an interruption ends all reading
	interrupted bool   // it is to return
	dismissed   bool   // the watcher is to stop reading; see Dismiss
	dated       bool   // the read deadline is set
	cut         bool   // reading was interrupted inside gorilla, for good
	soft        bool   // its context interrupts it only where that does no harm

	// context.AfterFunc costs as much as all the rest of a lease, and most reads
	// end within a tick of the monitor. So only reads that a tick finds under way
	// get one: see HookContext.
	ctx    context.Context // is to interrupt the read; nil: none is, or it is hooked
	hooked context.Context // interrupts the read; nil: none does
	unhook func() bool     // the stop function of context.AfterFunc; nil: not hooked
	onEnd  func()          // contextEnded, made once; nil: no read was hooked yet
	fresh  bool            // no tick has come since the read began
}

// BeginRead begins a read that ctx may interrupt; nil: nothing interrupts it by
// itself. A soft read is not interrupted once it is inside gorilla. The read ends
// with EndRead, which may be omitted if ctx is nil.
func (w *RawConn) BeginRead(ctx context.Context, soft bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read.op++
	w.read.on, w.read.fresh, w.read.soft = true, true, soft
	w.read.inside, w.read.interrupted = false, false
	w.read.ctx, w.read.hooked = ctx, nil
}

// EndRead ends the read. After it the context of this read can interrupt no other.
// If whole is true the read was successful, so that an interruption that came too
// late is undone.
func (w *RawConn) EndRead(whole bool) {
	if unhook := w.FinishRead(whole); unhook != nil {
		unhook()
	}
}

// FinishRead is EndRead for a caller that holds a lock: the caller calls the function that
// it returns, if that is not nil, without the lock, because it may call methods of the
// context.
func (w *RawConn) FinishRead(whole bool) (unhook func() bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if whole {
		w.read.cut = false
	}
	w.read.on, w.read.inside, w.read.interrupted = false, false, false
	w.clearDeadlineLocked()
	unhook = w.read.unhook
	w.read.ctx, w.read.hooked, w.read.unhook = nil, nil, nil
	return unhook
}

// HookContext makes the context of the present read interrupt it. If late is true it
// does so only for a read that was under way at the last late call already.
func (w *RawConn) HookContext(late bool) {
	w.mu.Lock()
	ctx, op, due := w.read.ctx, w.read.op, w.read.on && !(late && w.read.fresh)
	w.read.fresh = false
	if ctx == nil || !due {
		w.mu.Unlock()
		return
	}
	w.read.ctx, w.read.hooked = nil, ctx // before AfterFunc: contextEnded may run at once
	if w.read.onEnd == nil {
		w.read.onEnd = w.contextEnded
	}
	f := w.read.onEnd
	w.mu.Unlock()
	unhook := context.AfterFunc(ctx, f)
	w.mu.Lock()
	if w.read.on && w.read.op == op && w.read.hooked != nil {
		w.read.unhook, unhook = unhook, nil
	}
	w.mu.Unlock()
	if unhook != nil { // the read has ended meanwhile
		unhook()
	}
}

// contextEnded interrupts the present read if its context has ended. It is called when the context
// of a read has ended, perhaps after that read.
func (w *RawConn) contextEnded() {
	w.mu.Lock()
	ctx, op := w.read.hooked, w.read.op
	w.mu.Unlock()
	if ctx != nil && ctx.Err() != nil {
		w.interruptOp(op)
	}
}

// hookLocked hooks the context of the present read, which is about to wait. It releases mu meanwhile.
// A context that has ended sets a deadline, which ends the wait though that has not begun; so does
// what arrives meanwhile, as [FrameConn.Ask] explains.
func (w *RawConn) hookLocked() {
	w.hooks = false
	w.mu.Unlock()
	defer w.mu.Lock()
	w.HookContext(false)
}

// UnhookContext separates the present read from its context.
func (w *RawConn) UnhookContext() {
	w.mu.Lock()
	unhook := w.read.unhook
	w.read.ctx, w.read.hooked, w.read.unhook = nil, nil, nil
	w.mu.Unlock()
	if unhook != nil {
		unhook()
	}
}

// Harden turns a soft read that is inside gorilla into one that ctx may interrupt;
// nil: nothing does.
func (w *RawConn) Harden(ctx context.Context) {
	w.mu.Lock()
	unhook := w.read.unhook
	w.read.op++
	w.read.soft, w.read.ctx, w.read.hooked, w.read.unhook = false, ctx, nil, nil
	w.mu.Unlock()
	if unhook != nil {
		unhook()
	}
	w.HookContext(false)
}

// Rebind makes ctx interrupt the present read, which is inside gorilla, in place of the context
// before, and undoes an interruption that gorilla has not noticed, because no Read runs. The
// caller calls the function that it returns, if that is not nil, and HookContext, without a lock.
func (w *RawConn) Rebind(ctx context.Context) (unhook func() bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read.op++ // the context before may be about to interrupt it
	w.read.interrupted, w.read.cut = false, false
	w.clearDeadlineLocked()
	unhook = w.read.unhook
	w.read.ctx, w.read.hooked, w.read.unhook = ctx, nil, nil
	return unhook
}

// Interrupt makes the present read return, if there is one: without harm if it still
// blocks outside gorilla, for good if part of a message has arrived.
func (w *RawConn) Interrupt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.read.on {
		w.interruptLocked()
	}
}

// interruptOp is Interrupt for the read op alone, if it has not ended.
func (w *RawConn) interruptOp(op uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.read.on && w.read.op == op && !(w.read.soft && w.read.inside) {
		w.interruptLocked()
	}
}

func (w *RawConn) interruptLocked() {
	w.read.interrupted = true
	if w.read.inside {
		w.read.cut = true
	}
	if w.read.inside || w.read.awaiting {
		w.setDeadlineLocked()
	}
}

// setDeadlineLocked ends the Read that blocks.
func (w *RawConn) setDeadlineLocked() {
	w.read.dated = true
	w.Conn.SetReadDeadline(longAgo) // fails only on a closed connection
}

// clearDeadlineLocked lets Reads block again, unless reading has ended for good.
func (w *RawConn) clearDeadlineLocked() {
	if w.read.dated && !w.read.cut {
		w.read.dated = false
		w.Conn.SetReadDeadline(time.Time{})
	}
}

// beginAwait reports whether the present read may block: it was not interrupted.
func (w *RawConn) beginAwait() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.read.interrupted {
		return false
	}
	w.read.awaiting = true
	return true
}

// endAwait ends the wait. It returns false if the read was interrupted; otherwise,
// if enters is true, the read is inside gorilla from now on.
func (w *RawConn) endAwait(enters bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read.awaiting = false
	w.clearDeadlineLocked()
	if !w.read.interrupted {
		w.read.inside = enters
	}
	return !w.read.interrupted
}

// Enter notes that the present read enters gorilla. It returns false if the read
// was interrupted before.
func (w *RawConn) Enter() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.read.interrupted {
		return false
	}
	w.read.inside = true
	return true
}

// StayOutside notes that the present read does not enter gorilla after all.
func (w *RawConn) StayOutside() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read.inside = false
}

// interruption replaces the error of a Read that was interrupted on purpose.
func (w *RawConn) interruption(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.read.dismissed:
		return errDismissed
	case w.read.awaiting && w.read.interrupted:
		return errInterrupted
	}
	return err
}

// Dismiss makes the watcher that blocks in [FrameConn.Watch] stop reading, if it
// does and has dealt with everything that has arrived. clean is as in WaitQuiet. It
// returns false if nothing was changed. The dismissal lasts until EndDismissal.
func (w *RawConn) Dismiss(clean func() bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.quietLocked() || !clean() {
		return false
	}
	w.read.dismissed = true
	w.setDeadlineLocked()
	return true
}

// EndDismissal notes that the watcher has stopped: the next reader was not meant.
func (w *RawConn) EndDismissal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.read.dismissed {
		w.read.dismissed = false
		w.clearDeadlineLocked()
	}
}

// Uncut lets the rest of the stream be read, though not by gorilla, after reading
// was interrupted inside gorilla. It reports whether it was.
func (w *RawConn) Uncut() (was bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	was = w.read.cut
	w.read.cut = false
	w.clearDeadlineLocked()
	return was
}
