package wspool

import (
	"context"
	"time"
)

// waiting says who waits in a wire's Read, and whether it may be broken off.
//
// A read deadline of gorilla's is for ever, so nobody may wait inside gorilla
// whose wait can be given up. A lease therefore waits in tap.await first, which
// gorilla does not know of, and goes on to gorilla when its message has begun.
type waiting struct {
	op          uint64 // counts the reads that may be broken off
	on          bool   // one is under way
	awaiting    bool   // it waits where that can be broken off without harm
	inside      bool   // it is inside gorilla, where it cannot
	interrupted bool   // it shall return
	dismissed   bool   // the watcher shall go; see dismiss
	dated       bool   // the read deadline is set
	cut         bool   // reading was broken off for good
	soft        bool   // its context breaks it off only where that does no harm

	// What breaks the op off by itself. To have a context call costs as much as
	// all the rest of a lease, and most reads are done before the keeper's next
	// tick: so only those it finds waiting then are hooked to theirs.
	ctx    context.Context // nil: nothing does, or it is hooked
	unhook func() bool     // nil: it is not
	fresh  bool            // no tick has come since it began
}

// startOp begins a read that may be broken off, by ctx too. It ends with stopOp,
// but one whose ctx is nil need not be ended.
func (w *wire) startOp(ctx context.Context, soft bool) (op uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wait.op++
	w.wait.on, w.wait.fresh, w.wait.soft = true, true, soft
	w.wait.inside, w.wait.interrupted = false, false
	w.wait.ctx = ctx
	return w.wait.op
}

// stopOp ends it. Nothing can break off another read in its stead afterwards.
// If it was broken off and has read its message to the end all the same, that
// did no harm.
func (w *wire) stopOp(whole bool) {
	w.mu.Lock()
	if whole {
		w.wait.cut = false
	}
	w.wait.on, w.wait.inside, w.wait.interrupted = false, false, false
	w.undate()
	unhook := w.wait.unhook
	w.wait.ctx, w.wait.unhook = nil, nil
	w.mu.Unlock()
	if unhook != nil {
		unhook()
	}
}

// hook has the context of the read under way break it off; if late, only if the
// read has gone on since the last call.
func (w *wire) hook(late bool) {
	w.mu.Lock()
	ctx, op, due := w.wait.ctx, w.wait.op, w.wait.on && !(late && w.wait.fresh)
	w.wait.fresh = false
	w.mu.Unlock()
	if ctx == nil || !due {
		return
	}
	unhook := context.AfterFunc(ctx, func() { w.breakOff(op) })
	w.mu.Lock()
	if w.wait.on && w.wait.op == op && w.wait.ctx == ctx {
		w.wait.ctx, w.wait.unhook, unhook = nil, unhook, nil
	}
	w.mu.Unlock()
	if unhook != nil { // it has ended meanwhile, or another was faster
		unhook()
	}
}

// breakOff has the read op return, if it has not: without harm if it waits for
// a message to begin, for good if a part of one has come.
func (w *wire) breakOff(op uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wait.on && w.wait.op == op && !(w.wait.soft && w.wait.inside) {
		w.breakNow()
	}
}

// harden has a soft read that is inside gorilla go on as one that ctx may break
// off; nil: nothing does.
func (w *wire) harden(ctx context.Context) {
	w.mu.Lock()
	unhook := w.wait.unhook
	w.wait.op++
	w.wait.soft, w.wait.ctx, w.wait.unhook = false, ctx, nil
	w.mu.Unlock()
	if unhook != nil {
		unhook()
	}
	w.hook(false)
}

// breakAny is breakOff for whatever read is under way.
func (w *wire) breakAny() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wait.on {
		w.breakNow()
	}
}

// breakNow is breakOff; w is locked.
func (w *wire) breakNow() {
	w.wait.interrupted = true
	if w.wait.inside {
		w.wait.cut = true
	}
	if w.wait.inside || w.wait.awaiting {
		w.date()
	}
}

// date ends the Read that waits; w is locked.
func (w *wire) date() {
	w.wait.dated = true
	w.Conn.SetReadDeadline(longAgo) // fails only when closed
}

// undate lets Reads wait again, unless reading was cut; w is locked.
func (w *wire) undate() {
	if w.wait.dated && !w.wait.cut {
		w.wait.dated = false
		w.Conn.SetReadDeadline(time.Time{})
	}
}

// beginAwait reports whether the op under way may wait: it was not broken off.
func (w *wire) beginAwait() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wait.interrupted {
		return false
	}
	w.wait.awaiting = true
	return true
}

// endAwait ends the wait, and returns false if it was broken off. If it was not
// and a message has begun the op goes on inside gorilla.
func (w *wire) endAwait(begun bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wait.awaiting = false
	w.undate()
	if !w.wait.interrupted {
		w.wait.inside = begun
	}
	return !w.wait.interrupted
}

// outside notes that the op is not inside gorilla after all.
func (w *wire) outside() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wait.inside = false
}

// enter notes that the op goes on inside gorilla. It returns false if the op
// was broken off before.
func (w *wire) enter() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wait.interrupted {
		return false
	}
	w.wait.inside = true
	return true
}

// broke makes the error of a Read say whether we broke it off.
func (w *wire) broke(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.wait.dismissed:
		return errDismissed
	case w.wait.awaiting && w.wait.interrupted:
		return errInterrupted
	}
	return err
}

// dismiss has the watcher that waits in Read leave, if it is there and nothing
// has come in that it has not dealt with. clean is as in quiet.
func (w *wire) dismiss(clean func() bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.still() || !clean() {
		return false
	}
	w.wait.dismissed = true
	w.date()
	return true
}

// left notes that a watcher has gone, which ends its dismissal: who reads next
// was not meant.
func (w *wire) left() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wait.dismissed {
		w.wait.dismissed = false
		w.undate()
	}
}

// unhook takes the read under way off its context.
func (w *wire) unhook() {
	w.mu.Lock()
	unhook := w.wait.unhook
	w.wait.ctx, w.wait.unhook = nil, nil
	w.mu.Unlock()
	if unhook != nil {
		unhook()
	}
}

// uncut lets what is left be read, though not by gorilla, and reports whether
// reading was broken off before.
func (w *wire) uncut() (was bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	was = w.wait.cut
	w.wait.cut = false
	w.undate()
	return was
}
